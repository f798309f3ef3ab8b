package storage

import (
	"net/netip"
	"slices"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

// describe puts a mount in the words of the inventory.
func (r *round) describe(m *host.Mount) inventory.Mount {
	is := kindOf(m)
	described := inventory.Mount{
		Target: host.Text(m.Target, maxText), Type: host.Text(m.Type, 64), Source: host.Text(bare(m), maxText),
		Device:  m.Device,
		Network: is == kindNetwork || is == kindGuest || is == kindUnknown && strings.HasPrefix(m.Type, "fuse"),
	}
	if is != kindNetwork && is != kindGuest {
		return described
	}
	worstRank := 0
	for i, peer := range peersOf(m) {
		addr := r.address(peer)
		zone := r.zone(addr)
		if at := rank(addr, zone); i == 0 || at < worstRank {
			described.Peer, described.PeerAddr, described.PeerZone, worstRank = peer, addr, zone, at
		}
	}
	return described
}

// address gives the address of a peer that is one, or that /etc/hosts has.
func (r *round) address(peer string) netip.Addr {
	if addr, err := netip.ParseAddr(peer); err == nil {
		return addr
	}
	return r.names[peer]
}

// zone says whose an address is. Loopback is this machine, whatever listens
// there: a tunnel shows in the flows of the program that holds it.
func (r *round) zone(addr netip.Addr) inventory.Zone {
	switch {
	case !addr.IsValid():
		return inventory.Outside
	case addr.IsLoopback(), slices.Contains(r.addresses, addr.String()):
		return inventory.Host
	case r.cfg.InCity(addr):
		return inventory.City
	}
	return inventory.Outside
}

// rank orders peers, the worst first: one that cannot be placed is worse than
// one outside, since nobody can say whose it is.
func rank(addr netip.Addr, z inventory.Zone) int {
	if !addr.IsValid() {
		return 0
	}
	return 1 + slices.Index([]inventory.Zone{inventory.Outside, inventory.Approved, inventory.City, inventory.Host}, z)
}

// place sets the zone of a store's medium and its peer: the worst of its paths.
func (r *round) place(row *inventory.DataStore) {
	if row.Medium == inventory.MediumLocal || row.Medium == inventory.MediumRemovable {
		row.MediumZone = inventory.Host
		return
	}
	worstRank := -1
	consider := func(peer string, addr netip.Addr) {
		zone := r.zone(addr)
		if at := rank(addr, zone); worstRank < 0 || at < worstRank {
			row.Peer, row.MediumZone, worstRank = peer, zone, at
		}
	}
	for i := range row.Paths {
		p := &row.Paths[i]
		if p.Mount.Network {
			consider(p.Mount.Peer, p.Mount.PeerAddr)
		}
		for _, disk := range p.Disks {
			if disk.Remote {
				consider(disk.Peer, r.address(disk.Peer))
			}
		}
	}
}
