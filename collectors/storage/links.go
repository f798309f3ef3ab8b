package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

const (
	maxWalked  = 20_000           // entries of a directory that are looked at, its upper levels first
	linksKnown = 10 * time.Minute // before they are looked at again
)

// links is where the symbolic links below a directory lead, by device.
type links struct {
	made    time.Time
	devices map[uint64]string // to an example, for people
}

// astray says which file systems a store's symbolic links lead to that are not
// among those of its directories: data may lie there, and nobody declared it.
// Links below more entries than are looked at are missed.
func (r *round) astray(store string, paths []inventory.StorePath) {
	for i := range paths {
		p := &paths[i]
		if p.File == (inventory.FileID{}) || p.Mount.Network {
			continue
		}
		devices := r.linksBelow(p.Resolved).devices
		for _, device := range slices.Sorted(maps.Keys(devices)) {
			own := slices.ContainsFunc(paths, func(p inventory.StorePath) bool { return p.Mount.Device == device })
			if !own {
				r.gap(store, devices[device], "symbolic links lead to another file system, which is not declared", 0)
			}
		}
	}
}

func (r *round) linksBelow(dir string) links {
	if known, ok := r.known[dir]; ok && r.host.Now().Sub(known.made) < linksKnown {
		return known
	}
	found := links{made: r.host.Now(), devices: make(map[uint64]string)}
	// A directory that cannot be listed has a gap of its own, from who reads permissions.
	_, _, _ = r.machine.files.Walk(dir, maxWalked, func(w *host.Walked) error {
		if w.Mode&unix.S_IFMT != unix.S_IFLNK {
			return nil
		}
		at := r.machine.locate(w.Path)
		if at.mount == nil || errors.Is(at.err, fs.ErrNotExist) || kindOf(at.mount) == kindPseudo {
			return nil // no data there
		}
		if _, known := found.devices[at.mount.Device]; !known {
			found.devices[at.mount.Device] = fmt.Sprintf("%s → %s", w.Path, at.path)
		}
		return nil
	})
	r.known[dir] = found
	return found
}
