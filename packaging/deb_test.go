package packaging_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const config = "/etc/cityward/cityward.toml"

// The life of the Debian package on a machine, from installation to purge. Each
// step needs the one before, so this is one test with named steps.
func TestDebianPackageLife(t *testing.T) {
	m := bootDebian(t)
	program := buildProgram(t)
	m.copyIn(t, buildDeb(t, program, "0.0.1"), "/root/first.deb")
	m.copyIn(t, buildDeb(t, program, "0.0.2"), "/root/second.deb")

	m.run(t, "dpkg", "--install", "/root/first.deb")
	m.answers(t)
	m.confined(t)
	m.reloads(t)
	m.restartsAfterKill(t)
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

// confined: not root, and no right beside the two that reading needs.
func (m *machine) confined(t *testing.T) {
	t.Helper()
	pid := m.property(t, "MainPID")
	if user := m.run(t, "stat", "--format=%U:%G", "/proc/"+pid); user != "cityward:cityward" {
		t.Errorf("the agent runs as %s", user)
	}
	const capabilities = "0000000000080004" // CAP_DAC_READ_SEARCH (2) and CAP_SYS_PTRACE (19)
	status := m.run(t, "cat", "/proc/"+pid+"/status")
	for _, set := range []string{"CapPrm", "CapEff", "CapBnd"} {
		if !strings.Contains(status, set+":\t"+capabilities+"\n") {
			t.Errorf("%s is not %s in:\n%s", set, capabilities, status)
		}
	}
	if owner := m.run(t, "stat", "--format=%U %a", "/var/lib/cityward"); owner != "cityward 750" {
		t.Errorf("the state directory is %s", owner)
	}
	if socket := m.run(t, "stat", "--format=%F %G %a", "/run/cityward/admin.sock"); socket != "socket cityward 660" {
		t.Errorf("the admin socket is %s", socket)
	}
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
	eventually(t, "systemd starts the agent again", func() bool {
		return m.property(t, "ActiveState") == "active" && m.property(t, "MainPID") != pid
	})
	m.answers(t)
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

// quietJournal: one error is expected, the broken configuration of reloads; and
// systemd's word on the process that was killed.
func (m *machine) quietJournal(t *testing.T) {
	t.Helper()
	journal := m.run(t, "journalctl", "--no-pager", "--quiet", "--output=cat", "--priority=err", "--unit=cityward")
	if journal != "" {
		t.Errorf("errors in the journal:\n%s", journal)
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
