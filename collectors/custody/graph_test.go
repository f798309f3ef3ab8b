package custody

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"cityward/collectors/internal/kernel"
	"cityward/collectors/inventory"
	"cityward/configs"
)

func id(pid int) inventory.Execution { return inventory.Execution{PID: pid, Start: 1} }

func kid(pid int) kernel.Execution { return kernel.Execution{PID: pid, Start: 1} }

// at is a moment of the story that a test tells.
func at(second int) time.Time { return noon().Add(time.Duration(second) * time.Second) }

// told is what is held after a round, as "store pid how from" in order.
func told(r *round) []string {
	var lines []string
	for h, m := range r.held {
		lines = append(lines, strings.Join([]string{h.store, h.process.String(), h.how, m.from.String()}, " "))
	}
	slices.Sort(lines)
	return lines
}

// graph is a round over programs, the first of which holds the store registry since
// second 10.
func graph(t *testing.T, cfg *configs.Config, flows []inventory.Flow, programs ...inventory.Process) *round {
	t.Helper()
	if cfg == nil {
		cfg = &configs.Config{}
	}
	cfg.Stores = append(cfg.Stores, configs.DataStore{ID: "registry"})
	r := &round{Collector: New(machine(t), cfg, nil), seen: &inventory.Facts{Processes: programs, Flows: flows}, now: at(60)}
	r.index()
	r.remember(hold{"registry", programs[0].ID, inventory.HowDirect}, inventory.Execution{}, at(10), "opened records")
	return r
}

func running(pid, parent, began int, executable string) inventory.Process {
	return inventory.Process{ID: id(pid), Parent: parent, Started: at(began), Executable: executable}
}

