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
	return inventory.Process{ID: inventory.Execution{PID: pid, Start: uint64(pid)}, Name: filepath.Base(exe), Executable: exe, Arguments: arguments, PIDNS: homeNS}
}

func childOf(parent int, p inventory.Process) inventory.Process {
	p.Parent = parent
	return p
}

func inContainer(p inventory.Process) inventory.Process {
	p.PIDNS = otherNS
	return p
}

func ownMounts(p inventory.Process) inventory.Process {
	p.MountNS = otherNS
	return p
}

func collector(t *testing.T, stores ...string) *Collector {
	t.Helper()
	root := t.TempDir()
	for _, dir := range []string{"var/lib/postgresql/15/main", "var/lib/postgresql/16/main", "var/lib/redis", "srv/real", "proc/6"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/srv/real", filepath.Join(root, "data")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/srv/real", filepath.Join(root, "proc/6/cwd")); err != nil {
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
			[]string{"PostgreSQL /srv/pg 7 its command line"},
			"",
		},
		{
			"two clusters", nil,
			[]inventory.Process{process(9, "/usr/lib/postgresql/15/bin/postgres", "postgres")},
			[]string{"PostgreSQL /var/lib/postgresql/15/main 9 the usual place", "PostgreSQL /var/lib/postgresql/16/main 9 the usual place"},
			"",
		},
		{"flag with =", nil, []inventory.Process{process(3, "/usr/sbin/mariadbd", "mariadbd", "--datadir=/srv/sql")}, []string{"MariaDB or MySQL /srv/sql 3 its command line"}, ""},
		{"one letter glued", nil, []inventory.Process{process(3, "/usr/bin/postgres", "postgres", "-D/srv/pg")}, []string{"PostgreSQL /srv/pg 3 its command line"}, ""},
		{"relative directory is none", nil, []inventory.Process{process(3, "/usr/bin/redis-server", "redis-server", "--dir", "x")}, []string{"Redis or Valkey /var/lib/redis 3 the usual place"}, ""},
		{"declared", []string{"/var/lib/redis"}, []inventory.Process{process(3, "/usr/bin/redis-server", "redis-server")}, nil, ""},
		{"declared through a link", []string{"/srv"}, []inventory.Process{process(3, "/usr/bin/postgres", "postgres", "-D", "/data")}, nil, ""},
		{"a sibling is not declared", []string{"/var/lib/red"}, []inventory.Process{process(3, "/usr/bin/redis-server", "redis-server")}, []string{"Redis or Valkey /var/lib/redis 3 the usual place"}, ""},
		{
			"container",
			[]string{"/var/lib/mysql"},
			[]inventory.Process{pid1, inContainer(process(4, "/usr/sbin/mysqld", "mysqld"))},
			[]string{"MariaDB or MySQL /var/lib/mysql 4 the usual place, as its container sees it"},
			"it runs in a container: whether a declared store covers its directory is not known",
		},
		{
			"two containers are two places", nil,
			[]inventory.Process{pid1, inContainer(process(4, "/usr/sbin/mysqld", "mysqld")), inContainer(process(5, "/usr/sbin/mysqld", "mysqld"))},
			[]string{
				"MariaDB or MySQL /var/lib/mysql 4 the usual place, as its container sees it",
				"MariaDB or MySQL /var/lib/mysql 5 the usual place, as its container sees it",
			},
			"it runs in a container: whether a declared store covers its directory is not known",
		},
		{
			"a service with mounts of its own",
			[]string{"/var/lib/redis"},
			[]inventory.Process{pid1, ownMounts(process(3, "/usr/bin/redis-server", "redis-server"))},
			nil, "",
		},
		{
			"directory from where it works", nil,
			[]inventory.Process{process(6, "/usr/bin/redis-server", "redis-server", "--dir", "db")},
			[]string{"Redis or Valkey /srv/real/db 6 its command line"},
			"",
		},
		{"directory unknown", nil, []inventory.Process{process(4, "/usr/bin/mongod", "mongod")}, nil, "MongoDB runs, but where it keeps its data is not known"},
		{"runtime with another program", nil, []inventory.Process{process(4, "/usr/bin/java", "java", "-jar", "x.jar")}, nil, ""},
		{"executable unreadable", nil, []inventory.Process{{ID: inventory.Execution{PID: 5}, Name: "redis-server"}}, []string{"Redis or Valkey /var/lib/redis 5 the usual place"}, "its command line could not be read"},
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

// A usual place on a mount that may never answer is not looked at, but named.
func TestDeadMount(t *testing.T) {
	root := t.TempDir()
	for _, dir := range []string{"proc/self", "var/lib"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	table := "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 0:40 / /var/lib/mysql rw - nfs4 a:/b rw\n3 1 0:41 / /var/lib/dirsrv rw - nfs4 a:/c rw\n"
	if err := os.WriteFile(filepath.Join(root, "proc/self/mountinfo"), []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := host.Open(root, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	facts, err := New(h, &configs.Config{}).Collect(t.Context(), &inventory.Facts{Processes: []inventory.Process{
		process(2, "/usr/sbin/mysqld", "mysqld"), process(3, "/usr/sbin/ns-slapd", "ns-slapd"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	// Which directories match a pattern could only be had by looking.
	if len(facts.Candidates) != 1 || facts.Candidates[0].Path != "/var/lib/mysql" || len(facts.Gaps) != 1 {
		t.Errorf("candidates %+v, gaps %+v", facts.Candidates, facts.Gaps)
	}
}
