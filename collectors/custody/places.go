package custody

import (
	"cmp"
	"slices"

	"cityward/collectors/inventory"
)

// place is one directory of a store, by where its files lie.
type place struct {
	store  string
	dir    string // to walk
	mount  uint64 // device of the file system as mount tables and maps have it
	files  uint64 // device as stat(2) has it; 0 unknown
	root   string // the directory's path inside the file system
	walked bool   // its file system answers from this machine
	file   inventory.FileID
	kind   string // of file system
}

// places gives the directories of declared stores, with gaps for those that
// holders cannot be found for.
func (r *round) places() []place {
	var found []place
	for i := range r.cfg.Stores {
		store := &r.cfg.Stores[i]
		at := slices.IndexFunc(r.seen.Stores, func(s inventory.DataStore) bool { return s.ID == store.ID && len(s.Paths) > 0 })
		switch {
		case len(store.Paths) == 0:
			r.gap(store.ID, store.ID, "only services are declared: who opens its files is not known", 0)
			continue
		case at < 0:
			r.gap(store.ID, store.ID, "it is not known where its directories lie", 0)
			continue
		}
		for _, p := range r.seen.Stores[at].Paths {
			if p.Resolved == "" || p.MountRoot == "" {
				r.gap(store.ID, p.Path, "it is "+cmp.Or(p.Medium, inventory.MediumUnknown)+": who has files of it open is not known", 0)
				continue
			}
			if p.Mount.Network {
				r.gap(store.ID, p.Path, "it is on another machine, where others may hold it", 0)
			}
			found = append(found, place{
				store: store.ID, dir: p.Resolved, mount: p.Mount.Device, files: p.File.Device, root: p.MountRoot,
				walked: !p.Mount.Network && p.File != (inventory.FileID{}), file: p.File, kind: p.Mount.Type,
			})
		}
	}
	return found
}
