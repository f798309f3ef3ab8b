package kernel

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// unixSend is a message of 100 bytes over a pair of Unix sockets, and its receipt.
func unixSend(tb testing.TB) operation {
	tb.Helper()
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = errors.Join(unix.Close(ends[0]), unix.Close(ends[1])) })
	message := make([]byte, 100)
	return operation{chunk: 2000, do: func() error {
		if _, err := unix.Write(ends[0], message); err != nil {
			return err
		}
		_, err := unix.Read(ends[1], message)
		return err
	}}
}

// BenchmarkUnixSend is what the programs take for a message over a Unix socket and
// for its receipt: where nobody holds anything and no store has a service, where
// there is a service that it does not go to, and where its sender is a holder. The
// kernel's own measuring is in it.
func BenchmarkUnixSend(b *testing.B) {
	privileged(b)
	o := unixSend(b)
	k, err := Open(Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer k.Close()
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil || k.programs[flowsProgOnSend] == nil {
		b.Skip(err)
	}
	defer stats.Close()
	for b.Loop() {
		idle := best(5, func() float64 { return perRun(b, k, o) })
		if err := k.SetServices([]ServiceSocket{{Stores: 1, Inode: 1}}); err != nil {
			b.Fatal(err)
		}
		services := best(5, func() float64 { return perRun(b, k, o) })
		me, err := k.selfWord()
		if err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(k.maps[flowsMapCustody].Put(me, uint64(1)), k.bump()); err != nil {
			b.Fatal(err)
		}
		holder := best(5, func() float64 { return perRun(b, k, o) })
		b.ReportMetric(idle, "ns-idle")
		b.ReportMetric(services, "ns-services")
		b.ReportMetric(holder, "ns-holder")
		if err := errors.Join(k.SetServices(nil), k.maps[flowsMapCustody].Delete(me)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(0, "ns/op")
}

// perRun is the nanoseconds of both programs while o goes on.
func perRun(b *testing.B, k *Kernel, o operation) (sum float64) {
	b.Helper()
	type spent struct{ nanoseconds, runs float64 }
	now := func(name string) spent {
		s, err := k.programs[name].Stats()
		if err != nil {
			b.Fatal(err)
		}
		return spent{float64(s.Runtime.Nanoseconds()), float64(s.RunCount)}
	}
	both := []string{flowsProgOnSend, flowsProgOnReceive}
	before := []spent{now(both[0]), now(both[1])}
	o.measure(b)
	for i, name := range both {
		after := now(name)
		sum += (after.nanoseconds - before[i].nanoseconds) / (after.runs - before[i].runs)
	}
	return sum
}

// selfWord names this execution as the programs do.
func (k *Kernel) selfWord() (uint64, error) {
	var key uint64
	var row flowsProgram
	rows := k.maps[flowsMapPrograms].Iterate()
	for rows.Next(&key, &row) {
		if int(key>>42) == os.Getpid() && row.Ended == 0 {
			return key, nil
		}
	}
	return 0, errors.Join(rows.Err(), errors.New("this process is not among the programs"))
}

// BenchmarkExecution is what the programs take for a process that begins, executes
// and ends, with three pipes.
func BenchmarkExecution(b *testing.B) {
	privileged(b)
	k, err := Open(Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer k.Close()
	stats, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if err != nil {
		b.Skip(err)
	}
	defer stats.Close()
	path, err := filepath.EvalSymlinks("/bin/true")
	if err != nil {
		b.Skip(err)
	}
	for b.Loop() {
		cmd := exec.CommandContext(b.Context(), path)
		if _, err := cmd.Output(); err != nil {
			b.Fatal(err)
		}
	}
	for _, name := range []string{flowsProgOnFork, flowsProgOnExec, flowsProgOnExit} {
		s, err := k.programs[name].Stats()
		if err != nil {
			b.Fatal(err)
		}
		if s.RunCount > 0 {
			b.ReportMetric(float64(s.Runtime.Nanoseconds())/float64(s.RunCount), "ns-"+name)
		}
	}
}
