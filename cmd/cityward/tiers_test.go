package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cityward/agent"
	"cityward/checks"
	"cityward/checks/finding"
	"cityward/collectors"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// traffic makes what a tier may miss: short connections that the server closes,
// a refused one, datagrams without a connection.
func traffic() error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		for range 20 {
			c, err := l.Accept()
			if err != nil {
				served <- err
				return
			}
			_, err = c.Write([]byte("citizen"))
			if err = errors.Join(err, c.Close()); err != nil {
				served <- err
				return
			}
		}
		served <- nil
	}()
	for range 20 {
		c, err := net.Dial("tcp4", l.Addr().String())
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, c)
		if err = errors.Join(err, c.Close()); err != nil {
			return err
		}
	}
	if c, err := net.Dial("tcp4", "127.0.0.1:1"); err == nil {
		return errors.Join(errors.New("port 1 answers"), c.Close())
	}
	u, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_, err = u.WriteTo([]byte("citizen"), &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9})
	return errors.Join(err, u.Close(), <-served)
}

// runTraffic is a child in a network namespace of its own: it makes traffic at
// each line of its input.
func runTraffic() int {
	err := loopbackUp()
	fmt.Fprintln(os.Stdout, "ready")
	for in := bufio.NewScanner(os.Stdin); err == nil && in.Scan(); {
		err = traffic()
		fmt.Fprintln(os.Stdout, "done")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return exitInternal
	}
	return exitDone
}

func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	request, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_UP | unix.IFF_RUNNING)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, request)
}

// elsewhere starts such a child; the function it gives makes traffic there.
func elsewhere(t *testing.T) func() {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(os.Environ(), confineVariable+"=traffic")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	answers := bufio.NewReader(out)
	read := func() {
		if _, err := answers.ReadString('\n'); err != nil {
			t.Fatalf("child: %v", err)
		}
	}
	read()
	t.Cleanup(func() { _ = in.Close(); _ = cmd.Wait() })
	return func() {
		if _, err := fmt.Fprintln(in, "go"); err != nil {
			t.Fatal(err)
		}
		read()
	}
}

// In none of the tiers that miss something may the agent say that it sees all, or
// a check on flows that all is well.
func TestNoLowerTierPasses(t *testing.T) {
	if os.Geteuid() != 0 {
		if os.Getenv("CI") != "" {
			t.Fatal("needs root")
		}
		t.Skip("needs root")
	}
	for _, tier := range []string{inventory.TierEvents, inventory.TierPoll, inventory.TierGopsutil} {
		t.Run(tier, func(t *testing.T) {
			makeThere := elsewhere(t)
			a := forced(t, tier)
			a.Round(t.Context())
			if err := traffic(); err != nil {
				t.Fatal(err)
			}
			makeThere()
			time.Sleep(200 * time.Millisecond)
			a.Round(t.Context())
			r := a.Round(t.Context())

			for _, name := range []string{inventory.CaptureFlows, inventory.CaptureProcesses} {
				i := slices.IndexFunc(r.Snapshot.Captures, func(c inventory.Capture) bool { return c.Name == name })
				if i < 0 || r.Snapshot.Captures[i].Tier != tier || r.Snapshot.Captures[i].Complete || r.Snapshot.Captures[i].Reason == "" {
					t.Errorf("capture of %s: got %+v", name, r.Snapshot.Captures)
				}
				if f := one(r.Findings, "AGT-001", "capture of "+name); f == nil || f.Verdict != finding.Fail || f.Facts["tier"] != tier {
					t.Errorf("AGT-001 of %s: got %+v", name, f)
				}
			}
			needs := make(map[string]bool)
			for _, c := range checks.All() {
				needs[c.Rule.ID] = slices.Contains(c.Rule.Needs, inventory.KindFlows)
			}
			for _, f := range r.Findings {
				if needs[f.Check] && f.Verdict == finding.Pass {
					t.Errorf("%s passes: %s %s", f.Check, f.Subject, f.Reason)
				}
			}
			var page strings.Builder
			if err := diagnose(&page, r, 0); err != nil {
				t.Fatal(err)
			}
			if tier != inventory.TierEvents && !strings.Contains(page.String(), "permits no better") {
				t.Errorf("doctor does not say why it is no better tier:\n%s", page.String())
			}
			short := 0
			for _, f := range r.Snapshot.Flows {
				if f.Direction == inventory.In && f.Protocol == "tcp" && f.Connections == 20 && f.Sent == 20*7 {
					short++
				}
			}
			if want := tier == inventory.TierEvents; want != (short >= 2) {
				t.Errorf("%d servers of short connections were seen", short)
			}
		})
	}
}

func one(findings []finding.Finding, check, subject string) *finding.Finding {
	i := slices.IndexFunc(findings, func(f finding.Finding) bool { return f.Check == check && f.Subject == subject })
	if i < 0 {
		return nil
	}
	return &findings[i]
}

// forced makes an agent that may not be better than a tier, with a store to
// judge about.
func forced(t *testing.T, tier string) *agent.Agent {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "data"), []byte("citizen"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := configs.Parse("forced.toml", fmt.Appendf(nil, `
[city]
networks = ["10.77.0.0/16"]

[capture]
tier = %q
pins = ""

[[data_store]]
id = "registry"
class = "citizen"
paths = [%q]
`, tier, dir))
	if err != nil {
		t.Fatal(err)
	}
	set, err := collectors.Build(collectors.All(), "/", cfg, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	})
	return agent.New(agent.Options{Config: cfg, Set: set, Checks: checks.All(), Log: slog.New(slog.DiscardHandler), Now: time.Now})
}
