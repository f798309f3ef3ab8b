package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cityward/agent"
	"cityward/checks/finding"
	"cityward/collectors/inventory"
)

// carry makes a shell send n bytes to a server of this process and end: a program
// that lives a few milliseconds, between two rounds.
func carry(t *testing.T, n int) (port uint16) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, err = io.Copy(io.Discard, c)
			_ = c.Close()
		}
		taken <- err
	}()
	port = uint16(l.Addr().(*net.TCPAddr).Port)
	script := fmt.Sprintf("printf %%%dd 1 >/dev/tcp/127.0.0.1/%d", n, port)
	if out, err := exec.CommandContext(t.Context(), "/bin/bash", "-c", script).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := <-taken; err != nil {
		t.Fatal(err)
	}
	return port
}

// A program that is gone before anybody could look it up is named, down to its
// package and licence, with every byte.
func TestShortProgramIsNamedDownToItsLicence(t *testing.T) {
	needRoot(t)
	a := forced(t, inventory.TierBPF)
	a.Round(t.Context())
	const n = 4321
	port := carry(t, n)
	r := a.Round(t.Context())
	i := slices.IndexFunc(r.Snapshot.Flows, func(f inventory.Flow) bool {
		return f.Direction == inventory.Out && f.Remote.Port() == port && f.Remote.Addr().IsLoopback()
	})
	if i < 0 {
		t.Fatalf("no flow to port %d", port)
	}
	f := r.Snapshot.Flows[i]
	if f.Sent != n || f.Connections != 1 || f.Open != 0 || f.Zone != inventory.Host {
		t.Errorf("%+v", f)
	}
	p, known := r.Snapshot.Process(f.Process)
	if !known || p.Ended.IsZero() || p.Name != "bash" || p.User != "root" {
		t.Fatalf("its program: %t, %+v", known, p)
	}
	owner, owned := r.Snapshot.Owner(p)
	if !owned || owner.Name != "bash" || owner.Licence.Freedom != inventory.Free || owner.Licence.Expression == "" {
		t.Errorf("its package: %t, %+v", owned, owner)
	}
	if missing := capturesOf(r); missing[inventory.CaptureFlows].Tier != inventory.TierBPF || missing[inventory.CaptureProcesses].Tier != inventory.TierBPF {
		t.Errorf("captures %+v", missing)
	}
}

func capturesOf(r *agent.Report) map[string]inventory.Capture {
	all := make(map[string]inventory.Capture)
	for _, c := range r.Snapshot.Captures {
		all[c.Name] = c
	}
	return all
}

// The capture is complete, until a program has a way past the protocols: then it
// is not, and the program is named.
func TestWayPastTheProtocolsIsTold(t *testing.T) {
	needRoot(t)
	a := forced(t, inventory.TierBPF)
	// Other tests of the machine may hold such sockets for a while, make connections
	// to servers that are older than this capture, and fill its table.
	others := regexp.MustCompile("no program is known|found no room")
	var r *agent.Report
	for end := time.Now().Add(time.Minute); ; time.Sleep(200 * time.Millisecond) {
		r = a.Round(t.Context())
		c := capturesOf(r)[inventory.CaptureFlows]
		f := one(r.Findings, "NET-016", "")
		if c.Complete && f != nil && f.Verdict == finding.Pass || others.MatchString(c.Reason) && f != nil && f.Verdict == finding.Unknown {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%+v, NET-016 %+v", c, f)
		}
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if r = a.Round(t.Context()); capturesOf(r)[inventory.CaptureFlows].Complete {
		t.Error("the capture calls itself complete")
	}
	own, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if f := one(r.Findings, "NET-016", own+": packet"); f == nil || f.Verdict != finding.Fail {
		t.Errorf("NET-016: %+v", r.Findings)
	}
	if f := one(r.Findings, "AGT-001", "capture of flows"); f == nil || f.Verdict != finding.Fail {
		t.Errorf("AGT-001: %+v", f)
	}
	for _, f := range r.Findings {
		if f.Check == "NET-002" && f.Verdict == finding.Pass {
			t.Errorf("NET-002 passes although frames may leave: %+v", f)
		}
	}
}
