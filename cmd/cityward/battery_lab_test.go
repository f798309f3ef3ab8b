package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	outside6 = "2001:db8:77::7"
	city     = "10.77.0.1" // another machine of the city
	city6    = "2001:db8:c1::1"
	approved = "198.51.100.1"

	firstPort = 10000 // takes what no scenario is asked about
	lastPort  = 10399
	timedPort = 10200 // of the first leak whose alert is timed
	publicWeb = 18080 // whose clients a transfer approves

	postgres15 = "/usr/lib/postgresql/15/bin"
)

// lab is a city server with two stores, and what is beyond it.
//
// What a program of a scenario writes, this one must not read while the daemon
// looks: it would hold the data itself, and so would all that it starts.
type lab struct {
	dir             string
	inside, outside string
	env             []string
	daemon          *daemonProcess
	binary, config  string
	admin           *admin
	more            string // of the configuration
}

// newLab makes everything but the daemon.
func newLab(t *testing.T) *lab {
	t.Helper()
	needRoot(t)
	for _, program := range []string{"bindfs", "curl", "gcc", "nc", "rsync", "socat", "sshfs", "/usr/sbin/sshd", postgres15 + "/postgres"} {
		if _, err := exec.LookPath(program); err != nil {
			skip(t, program+" is missing: packaging/install-test-deps.sh")
		}
	}
	l := &lab{binary: builtDaemon(t), dir: t.TempDir()}
	for _, open := range []string{filepath.Dir(l.dir), l.dir} {
		if err := os.Chmod(open, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	l.inside, l.outside = border(t)
	l.address(t)
	l.build(t)
	l.stores(t)
	l.config, l.admin = filepath.Join(l.dir, "cityward.toml"), newAdmin(filepath.Join(l.dir, "admin.sock"))
	l.env = []string{
		"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=" + l.dir, "LC_ALL=C.UTF-8",
		"R=" + l.path("registry"), "D=" + l.path("registry/citizens.csv"), "P=" + l.path("payroll/salaries.csv"), "O=" + l.path("other.csv"),
		"OUT=" + outsideAddress, "OUT6=" + outside6, "CITY=" + city, "CITY6=" + city6, "APPROVED=" + approved, "SELF=10.77.0.2",
		"BEYOND=/run/netns/" + l.outside, "FAR=" + l.path("far"), "SSHC=" + l.path("ssh_config"),
		"CARRY=" + l.path("carry"), "GOCARRY=" + l.path("gocarry"),
		"PGHOST=" + l.path("run"), "PGUSER=postgres", "PSQL=" + postgres15 + "/psql", "PGDUMP=" + postgres15 + "/pg_dump",
		fmt.Sprint("SPARE=", firstPort), fmt.Sprint("PUBLIC=", publicWeb),
	}
	return l
}

func (l *lab) path(name string) string { return filepath.Join(l.dir, name) }

// address gives both machines all that they are reached by.
func (l *lab) address(t *testing.T) {
	t.Helper()
	ip(t, "-n", l.outside, "address", "add", approved+"/32", "dev", "e0")
	for _, at := range []string{city6 + "/64", outside6 + "/128"} {
		ip(t, "-n", l.outside, "-6", "address", "add", at, "dev", "e0", "nodad")
	}
	ip(t, "-n", l.inside, "-6", "address", "add", "2001:db8:c1::2/64", "dev", "e0", "nodad")
	ip(t, "-n", l.inside, "-6", "route", "add", "default", "via", city6)
	ip(t, "-n", l.inside, "link", "set", "lo", "up")
	ip(t, "-n", l.outside, "link", "set", "lo", "up")
}

func (l *lab) build(t *testing.T) {
	t.Helper()
	l.must(t, exec.CommandContext(t.Context(), "gcc", "-O2", "-Wall", "-o", l.path("carry"), "testdata/battery/carry.c", "-luring"))
	program := exec.CommandContext(t.Context(), "go", "build", "-o", l.path("gocarry"), "testdata/battery/carry.go")
	program.Env = append(os.Environ(), "CGO_ENABLED=0")
	l.must(t, program)
}

func (l *lab) must(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, out)
	}
}

// records is the text of a store's file.
func records() string {
	var text strings.Builder
	state := uint32(7)
	for i := range 1000 {
		state = state*1664525 + 1013904223
		fmt.Fprintf(&text, "%05d,Maria,%08x%08x,%08d\n", i, state, state^0x5bd1e995, state%100_000_000)
	}
	return text.String()
}

