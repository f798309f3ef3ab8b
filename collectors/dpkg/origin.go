package dpkg

import (
	"bufio"
	"context"
	"io"
	"slices"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

// Bounds of apt's lists. Debian's main has 50 MB, Ubuntu's universe 70.
const (
	sizeLists  = 512 << 20 // of all together
	mostLists  = 512
	sizeOrigin = 256
)

// candidate is where an installed package may have come from.
type candidate struct {
	index   // the last that has it
	found   bool
	several bool // archives that call themselves differently have it
}

// originate gives each component the Origin of the archive whose index has its
// name, version and architecture. It is not known where the lists are compressed,
// no longer have the version, or two archives that differ have it. What Debian's index
// of main has is of main, whoever maintains it.
func (db *database) originate(ctx context.Context, h *host.Host) error {
	wanted := make(map[string]*candidate, len(db.components))
	for i := range db.components {
		c := &db.components[i]
		wanted[c.Name+"\x00"+c.Version+"\x00"+c.Arch] = &candidate{}
	}
	var unread tally
	left := int64(sizeLists)
	for i, index := range indexes(h) {
		if i >= mostLists || left <= 0 {
			unread.add(index.path)
			continue
		}
		read, err := readIndex(ctx, h, index, left, wanted)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if left -= read; err != nil && !host.Gone(err) || left <= 0 {
			unread.add(index.path)
		}
	}
	for i := range db.components {
		c := &db.components[i]
		w := wanted[c.Name+"\x00"+c.Version+"\x00"+c.Arch]
		if !w.found || w.several {
			continue
		}
		if c.Origin = w.origin; w.origin == "Debian" && c.Area == "" && strings.Contains(w.path, "_"+areaMain+"_binary-") {
			c.Area = areaMain
			c.Licence = judge(areaMain, true, c.Licence)
		}
	}
	db.gaps = unread.gap(db.gaps, inventory.KindComponents, "apt's lists cannot be read whole: where packages came from is not known")
	return nil
}

// index is a list of packages of an archive.
type index struct{ path, origin string }

// indexes lists those that are not compressed.
func indexes(h *host.Host) []index {
	entries, err := h.ReadDir(dirApt)
	if err != nil {
		return nil // nobody ran apt here
	}
	origins := make(map[string]string) // by how the names of an archive's lists begin
	for _, e := range entries {
		for _, suffix := range []string{"_InRelease", "_Release"} {
			if archive, ok := strings.CutSuffix(e.Name(), suffix); ok && len(origins) < mostLists {
				origins[archive+"_"] = host.Text(readOrigin(h, dirApt+"/"+e.Name()), sizeOrigin)
			}
		}
	}
	var found []index
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), "_Packages") {
			continue
		}
		longest := ""
		for archive := range origins {
			if strings.HasPrefix(e.Name(), archive) && len(archive) > len(longest) {
				longest = archive
			}
		}
		found = append(found, index{dirApt + "/" + e.Name(), origins[longest]})
	}
	return slices.Clip(found)
}

// readIndex notes which of the wanted packages an index has.
func readIndex(ctx context.Context, h *host.Host, at index, limit int64, wanted map[string]*candidate) (read int64, err error) {
	f, err := h.Open(at.path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	bounded := &io.LimitedReader{R: f, N: limit}
	err = parseIndex(ctx, bufio.NewReaderSize(bounded, sizeLine), func(key []byte) {
		w := wanted[string(key)]
		if w == nil {
			return
		}
		w.several = w.several || w.found && w.origin != at.origin
		w.found, w.index = true, at
	})
	return limit - bounded.N, err
}

// parseIndex calls visit with name, version and architecture, apart by zero bytes,
// of each package of an index. Damaged stanzas are left out.
func parseIndex(ctx context.Context, in *bufio.Reader, visit func(key []byte)) error {
	s := newScanner(in, field{name: "Package"}, field{name: "Version"}, field{name: "Architecture"})
	var key []byte
	for n := 0; s.next(); n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if s.bad || s.torn {
			continue
		}
		key = append(key[:0], s.values[0]...)
		for _, value := range s.values[1:] {
			key = append(append(key, 0), value...)
		}
		visit(key)
	}
	return s.err
}
