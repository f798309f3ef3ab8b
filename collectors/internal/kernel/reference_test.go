package kernel

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// The reference is netfilter's: nft counts packets and bytes below the sockets,
// by header lengths, so that what is left after the headers is payload, exactly:
// a packet that is yet to be cut in segments counts once, with one header. For
// TCP it holds what was sent again, which the capture leaves out. It proves the
// sums of a namespace, by protocol and direction; who sent it, the generator's
// programs say.
type payload struct {
	protocol uint8
	out      bool
}

// kinds are the packets that are counted: a protocol, its match and its header.
type kind struct {
	protocol uint8
	match    string
	header   uint64
}

func kinds() []kind {
	all := []kind{
		{udp, "meta l4proto udp", 8},
		{udplite, "meta l4proto udplite", 8},
		{icmp, "icmp type { echo-request, echo-reply }", 8},
		{icmp6, "icmpv6 type { echo-request, echo-reply }", 8},
		{trial, fmt.Sprintf("meta l4proto %d", trial), 0},
	}
	for words := uint64(5); words < 16; words++ {
		all = append(all, kind{tcp, fmt.Sprintf("tcp doff %d", words), words * 4})
	}
	return all
}

// families are the headers below.
func families() map[string]uint64 { return map[string]uint64{"ipv4": 20, "ipv6": 40} }

func counterName(hook, family string, k int) string { return fmt.Sprintf("%s_%s_%d", hook, family, k) }

// inGuest is whether this runs in one of the small guests, that have no nft.
func inGuest() bool { return os.Getenv("CITYWARD_GUEST") == "1" }

// scaled is n, or a tenth of it where every instruction is emulated.
func scaled(n int) int {
	if inGuest() {
		return n / 10
	}
	return n
}

func nft(t *testing.T, n namespace, input string, args ...string) string {
	t.Helper()
	var out, errs strings.Builder
	cmd := exec.CommandContext(t.Context(), "nft", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &errs
	n.start(t, cmd)
	if err := cmd.Wait(); err != nil {
		t.Fatalf("nft: %v: %s", err, &errs)
	}
	return out.String()
}

func countPackets(t *testing.T, n namespace) {
	t.Helper()
	if inGuest() {
		return
	}
	var counters, rules strings.Builder
	for _, hook := range []string{"output", "input"} {
		fmt.Fprintf(&rules, "chain %s {\ntype filter hook %s priority 0\n", hook, hook)
		for family := range families() {
			for i, k := range kinds() {
				name := counterName(hook, family, i)
				fmt.Fprintf(&counters, "counter %s {}\n", name)
				fmt.Fprintf(&rules, "meta nfproto %s %s counter name %s\n", family, k.match, name)
			}
		}
		rules.WriteString("}\n")
	}
	nft(t, n, "table inet reference {\n"+counters.String()+rules.String()+"}\n", "-f", "-")
}

// countedPackets is the payload by netfilter.
func countedPackets(t *testing.T, n namespace) map[payload]uint64 {
	t.Helper()
	var list struct {
		Nftables []struct {
			Counter struct {
				Name           string
				Packets, Bytes uint64
			}
		}
	}
	if err := json.Unmarshal([]byte(nft(t, n, "", "-j", "list", "counters")), &list); err != nil {
		t.Fatal(err)
	}
	sums := make(map[payload]uint64)
	for _, item := range list.Nftables {
		c := item.Counter
		for _, hook := range []string{"output", "input"} {
			for family, below := range families() {
				for i, k := range kinds() {
					if c.Name == counterName(hook, family, i) {
						sums[payload{k.protocol, hook == "output"}] += c.Bytes - c.Packets*(below+k.header)
					}
				}
			}
		}
	}
	return sums
}

// sentAgain is what TCP sent a second time at most, by the namespace's segments.
// A segment of Ethernet holds 1460 bytes; those of loopback are not lost.
func sentAgain(t *testing.T, n namespace) (bytes uint64) {
	t.Helper()
	n.do(t, func() error {
		b, err := os.ReadFile("/proc/thread-self/net/snmp")
		if err != nil {
			return err
		}
		names, values := []string(nil), []string(nil)
		for line := range strings.Lines(string(b)) {
			if strings.HasPrefix(line, "Tcp:") {
				names, values = values, strings.Fields(line)
			}
		}
		i := slices.Index(names, "RetransSegs")
		segments, err := strconv.ParseUint(values[i], 10, 64)
		bytes = segments * 1460
		return err
	})
	return bytes
}

func near(got, want uint64) bool { return max(got, want)-min(got, want) <= want/100 }

// checkReference compares all rows of a namespace with the reference.
func checkReference(t *testing.T, k *Kernel, n, other namespace, unclaimed map[payload]uint64) {
	if inGuest() {
		t.Skip("this guest has no nft")
	}
	flows, err := k.Flows(nil)
	if err != nil {
		t.Fatal(err)
	}
	rows := make(map[payload]uint64)
	for _, f := range flows {
		if kernels := f.Owner.PID == 0 && f.Protocol == icmp6; f.NetNS == n.inum && !kernels { // it looks for neighbours
			rows[payload{f.Protocol, true}] += f.Sent
			rows[payload{f.Protocol, false}] += f.Received
		}
	}
	for p, n := range unclaimed {
		rows[p] += n
	}
	again := sentAgain(t, n) + sentAgain(t, other)
	for p, want := range countedPackets(t, n) {
		excess := uint64(0)
		if p.protocol == tcp {
			excess = again
		}
		got := rows[p]
		if got <= want { // what was sent again is in the reference alone
			want -= min(excess, want-got)
		}
		if !near(got, want) {
			t.Errorf("%d bytes of protocol %d, out %t; netfilter has %d", got, p.protocol, p.out, want)
		}
		delete(rows, p)
	}
	for p, got := range rows {
		if got > 0 {
			t.Errorf("%d bytes of protocol %d, out %t, that netfilter has not", got, p.protocol, p.out)
		}
	}
}
