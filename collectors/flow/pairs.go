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
	byInode := make(map[uint64]*localSocket)
	type door struct {
		netns uint64
		name  string
	}
	listeners := make(map[door]uint64)
	for i := range views {
		for j := range views[i].locals {
			s := &views[i].locals[j]
			if s.inode != 0 {
				byInode[s.inode] = s
			}
			if s.state == stateListen {
				listeners[door{views[i].id, s.name}] = s.inode
			}
		}
	}
	p := &pairs{}
	for i := range views {
		for j := range views[i].locals {
			s := &views[i].locals[j]
			if s.peer == 0 {
				continue
			}
			if s.inode == 0 { // not accepted yet: the listener's
				if s.name != "" {
					p.all = append(p.all, pair{from: s.peer, to: listeners[door{views[i].id, s.name}], name: s.name, file: s.file})
				}
				continue
			}
			if end := byInode[s.peer]; end != nil && end.name != "" {
				p.all = append(p.all, pair{from: s.inode, to: s.peer, name: end.name, file: end.file})
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
	slices.SortFunc(all, func(a, b inventory.LocalConnection) int {
		return cmp.Or(compareExecutions(a.Process, b.Process), cmp.Compare(a.Path, b.Path), compareExecutions(a.Peer, b.Peer),
			cmp.Compare(a.File.Device, b.File.Device), cmp.Compare(a.File.Inode, b.File.Inode))
	})
	return slices.Compact(all)
}
