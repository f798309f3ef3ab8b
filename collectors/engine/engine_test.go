package engine

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
	"cityward/configs"
)

const homeNS, otherNS = 10, 20

func process(pid int, exe string, arguments ...string) inventory.Process {
	return inventory.Process{ID: inventory.Execution{PID: pid, Start: uint64(pid)}, Name: filepath.Base(exe), Executable: exe, Arguments: arguments, MountNS: homeNS}
}

func childOf(parent int, p inventory.Process) inventory.Process {
	p.Parent = parent
	return p
}

func inContainer(p inventory.Process) inventory.Process {
	p.MountNS, p.Container = otherNS, "c0ffee"
	return p
}

func collector(t *testing.T, stores ...string) *Collector {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"var/lib/postgresql/15/main", "var/lib/postgresql/16/main", "var/lib/redis", "srv/real"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/srv/real", filepath.Join(root, "data")); err != nil {
		t.Fatal(err)
	}
	h, err := host.Open(root, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = h.Close() })
	cfg := &configs.Config{}
	cfg.Stores = []configs.DataStore{{ID: "declared", Paths: stores}}
	return New(h, cfg)
}

func TestCandidates(t *testing.T) {
	pid1 := process(1, "/usr/lib/systemd/systemd")
	tests := []struct {
		name      string
		stores    []string
		processes []inventory.Process
		want      []string // engine path pid reason
		gap       string
	}{
		{"nothing runs", nil, nil, nil, ""},
		{
			"flag with a value, children share the directory", nil,
			[]inventory.Process{childOf(7, process(9, "/usr/lib/postgresql/15/bin/postgres", "postgres: checkpointer")), process(7, "/usr/lib/postgresql/15/bin/postgres", "postgres", "-D", "/srv/pg/")},
			[]string{"PostgreSQL /srv/pg 7 its command line"}, "",
		},
		{
			"two clusters", nil, []inventory.Process{process(9, "/usr/lib/postgresql/15/bin/postgres", "postgres")},
			[]string{"PostgreSQL /var/lib/postgresql/15/main 9 the usual place", "PostgreSQL /var/lib/postgresql/16/main 9 the usual place"}, "",
		},
		{"flag with =", nil, []inventory.Process{process(3, "/usr/sbin/mariadbd", "mariadbd", "--datadir=/srv/sql")}, []string{"MariaDB or MySQL /srv/sql 3 its command line"}, ""},
		{"one letter glued", nil, []inventory.Process{process(3, "/usr/bin/postgres", "postgres", "-D/srv/pg")}, []string{"PostgreSQL /srv/pg 3 its command line"}, ""},
		{"relative directory is none", nil, []inventory.Process{process(3, "/usr/bin/redis-server", "redis-server", "--dir", "x")}, []string{"Redis or Valkey /var/lib/redis 3 the usual place"}, ""},
		{"declared", []string{"/var/lib/redis"}, []inventory.Process{process(3, "/usr/bin/redis-server")}, nil, ""},
		{"declared through a link", []string{"/srv"}, []inventory.Process{process(3, "/usr/bin/postgres", "postgres", "-D", "/data")}, nil, ""},
		{"a sibling is not declared", []string{"/var/lib/red"}, []inventory.Process{process(3, "/usr/bin/redis-server")}, []string{"Redis or Valkey /var/lib/redis 3 the usual place"}, ""},
		{
			"container", []string{"/var/lib/mysql"},
			[]inventory.Process{pid1, inContainer(process(4, "/usr/sbin/mysqld", "mysqld"))},
			[]string{"MariaDB or MySQL /var/lib/mysql 4 the usual place, as its container sees it"}, "",
		},
		{"directory unknown", nil, []inventory.Process{process(4, "/usr/bin/mongod", "mongod")}, nil, "MongoDB runs, but where it keeps its data is not known"},
		{"runtime with another program", nil, []inventory.Process{process(4, "/usr/bin/java", "java", "-jar", "x.jar")}, nil, ""},
		{"executable unreadable", nil, []inventory.Process{{ID: inventory.Execution{PID: 5}, Name: "redis-server"}}, []string{"Redis or Valkey /var/lib/redis 5 the usual place"}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			facts, err := collector(t, tt.stores...).Collect(t.Context(), &inventory.Facts{Processes: tt.processes})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, c := range facts.Candidates {
				got = append(got, strings.Join([]string{c.Engine, c.Path, strings.TrimPrefix(c.Process.String(), "pid "), c.Reason}, " "))
			}
			if !reflect.DeepEqual(got, tt.want) {
				t.Errorf("candidates:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
			gap := ""
			if len(facts.Gaps) > 0 {
				gap = facts.Gaps[0].Reason
			}
			if gap != tt.gap {
				t.Errorf("gap = %q, want %q", gap, tt.gap)
			}
		})
	}
}
