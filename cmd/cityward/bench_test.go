package main

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cityward/agent"
	"cityward/checks"
	"cityward/collectors"
	"cityward/configs"
)

// The machine of the budgets in docs/performance.md. Packages are this
// machine's own; their number is reported with the result.
const (
	benchProcesses = 300
	benchSockets   = 1000
)

// crowd starts processes and opens sockets until the machine has so many.
func crowd(b *testing.B) {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = listener.Close() })
	for range benchSockets / 2 {
		client, err := net.Dial("tcp", listener.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		server, err := listener.Accept()
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _, _ = client.Close(), server.Close() })
	}
	for range benchProcesses {
		sleep := exec.CommandContext(b.Context(), "sleep", "600")
		if err := sleep.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _, _ = sleep.Process.Kill(), sleep.Wait() })
	}
}

func looker(b *testing.B) *agent.Agent {
	b.Helper()
	cfg, err := configs.Parse("bench.toml", []byte(benchStore(b)))
	if err != nil {
		b.Fatal(err)
	}
	set, err := collectors.Build(collectors.All(), "/", cfg, time.Now)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = set.Close() })
	return agent.New(agent.Options{Config: cfg, Set: set, Checks: checks.All(), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
}

// benchStore declares a store, since without one nobody's files are looked at.
func benchStore(b *testing.B) string {
	return fmt.Sprintf("[[data_store]]\nid = \"store\"\nclass = \"citizen\"\npaths = [%q]\n", b.TempDir())
}

// processorTime is what this process has used, user and system.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// BenchmarkRound is the cost of one complete round. cold makes the collectors
// anew each time, warm asks them again on a quiet machine.
func BenchmarkRound(b *testing.B) {
	crowd(b)
	report := func(b *testing.B, used time.Duration, r *agent.Report) {
		b.Helper()
		b.ReportMetric(used.Seconds()*1000/float64(b.N), "cpu-ms/op")
		b.ReportMetric(float64(len(r.Snapshot.Processes)), "processes")
		b.ReportMetric(float64(len(r.Snapshot.Components)), "packages")
	}
	b.Run("cold", func(b *testing.B) {
		var r *agent.Report
		began := processorTime(b)
		for b.Loop() {
			r = looker(b).Round(b.Context())
		}
		report(b, processorTime(b)-began, r)
	})
	b.Run("warm", func(b *testing.B) {
		a := looker(b)
		r := a.Round(b.Context())
		began := processorTime(b)
		for b.Loop() {
			r = a.Round(b.Context())
		}
		report(b, processorTime(b)-began, r)
	})
}

// BenchmarkDaemon is the daemon as it is built, on the same machine: its
// resident memory and what its rounds cost. One operation is one second with
// rounds a second apart; the share of a core is for rounds of 15 s.
func BenchmarkDaemon(b *testing.B) {
	crowd(b)
	dir := b.TempDir()
	binary, config := filepath.Join(dir, "cityward"), filepath.Join(dir, "cityward.toml")
	build := exec.CommandContext(b.Context(), "go", "build", "-trimpath", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, out)
	}
	text := fmt.Sprintf("[listen]\nmetrics = \"127.0.0.1:0\"\nadmin = %q\n[round]\ninterval = \"1s\"\n%s", filepath.Join(dir, "admin.sock"), benchStore(b))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	daemon := exec.CommandContext(b.Context(), binary, "--config", config, "run")
	if err := daemon.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _, _ = daemon.Process.Kill(), daemon.Wait() })
	time.Sleep(5 * time.Second) // the cold round, and the collector of garbage after it
	began, rounds := ticksOf(b, daemon.Process.Pid), 0
	var resident []float64
	for b.Loop() {
		time.Sleep(time.Second)
		resident = append(resident, residentMB(b, daemon.Process.Pid))
		rounds++
	}
	used := time.Duration(ticksOf(b, daemon.Process.Pid)-began) * 10 * time.Millisecond / time.Duration(rounds)
	b.ReportMetric(used.Seconds()*1000, "cpu-ms/round")
	b.ReportMetric(100*used.Seconds()/15, "%core-at-15s")
	slices.Sort(resident)
	b.ReportMetric(resident[len(resident)/2], "resident-MB")
	b.ReportMetric(resident[len(resident)-1], "resident-MB-most")
	b.ReportMetric(0, "ns/op")
}

// ticksOf is the processor time of a process in hundredths of a second: fields
// 14 and 15 of /proc/PID/stat, proc(5).
func ticksOf(b *testing.B, pid int) int {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	sum := 0
	for _, field := range fields[11:13] {
		n, err := strconv.Atoi(field)
		if err != nil {
			b.Fatal(err)
		}
		sum += n
	}
	return sum
}

func residentMB(b *testing.B, pid int) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kB float64
		if n, _ := fmt.Sscanf(line, "VmRSS: %f kB", &kB); n == 1 {
			return kB / 1024
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
