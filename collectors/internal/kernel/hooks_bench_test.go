package kernel

import (
	"runtime"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// onSending are the programs that a send by TCP passes over loopback, the one at the
// receiver's side last.
func onSending() []string {
	return []string{flowsProgOnSend, flowsProgOnEgress, flowsProgOnTransmit, flowsProgOnIngress}
}

// nothing loads a program for the same hook that does nothing.
func nothing(tb testing.TB, name string) *ebpf.Program {
	tb.Helper()
	spec, err := loadFlows()
	if err != nil {
		tb.Fatal(err)
	}
	like := spec.Programs[name]
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: like.Type, AttachType: like.AttachType, AttachTo: like.AttachTo, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 1), asm.Return()},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = p.Close() })
	return p
}

// attached attaches programs to the hooks of those that they stand in for.
func attached(tb testing.TB, programs map[string]*ebpf.Program) (detach func()) {
	tb.Helper()
	group, err := openCgroup()
	if err != nil {
		tb.Fatal(err)
	}
	defer group.Close()
	var k Kernel
	var links []link.Link
	for name, p := range programs {
		l, err := k.attachOne(name, p, group)
		if err != nil {
			tb.Fatal(err)
		}
		links = append(links, l)
	}
	return func() {
		for _, l := range links {
			if err := l.Close(); err != nil {
				tb.Fatal(err)
			}
		}
	}
}

// BenchmarkHooks takes apart what the capture adds to a send by TCP: what the kernel
// takes to call programs that do nothing, at the sender's side and at both, and what
// ours take. All are measured in turn. Another capture on the machine would be in the
// figure for none, and hide the most of it.
func BenchmarkHooks(b *testing.B) {
	privileged(b)
	k, err := Open(Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer k.Close()
	sets := map[string]map[string]*ebpf.Program{
		"none": {}, "empty-sender": {}, "empty-both": {}, "sender": {}, "both": {},
	}
	for _, name := range onSending() {
		if k.programs[name] == nil {
			b.Skip("the kernel has no tracepoint of who sends")
		}
		if err := k.links[name].Close(); err != nil {
			b.Fatal(err)
		}
		delete(k.links, name)
		empty := nothing(b, name)
		sets["empty-both"][name], sets["both"][name] = empty, k.programs[name]
		if name != flowsProgOnIngress {
			sets["empty-sender"][name], sets["sender"][name] = empty, k.programs[name]
		}
		sets["empty-"+name] = map[string]*ebpf.Program{name: empty}
		sets["only-"+name] = map[string]*ebpf.Program{name: k.programs[name]}
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	o := tcpSend(b)
	took := make(map[string][]float64)
	for b.Loop() {
		for which, programs := range sets { // in any order
			detach := attached(b, programs)
			o.measure(b) // what is new is slower
			took[which] = append(took[which], o.measure(b)...)
			detach()
		}
	}
	none := median(took["none"])
	b.ReportMetric(none, "us-none")
	delete(took, "none")
	for which, all := range took {
		b.ReportMetric(median(all)-none, "us-"+which)
	}
	b.ReportMetric(0, "ns/op")
}