func wants(t *testing.T, r *round, want ...string) {
	t.Helper()
	if got := told(r); !slices.Equal(got, want) {
		t.Errorf("held:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Whoever a holder starts has what it held, and so has whoever that one starts; who
// was started before has not.
func TestDescendants(t *testing.T) {
	r := graph(t, nil, nil, running(1, 0, 0, "/a"), running(2, 1, 5, "/before"), running(3, 1, 11, "/after"), running(4, 3, 12, "/below"))
	r.spread(r.processLinks(nil))
	wants(t, r, "registry pid 1 direct pid 0", "registry pid 3 descendant pid 1", "registry pid 4 descendant pid 3")
	if since := r.held[hold{"registry", id(4), inventory.HowDescendant}].since; !since.Equal(at(12)) {
		t.Errorf("since %v", since)
	}
}

// piped is a program that began with channels.
func piped(pid, began, ended int, channels ...kernel.Channel) kernel.Program {
	p := kernel.Program{ID: kid(pid), Began: at(began), Channels: channels}
	if ended > 0 {
		p.Ended = at(ended)
	}
	return p
}

// cat file | gzip | curl, all of which have ended, and others that only look alike.
func TestPipeline(t *testing.T) {
	out := func(inode uint64) kernel.Channel {
		return kernel.Channel{Kind: kernel.ChannelPipe, ID: inode, Writes: true}
	}
	in := func(inode uint64) kernel.Channel {
		return kernel.Channel{Kind: kernel.ChannelPipe, ID: inode, Reads: true}
	}
	r := graph(t, nil, nil, running(1, 0, 9, "/bin/cat"))
	all := make(links)
	r.channelLinks([]kernel.Program{
		piped(1, 9, 20, out(100)), piped(2, 9, 21, in(100), out(101)), piped(3, 9, 22, in(101)),
		piped(4, 9, 22, in(102)),          // another pipe
		piped(5, 9, 22, out(100)),         // writes to the same one
		piped(6, 9, 22, in(101), out(99)), // and one that reads and writes elsewhere
	}, all)
	r.spread(all)
	wants(t, r, "registry pid 1 direct pid 0", "registry pid 2 pipeline pid 1", "registry pid 3 pipeline pid 2", "registry pid 6 pipeline pid 2")
}

// What a program wrote before it held anything is none of the store's.
func TestPipelineThatEndedBefore(t *testing.T) {
	r := graph(t, nil, nil, running(1, 0, 0, "/bin/cat"))
	all := make(links)
	all.add(id(1), link{to: id(2), how: inventory.HowPipeline, first: at(1), last: at(9)})
	all.add(id(1), link{to: id(3), how: inventory.HowPipeline, first: at(1), last: at(10)})
	r.spread(all)
	wants(t, r, "registry pid 1 direct pid 0", "registry pid 3 pipeline pid 1")
}

// From a terminal's slave to who has its master, and not back: what is typed is
// nobody's data.
func TestTerminal(t *testing.T) {
	slave := kernel.Channel{Kind: kernel.ChannelTerminal, ID: 7, Reads: true, Writes: true}
	master := kernel.Channel{Kind: kernel.ChannelMaster, ID: 7, Reads: true, Writes: true}
	programs := []kernel.Program{piped(1, 9, 0, slave), piped(2, 1, 0, master), piped(3, 1, 0, slave)}
	r := graph(t, nil, nil, running(1, 0, 9, "/bin/cat"))
	all := make(links)
	r.channelLinks(programs, all)
	r.spread(all)
	wants(t, r, "registry pid 1 direct pid 0", "registry pid 2 pipeline pid 1")
}

func TestSocketpair(t *testing.T) {
	end := func(inode, peer uint64) kernel.Channel {
		return kernel.Channel{Kind: kernel.ChannelSocket, ID: inode, Peer: peer, Reads: true, Writes: true}
	}
	r := graph(t, nil, nil, running(1, 0, 9, "/bin/cat"))
	all := make(links)
	r.channelLinks([]kernel.Program{piped(1, 9, 0, end(5, 6)), piped(2, 9, 0, end(6, 5)), piped(3, 9, 0, end(7, 8))}, all)
	r.spread(all)
	wants(t, r, "registry pid 1 direct pid 0", "registry pid 2 pipeline pid 1")
}

// local is both ends of connections over loopback.
func local(client, server int, port uint16, sent, received uint64) []inventory.Flow {
	to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
	from := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), 0)
	f := inventory.Flow{Protocol: "tcp", Zone: inventory.Host, NetNS: 1, First: at(20), Last: at(30), Connections: 1}
	out, in := f, f
	out.Process, out.Direction, out.Remote, out.Sent, out.Received = id(client), inventory.Out, to, sent, received
	in.Process, in.Direction, in.Local, in.Remote, in.Sent, in.Received = id(server), inventory.In, to, from, received, sent
	return []inventory.Flow{out, in}
}

// A proxy has what its client sent, and a client what its server answered.
func TestLoopback(t *testing.T) {
	flows := slices.Concat(local(1, 2, 3128, 100, 0), local(3, 1, 8080, 0, 100), local(4, 1, 8081, 100, 0))
	r := graph(t, nil, flows, running(1, 0, 0, "/holder"), running(2, 0, 0, "/proxy"), running(3, 0, 0, "/client"), running(4, 0, 0, "/sender"))
	all := make(links)
	r.socketLinks(all)
	r.spread(all)
	wants(t, r, "registry pid 1 direct pid 0", "registry pid 2 pipeline pid 1", "registry pid 3 pipeline pid 1")
}

// Of a program that serves the store at a port that the policy names, other ports
// give nothing of the store.
func TestOtherPortsOfAServer(t *testing.T) {
	cfg := &configs.Config{}
	cfg.Stores = []configs.DataStore{{ID: "registry", Services: []configs.Service{{Protocol: "tcp", Port: 5432}}}}
	flows := local(2, 1, 9187, 10, 100)
	r := graph(t, cfg, flows, running(1, 0, 0, "/usr/bin/postgres"), running(2, 0, 0, "/usr/bin/prometheus"))
	r.seen.Listeners = []inventory.Listener{{Process: id(1), Protocol: "tcp", Local: netip.MustParseAddrPort("127.0.0.1:5432")}}
	all := make(links)
	r.socketLinks(all)
	r.spread(all)
	wants(t, r, "registry pid 1 direct pid 0")
}

// A relay has what it is told and is no holder by that; what it opens itself counts.
func TestRelays(t *testing.T) {
	cfg := &configs.Config{}
	cfg.Custody.Relays = []string{"/usr/sbin/rsyslogd"}
	cfg.Custody.Ignore = []configs.CustodyIgnore{{Program: "/usr/bin/updatedb", How: []string{inventory.HowDirect}}}
	r := graph(t, cfg, nil, running(1, 0, 0, "/holder"), running(2, 0, 0, "/usr/sbin/rsyslogd"), running(3, 0, 0, "/beyond"), running(4, 0, 0, "/usr/bin/updatedb"))
	all := make(links)
	all.add(id(1), link{to: id(2), how: inventory.HowPipeline})
	all.add(id(2), link{to: id(3), how: inventory.HowPipeline})
	r.spread(all)
	r.remember(hold{"registry", id(4), inventory.HowDirect}, inventory.Execution{}, at(10), "opened records")
	wants(t, r, "registry pid 1 direct pid 0")
	r.remember(hold{"registry", id(2), inventory.HowDirect}, inventory.Execution{}, at(10), "opened records")
	wants(t, r, "registry pid 1 direct pid 0", "registry pid 2 direct pid 0")
}

// Two that talk to each other do not have it from each other.
func TestLoopEnds(t *testing.T) {
	r := graph(t, nil, nil, running(1, 0, 0, "/a"), running(2, 0, 0, "/b"))
	all := make(links)
	all.add(id(1), link{to: id(2), how: inventory.HowPipeline})
	all.add(id(2), link{to: id(1), how: inventory.HowPipeline})
	r.spread(all)
	wants(t, r, "registry pid 1 direct pid 0", "registry pid 2 pipeline pid 1")
}

// What was sent before the hold began is not the store's.
func TestBefore(t *testing.T) {
	outside := func(pid int, first, last int, sent uint64) inventory.Flow {
		return inventory.Flow{
			Process: id(pid), Direction: inventory.Out, Protocol: "tcp", Remote: netip.MustParseAddrPort("203.0.113.7:443"),
			Zone: inventory.Outside, Sent: sent, First: at(first), LastSent: at(last),
		}
	}
	for name, test := range map[string]struct {
		flow     inventory.Flow
		measured uint64
		want     uint64
	}{
		"began after":                 {outside(1, 11, 12, 100), 0, 100},
		"began and ended before":      {outside(1, 1, 9, 100), 0, 0},
		"measured before, went on":    {outside(1, 1, 12, 100), 40, 60},
		"never measured, and went on": {outside(1, 1, 12, 100), 0, 100},
	} {
		t.Run(name, func(t *testing.T) {
			r := graph(t, nil, []inventory.Flow{test.flow}, running(1, 0, 0, "/a"))
			r.held = make(map[hold]*memory)
			r.sent[flowID{id(1), test.flow.Key()}] = test.measured
			r.remember(hold{"registry", id(1), inventory.HowDirect}, inventory.Execution{}, at(10), "opened records")
			r.measure()
			rows := r.holdings()
			if got := rows[0].Sent(&test.flow); got != test.want {
				t.Errorf("%d bytes, want %d", got, test.want)
			}
		})
	}
}

// A holder that has ended is remembered for a day, and not longer.
func TestFormer(t *testing.T) {
	cat := running(3, 0, 0, "/bin/cat") // in a container
	cat.MountNS, cat.Ended = 5, at(61)
	web := inventory.Tree{MountNS: 5, Root: inventory.FileID{Device: 1, Inode: 1}}
	owner := inventory.Owner{Tree: web, Path: "/bin/cat", PURL: "pkg:deb/debian/coreutils"}
	r := graph(t, nil, nil, cat, running(2, 0, 0, "/bin/curl"))
	r.seen.Owners = []inventory.Owner{{Path: "/bin/cat", PURL: "pkg:deb/of-the-machine"}, owner, {Tree: inventory.Tree{MountNS: 6}, Path: "/bin/cat", PURL: "pkg:deb/of-another"}}
	r.seen.Containers = []inventory.Container{{Tree: web}}
	r.index()
	r.forget()
	all := make(links)
	all.add(id(3), link{to: id(2), how: inventory.HowPipeline})
	r.spread(all)
	next := &round{Collector: r.Collector, seen: &inventory.Facts{Processes: []inventory.Process{running(2, 0, 0, "/bin/curl")}}, now: at(120)}
	next.rounds++
	next.index()
	next.forget()
	rows := next.holdings()
	before := next.former(rows)
	if len(rows) != 1 || len(before.processes) != 1 || before.processes[0].Executable != "/bin/cat" || len(before.holdings) != 1 || before.holdings[0].How != inventory.HowDirect {
		t.Errorf("holdings %+v, former %+v", rows, before)
	}
	if !slices.Equal(before.owners, []inventory.Owner{owner}) || before.processes[0].Root != web.Root {
		t.Errorf("owners %+v, former %+v", before.owners, before.processes)
	}
	next.now = at(60).Add(25 * time.Hour)
	next.forget()
	wants(t, next, "registry pid 2 pipeline pid 3")
}
