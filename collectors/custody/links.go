package custody

import (
	"time"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

const (
	maxLinked = 20_000           // entries of a store that are looked at for several names
	linkedFor = 10 * time.Minute // before the list is made again
)

// linked is the files of a place that have several names.
type linked struct {
	made    time.Time
	inodes  map[inventory.FileID]bool
	partial bool
}

// listed reports whether a file with several names has one below a place.
func (f *files) listed(at *place, file inventory.FileID) bool {
	if !at.walked {
		f.partial[at.store]++
		return false
	}
	list := f.names[at.dir]
	if list == nil || f.now.Sub(list.made) >= linkedFor {
		list = f.list(at.dir)
		f.names[at.dir] = list
	}
	if list.inodes[file] {
		return true
	}
	if list.partial {
		f.partial[at.store]++
	}
	return false
}

func (f *files) list(dir string) *linked {
	list := &linked{made: f.now, inodes: make(map[inventory.FileID]bool)}
	_, missed, err := f.host.Walk(dir, maxLinked, func(w *host.Walked) error {
		if w.Regular() && w.Links > 1 {
			list.inodes[inventory.FileID{Device: w.Device, Inode: w.Inode}] = true
		}
		return nil
	})
	list.partial = missed > 0 || err != nil
	return list
}
