package custody

import (
	"fmt"
	"net/netip"

	"cityward/collectors/inventory"
	"cityward/configs"
)

// services looks for the clients of stores' services: whoever is connected can
// read what is served.
func (r *round) services() {
	here := r.addresses()
	folded := 0 // flows whose peers are not known, and may be a service
	for i := range r.seen.Flows {
		if f := &r.seen.Flows[i]; f.Folded && f.Direction == inventory.Out {
			folded++
		}
	}
	for i := range r.cfg.Stores {
		store := &r.cfg.Stores[i]
		nameless := 0
		for _, service := range store.Services {
			if service.Protocol == "unix" {
				nameless += r.unixClients(store.ID, service)
			} else {
				nameless += r.clients(store.ID, service, here)
			}
		}
		if folded > 0 && len(store.Services) > 0 {
			r.gap(store.ID, store.ID, "connections whose peers found no room in the kernel may be to its services (capture.flows bounds them)", folded)
		}
		if nameless > 0 {
			r.gap(store.ID, store.ID, "connections to its services belong to no known program", nameless)
		}
	}
}

// addresses gives what leads to this machine: its own addresses and those that
// programs here accept connections at, such as a container's.
func (r *round) addresses() map[netip.Addr]bool {
	here := make(map[netip.Addr]bool)
	if r.seen.Machine != nil {
		for _, text := range r.seen.Machine.Addresses {
			if addr, err := netip.ParseAddr(text); err == nil {
				here[addr.Unmap()] = true
			}
		}
	}
	for i := range r.seen.Listeners {
		here[r.seen.Listeners[i].Local.Addr().Unmap()] = true
	}
	for i := range r.seen.Flows {
		if flow := &r.seen.Flows[i]; flow.Direction == inventory.In {
			here[flow.Local.Addr().Unmap()] = true
		}
	}
	return here
}

// clients remembers the executions that are or were connected to a port of this
// machine, and counts connections without one.
func (r *round) clients(store string, service configs.Service, here map[netip.Addr]bool) (nameless int) {
	for i := range r.seen.Flows {
		flow := &r.seen.Flows[i]
		if flow.Direction != inventory.Out || flow.Protocol != service.Protocol || flow.Remote.Port() != service.Port {
			continue
		}
		addr := flow.Remote.Addr().Unmap()
		if flow.Zone != inventory.Host && !addr.IsLoopback() && !here[addr] {
			continue
		}
		if flow.Connections > 0 && flow.Connections == flow.Attempts {
			continue // never answered
		}
		if flow.Process == (inventory.Execution{}) {
			nameless++
			continue
		}
		r.remember(hold{store, flow.Process, inventory.HowService}, r.server(service, flow), flow.First,
			fmt.Sprintf("connected to %s at %s", service, flow.Remote))
	}
	return nameless
}

// server gives who listens at the other end, if that is known: at this very
// address, else at all addresses of the same network namespace.
func (r *round) server(service configs.Service, flow *inventory.Flow) (server inventory.Execution) {
	for i := range r.seen.Listeners {
		l := &r.seen.Listeners[i]
		if l.Protocol != service.Protocol || l.Local.Port() != service.Port {
			continue
		}
		switch addr := l.Local.Addr().Unmap(); {
		case addr == flow.Remote.Addr().Unmap():
			return l.Process
		case addr.IsUnspecified() && l.NetNS == flow.NetNS:
			server = l.Process
		}
	}
	return server
}

// unixClients does the same for a Unix socket, by its name or its file: one
// may be bound as /var/run and declared as /run.
func (r *round) unixClients(store string, service configs.Service) (nameless int) {
	var file inventory.FileID
	if st, err := r.host.Stat(service.Path); err == nil {
		file = inventory.FileID{Device: st.Dev, Inode: st.Ino & (1<<32 - 1)}
	}
	for _, local := range r.seen.Locals {
		same := local.File.Inode != 0 && local.File.Device == file.Device && local.File.Inode&(1<<32-1) == file.Inode
		if !same && local.Path != service.Path {
			continue
		}
		if local.Process == (inventory.Execution{}) {
			nameless++
			continue
		}
		r.remember(hold{store, local.Process, inventory.HowService}, local.Peer, r.now, "connected to "+service.String())
	}
	return nameless
}
