package custody

import (
	"time"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

const (
	maxLinked = 20_000           // entries of a store that are looked at for several names
	linkedFor = 10 * time.Minute // before the list is made again

	// Where the kernel tells of new names, the list is of old ones.
	maxTraced = 200_000
	maxNamed  = 4096 // files of a place that the kernel is told of
	tracedFor = time.Hour
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
	list := f.named(at.dir, maxLinked, linkedFor)
	if list.inodes[file] {
		return true
	}
	if list.partial {
		f.partial[at.store]++
	}
	return false
}

// named gives the files with several names below a directory.
func (r *round) named(dir string, most int, fresh time.Duration) *linked {
	list := r.names[dir]
	if list == nil || r.now.Sub(list.made) >= fresh {
		list = r.list(dir, most)
		r.names[dir] = list
	}
	return list
}

func (r *round) list(dir string, most int) *linked {
	list := &linked{made: r.now, inodes: make(map[inventory.FileID]bool)}
	_, missed, err := r.host.Walk(dir, most, func(w *host.Walked) error {
		if w.Regular() && w.Links > 1 {
			list.inodes[inventory.FileID{Device: w.Device, Inode: w.Inode}] = true
		}
		return nil
	})
	list.partial = missed > 0 || err != nil
	return list
}
