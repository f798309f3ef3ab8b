package dpkg

import (
	"bufio"
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/licence"
	"cityward/collectors/internal/rpmdb"
	"cityward/collectors/inventory"
)

// mostPackages bounds the packages of one database; Debian's archive has 64 000.
const mostPackages = 96 << 10

// database is what one reading of the package database gave.
type database struct {
	version    version
	components []inventory.Component         // sorted by name and architecture
	lists      []string                      // name of each component's file list, without .list; "" none
	diversions map[string]diversion          // by the diverted path
	licences   map[subject]inventory.Licence // what the copyright file of a package says
	gaps       []inventory.Gap
}

// read reads the whole database but the contents of the file lists. What the
// old database knows of a copyright file that is unchanged is kept.
func read(ctx context.Context, h *host.Host, texts *licence.Texts, at version, old *database) (*database, error) {
	db := &database{version: at, licences: make(map[subject]inventory.Licence)}
	if _, err := h.Stat(dirAdmin); host.Gone(err) {
		if !elsewhere(h) {
			db.gaps = append(db.gaps, gap(dirAdmin, "no dpkg database, and none of another system that is known", 0))
		}
		return db, nil
	}
	records, err := db.records(ctx, h)
	if err != nil {
		return nil, err
	}
	there := db.match(records, db.listNames(h))
	if db.diversions, err = readDiversions(h); err != nil {
		db.gaps = append(db.gaps, gap(fileDiversions, host.Cause(err), 0))
	}
	from := readArchives(h)
	in := bufio.NewReaderSize(nil, sizeLine)
	var unread tally
	for i, r := range there {
		if i%64 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		text, err := db.licence(h, in, r, texts, old)
		if err != nil {
			unread.add(dirDoc + "/" + r.name + "/copyright: " + host.Cause(err))
		}
		db.components = append(db.components, component(r, at.vendor, from, text))
		db.lists = append(db.lists, r.list)
	}
	db.depends(there)
	db.gaps = unread.gap(db.gaps, inventory.KindLicences, "copyright files cannot be read")
	return db, nil
}

// elsewhere reports whether another package system rules here, which has a room
// of its own.
func elsewhere(h *host.Host) bool {
	for _, path := range []string{"/lib/apk/db/installed", "/usr/lib/apk/db/installed", "/var/lib/pacman/local"} {
		if _, err := h.Stat(path); err == nil {
			return true
		}
	}
	return rpmdb.Find(h) != ""
}

// component joins what the database says of a package with what its copyright
// file says.
func component(r *record, vendor string, from archives, text inventory.Licence) inventory.Component {
	where := area(r, from == onlyDebian)
	c := inventory.Component{
		Ecosystem: "dpkg",
		Name:      r.name,
		Version:   r.version,
		Arch:      r.arch,
		Source:    r.source,
		Supplier:  r.maintainer,
		Area:      where,
		PURL:      purl(vendor, r),
		Licence:   judge(where, from == onlyDebian && ofDebian(r.maintainer), text),
	}
	if from == noArchive {
		c.Licence = presume(r, vendor, c.Licence)
	}
	if r.origin != "" {
		c.Supplier = r.origin
	}
	return c
}

// purl gives the package URL, of the type deb: what is not a letter, a digit or
// one of ".-_~:" is percent-encoded.
func purl(vendor string, r *record) string {
	var b strings.Builder
	encode := func(text string) {
		for i := range len(text) {
			if c := text[i]; alphanumeric(c) || strings.IndexByte(".-_~:", c) >= 0 {
				b.WriteByte(c)
			} else {
				const hex = "0123456789ABCDEF"
				b.Write([]byte{'%', hex[c>>4], hex[c&15]})
			}
		}
	}
	b.WriteString("pkg:deb/")
	encode(strings.ToLower(vendor))
	b.WriteByte('/')
	encode(strings.ToLower(r.name))
	b.WriteByte('@')
	encode(r.version)
	if r.arch != "" {
		b.WriteString("?arch=")
		encode(r.arch)
	}
	return b.String()
}

// records reads the status files. Its keys sort by name and architecture.
func (db *database) records(ctx context.Context, h *host.Host) (map[string]*record, error) {
	all := make(map[string]*record)
	files, images, err := statusFiles(h)
	if err != nil {
		db.gaps = append(db.gaps, gap(dirAdmin, host.Cause(err), 0))
	}
	var damaged, over tally
	for _, path := range files {
		lost, err := readStatus(ctx, h, path, func(r record) {
			key := r.name + ":" + r.arch
			if all[key] == nil && len(all) >= mostPackages {
				over.add(path)
				return
			}
			all[key] = &r
		})
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		for range lost {
			damaged.add(path)
		}
		optional := images || path != fileStatus // dpkg merges its updates at any time
		if err != nil && (!optional || !host.Gone(err)) {
			db.gaps = append(db.gaps, gap(path, host.Cause(err), 0))
		}
	}
	db.gaps = damaged.gap(db.gaps, inventory.KindComponents, "damaged entries: their packages are not known")
	db.gaps = over.gap(db.gaps, inventory.KindComponents, "too many packages")
	return all, nil
}

// listNames reads which packages have a file list. A list's name is NAME.list,
// or NAME:ARCH.list where packages of several architectures can be installed
// side by side. The values say that a package was found for the list.
func (db *database) listNames(h *host.Host) map[string]bool {
	lists := make(map[string]bool)
	dir, err := h.OpenDir(dirInfo)
	if err != nil {
		db.gaps = append(db.gaps, gap(dirInfo, host.Cause(err), 0))
		return lists
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(512)
		for _, name := range names {
			if list, ok := strings.CutSuffix(name, ".list"); ok {
				lists[list] = false
			}
		}
		if len(lists) > mostPackages {
			db.gaps = append(db.gaps, gap(dirInfo, "too many file lists", 0))
			return lists
		}
		if errors.Is(err, io.EOF) {
			return lists
		}
		if err != nil {
			db.gaps = append(db.gaps, gap(dirInfo, host.Cause(err), 0))
			return lists
		}
	}
}

// match finds the file list of each package and returns those packages whose
// files are there, sorted.
func (db *database) match(records map[string]*record, lists map[string]bool) []*record {
	var there []*record
	var bare, stopped, orphans tally
	for _, key := range slices.Sorted(maps.Keys(records)) {
		r := records[key]
		for _, list := range []string{key, r.name} {
			if _, ok := lists[list]; ok {
				r.list, lists[list] = list, true
				break
			}
		}
		switch r.presence {
		case partial:
			stopped.add(r.name)
		case present:
			there = append(there, r)
			if r.list == "" {
				bare.add(r.name)
			}
		case absent:
		}
	}
	for _, list := range slices.Sorted(maps.Keys(lists)) {
		if !lists[list] {
			orphans.add(host.Text(list, 256))
		}
	}
	const kind = inventory.KindComponents
	db.gaps = stopped.gap(db.gaps, kind, "half-installed: dpkg was stopped while it unpacked these packages")
	db.gaps = bare.gap(db.gaps, kind, "installed packages without a file list: what they own is not known")
	db.gaps = orphans.gap(db.gaps, kind, "file lists without a package: the status is not whole")
	return there
}
