package flow

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/shirou/gopsutil/v3/net"
	"golang.org/x/sys/unix"

	"cityward/collectors/inventory"
)

// portable is the source for systems that have nothing better. It asks gopsutil
// for the sockets of each round and sees the least of all.
type portable struct {
	*surroundings
	table *table
}

const portably = "sampled every round by gopsutil: bytes, flows that begin and end between two rounds, datagrams sent without a connection, protocols other than TCP and UDP, Unix sockets and other network namespaces are not seen"

func openGopsutil(s *surroundings) (source, error) {
	return &portable{surroundings: s, table: newTable()}, nil
}

func (p *portable) close() error { return nil }

func (p *portable) collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error) {
	all, err := net.ConnectionsMaxWithoutUidsWithContext(ctx, "inet", maxConnections)
	if ctx.Err() != nil {
		return inventory.Facts{}, ctx.Err()
	}
	if err != nil {
		return inventory.Facts{}, fmt.Errorf("list sockets by gopsutil: %w", err)
	}
	v := view{addresses: p.addresses(ctx)}
	if v.id, err = ownNamespace(p.host); err != nil {
		return inventory.Facts{}, err
	}
	running := make(map[int]inventory.Execution, len(seen.Processes))
	for i := range seen.Processes {
		running[seen.Processes[i].ID.PID] = seen.Processes[i].ID
	}
	// There are no inodes, so the place in the list stands for one.
	holder := func(inode uint64) inventory.Execution {
		if inode == 0 {
			return inventory.Execution{}
		}
		return running[int(all[inode-1].Pid)]
	}
	for i := range all {
		if s, ok := convert(&all[i]); ok {
			s.inode = uint64(i + 1)
			v.sockets = append(v.sockets, s)
		}
	}
	now := p.host.Now()
	p.table.begin()
	unheld := p.table.observe(&v, holder, now)
	p.table.end(nil, now)

	var gaps gaps
	gaps.add("sockets", portably, 0, everything()...)
	if unheld > 0 {
		gaps.add("connections", "no process is known to hold them", unheld, inventory.KindFlows)
	}
	if p.table.lostNow > 0 {
		gaps.add("connections", fmt.Sprintf("more than %d flows or %d connections", maxRows, maxConnections), p.table.lostNow, inventory.KindFlows)
	}
	return inventory.Facts{
		Flows:     p.table.flows(p.zone),
		Listeners: listenersOf([]view{v}, holder),
		Gaps:      gaps.list,
		Captures: []inventory.Capture{{
			Name: inventory.CaptureFlows, Tier: inventory.TierGopsutil, Reason: portably,
			Events: p.table.events, Lost: p.table.lost, Orphans: p.table.orphans,
		}},
	}, nil
}

// addresses are those of this machine's interfaces; of what cannot be read, only
// loopback is known to be the machine's own.
func (p *portable) addresses(ctx context.Context) map[netip.Addr]bool {
	own := make(map[netip.Addr]bool)
	interfaces, err := net.InterfacesWithContext(ctx)
	if err != nil {
		return own
	}
	for _, i := range interfaces {
		for _, a := range i.Addrs {
			if prefix, err := netip.ParsePrefix(a.Addr); err == nil {
				own[prefix.Addr().Unmap()] = true
			}
		}
	}
	return own
}

// convert reads what gopsutil gives; false if it is no TCP or UDP socket.
func convert(c *net.ConnectionStat) (socket, bool) {
	s := socket{state: stateClose, local: endpoint(c.Laddr, c.Family), remote: endpoint(c.Raddr, c.Family)}
	switch c.Type {
	case unix.SOCK_STREAM:
		s.protocol = unix.IPPROTO_TCP
	case unix.SOCK_DGRAM:
		s.protocol = unix.IPPROTO_UDP
	default:
		return socket{}, false
	}
	switch c.Status {
	case "ESTABLISHED", "FIN_WAIT1", "FIN_WAIT2", "CLOSE_WAIT", "LAST_ACK", "CLOSING":
		s.state = stateEstablished
	case "SYN_SENT":
		s.state = stateSynSent
	case "SYN_RECV":
		s.state = stateSynRecv
	case "TIME_WAIT":
		s.state = stateTimeWait
	case "LISTEN":
		s.state = stateListen
	}
	return s, s.local.Addr().IsValid() && (s.listens() || s.remote.Addr().IsValid())
}

// endpoint reads an address; one that is left out, or *, is any.
func endpoint(a net.Addr, family uint32) netip.AddrPort {
	addr, err := netip.ParseAddr(a.IP)
	switch {
	case err == nil:
		addr = addr.Unmap()
	case family == unix.AF_INET6:
		addr = netip.IPv6Unspecified()
	default:
		addr = netip.IPv4Unspecified()
	}
	return netip.AddrPortFrom(addr, uint16(a.Port))
}
