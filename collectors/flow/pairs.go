package flow

import (
	"cmp"
	"slices"

	"cityward/collectors/inventory"
)

// pairs are connected Unix sockets of which one end has a name. The ends may lie
// in different network namespaces, since a path leads across them.
type pairs struct{ all []pair }

type pair struct {
	from uint64 // inode of the end that connected
	to   uint64 // inode of the named end, or of its listener
	name string
	file inventory.FileID
}

func newPairs(views []view) *pairs {
	named := make(map[uint64]*localSocket)
	for i := range views {
		for j := range views[i].locals {
			if s := &views[i].locals[j]; s.inode != 0 && s.name != "" {
				named[s.inode] = s
			}
		}
	}
	p := &pairs{}
	for i := range views {
		for j := range views[i].locals {
			s := &views[i].locals[j]
			if end := named[s.peer]; end != nil && s.inode != 0 {
				p.all = append(p.all, pair{from: s.inode, to: s.peer, name: end.name, file: end.file})
			}
			for _, client := range s.pending {
				p.all = append(p.all, pair{from: client, to: s.inode, name: s.name, file: s.file})
			}
		}
	}
	return p
}

// connections gives each connection of two programs once.
func (p *pairs) connections(holder func(inode uint64) inventory.Execution) []inventory.LocalConnection {
	all := make([]inventory.LocalConnection, 0, len(p.all))
	for _, p := range p.all {
		all = append(all, inventory.LocalConnection{Process: holder(p.from), Peer: holder(p.to), Path: p.name, File: p.file})
	}
	return sortedLocals(all)
}

func sortedLocals(all []inventory.LocalConnection) []inventory.LocalConnection {
	slices.SortFunc(all, func(a, b inventory.LocalConnection) int {
		return cmp.Or(a.Process.Compare(b.Process), cmp.Compare(a.Path, b.Path), a.Peer.Compare(b.Peer),
			cmp.Compare(a.File.Device, b.File.Device), cmp.Compare(a.File.Inode, b.File.Inode))
	})
	return slices.Compact(all)
}