func (l *lab) stores(t *testing.T) {
	t.Helper()
	for _, dir := range []string{"registry", "registry/lists", "registry-public", "payroll", "run", "far"} {
		if err := os.Mkdir(l.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(l.path("run"), 0o777); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{
		"registry/citizens.csv", "registry/moved.csv", "registry/linked.csv", "registry/renamed.csv", "registry/old.tmp",
		"payroll/salaries.csv", "other.csv", "registry-public/roads.csv",
	} {
		if err := os.WriteFile(l.path(file), []byte(records()), 0o644); err != nil { // of what other users read, too
			t.Fatal(err)
		}
	}
}

// in makes a command one of a machine's.
func in(namespace string, args ...string) []string {
	return append([]string{"--net=/run/netns/" + namespace}, args...)
}

// servers starts PostgreSQL inside, and what the outside listens with.
func (l *lab) servers(t *testing.T, forward map[int]string) {
	t.Helper()
	l.ssh(t)
	const rsyncd = "port = 873\naddress = 127.0.0.1\nuse chroot = no\nlog file = /dev/null\n[far]\npath = %s\nread only = no\nuid = root\ngid = root\n"
	writeFile(t, l.path("rsyncd.conf"), fmt.Sprintf(rsyncd, l.path("far")))
	startProgram(t, "nsenter", in(l.outside, "rsync", "--daemon", "--no-detach", "--config="+l.path("rsyncd.conf"))...)
	l.sink(t, forward)

	user := []string{"--reuid=postgres", "--regid=postgres", "--clear-groups"}
	data := l.path("registry/pg")
	l.must(t, exec.CommandContext(t.Context(), "install", "-d", "-o", "postgres", "-m", "700", data))
	l.must(t, exec.CommandContext(t.Context(), "setpriv", append(user, postgres15+"/initdb", "--auth=trust", "--no-sync", "--pgdata="+data)...))
	if err := os.WriteFile(filepath.Join(data, "pg_hba.conf"), []byte("local all all trust\nhost all all all trust\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	server := append(user, postgres15+"/postgres", "-D", data, "-k", l.path("run"), "-F", "-c", "listen_addresses=10.77.0.2,127.0.0.1")
	startProgram(t, "nsenter", in(l.inside, append([]string{"setpriv"}, server...)...)...)
	table := "create table citizens as select n, md5(n::text) as name from generate_series(1, 1000) as n"
	eventually(t, "the database answers", func() bool {
		psql := exec.CommandContext(t.Context(), postgres15+"/psql", "-qc", table)
		psql.Env = append(l.env, "PGCONNECT_TIMEOUT=5")
		return psql.Run() == nil
	})
}

func (l *lab) ssh(t *testing.T) {
	t.Helper()
	for _, key := range []string{"host_key", "user_key"} {
		l.must(t, exec.CommandContext(t.Context(), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", l.path(key)))
	}
	const server = "Port 22\nListenAddress 127.0.0.1\nHostKey %s\nAuthorizedKeysFile %s\nStrictModes no\nPidFile none\nUsePAM no\nMaxStartups 100\nSubsystem sftp internal-sftp\n"
	writeFile(t, l.path("sshd_config"), fmt.Sprintf(server, l.path("host_key"), l.path("user_key.pub")))
	const client = "Host *\nUser root\nBatchMode yes\nIdentityFile %s\nStrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\n"
	writeFile(t, l.path("ssh_config"), fmt.Sprintf(client, l.path("user_key")))
	if err := os.MkdirAll("/run/sshd", 0o755); err != nil { // Debian's place to drop privileges in
		t.Fatal(err)
	}
	startProgram(t, "nsenter", in(l.outside, "/usr/sbin/sshd", "-D", "-e", "-f", l.path("sshd_config"))...)
}

func (l *lab) sink(t *testing.T, forward map[int]string) {
	t.Helper()
	settings, err := json.Marshal(sinkSettings{
		Report: l.path("sink.sock"), Addresses: []string{outsideAddress, city, approved, outside6, city6},
		First: firstPort, Last: lastPort, Forward: forward,
	})
	if err != nil {
		t.Fatal(err)
	}
	startProgram(t, "nsenter", in(l.outside, "env", confineVariable+"=sink", sinkVariable+"="+string(settings), os.Args[0])...)
	eventually(t, "the sink listens", func() bool {
		_, err := os.Stat(l.path("sink.sock"))
		return err == nil
	})
}

// start starts the daemon and waits for its first round.
func (l *lab) start(t *testing.T, pins string) {
	t.Helper()
	const text = `
[city]
networks = ["10.77.0.0/16", "2001:db8:c1::/48"]
[listen]
metrics = "127.0.0.1:0"
admin = %q
[capture]
flows = 262144
pins = %q
[[data_store]]
id = "registry"
class = "citizen"
paths = [%q]
services = ["tcp:5432", %q]
readers = ["root", "postgres"]
[[data_store]]
id = "payroll"
class = "citizen"
paths = [%q]
readers = ["root", "postgres"]
[[transfer]]
id = "backup"
networks = ["198.51.100.0/28"]
direction = "out"
stores = ["registry"]
country = "BE"
purpose = "backup"
legal_basis = "Regulation (EU) 2016/679, article 28"
owner = "registry office"
approved_by = "data protection officer"
expires = %s
[[transfer]]
id = "public-web"
networks = ["0.0.0.0/0"]
direction = "in"
ports = [%d]
stores = ["registry"]
purpose = "the register's public pages"
legal_basis = "Regulation (EU) 2016/679, article 6(1)(e)"
owner = "registry office"
approved_by = "data protection officer"
expires = %[6]s
`
	writeFile(t, l.config, fmt.Sprintf(text, l.path("admin.sock"), pins, l.path("registry"), "unix:"+l.path("run/.s.PGSQL.5432"), l.path("payroll"),
		time.Now().AddDate(0, 6, 0).Format(time.DateOnly), publicWeb)+l.more)
	l.again(t)
}

func (l *lab) again(t *testing.T) {
	t.Helper()
	t.Setenv("STATE_DIRECTORY", l.dir)
	l.daemon = startDaemon(t, l.binary, "", "run", "--config", l.config)
	page := l.daemon.scrapeUntil(t, `cityward_rounds_total 1`)
	if !strings.Contains(page, `cityward_capture_tier_info{capture="flows",tier="bpf"} 1`) {
		skip(t, "this kernel permits no capture")
	}
}
