package installed

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/rpmdb"
)

const (
	dirLists  = "/var/lib/dpkg/info"
	dirPacman = "/var/lib/pacman/local"
	fileApk   = "/lib/apk/db/installed"
	sizeList  = 64 << 20 // of one package, or of all of apk's
	mostKnown = 1 << 20
)

// Owned tells which files belong to packages of dpkg, apk, RPM or pacman. One pass over
// their file lists answers for many files; the answers are kept until the lists
// change. Diversions do not matter: what is asked for are descriptions.
type Owned struct {
	lists, apk, rpm, pacman Stamp
	known                   map[string]Package
	lost                    Tally
}

// Package names a system package as the package system does; of one that no
// package owns all is empty.
type Package struct {
	Ecosystem string // dpkg, apk, rpm or pacman
	Name      string // NAME, or NAME:ARCH where dpkg has several of a name
}

// None reports whether it is no package.
func (p Package) None() bool { return p == Package{} }

// Among gives for each path the package that has it, and what could not be read.
func (o *Owned) Among(ctx context.Context, h *host.Host, paths []string) (func(string) Package, Tally, error) {
	database := rpmdb.Find(h)
	lists, apk, rpm := StampOf(h, dirLists), StampOf(h, fileApk), Stamp{}
	pacman := StampOf(h, dirPacman)
	if database != "" {
		rpm = StampOf(h, database)
	}
	if lists != o.lists || apk != o.apk || rpm != o.rpm || pacman != o.pacman || len(o.known) > mostKnown {
		*o = Owned{lists: lists, apk: apk, rpm: rpm, pacman: pacman}
	}
	has := func(path string) Package { return o.known[path] }
	wanted := make(map[string]Package)
	for _, path := range paths {
		if _, ok := o.known[path]; !ok {
			wanted[path] = Package{}
		}
	}
	if len(wanted) == 0 {
		return has, o.lost, nil
	}
	s := search{wanted: wanted, in: bufio.NewReaderSize(nil, 64<<10)}
	if apk != (Stamp{}) {
		s.try(h, fileApk, s.apk)
	}
	if rpm != (Stamp{}) {
		s.rpm(ctx, h, database)
	}
	if lists != (Stamp{}) {
		err := s.each(ctx, h, dirLists, func(name string) {
			if list, ok := strings.CutSuffix(name, ".list"); ok {
				s.at = Package{"dpkg", list}
				s.try(h, dirLists+"/"+name, s.mark)
			}
		})
		if err != nil {
			return nil, Tally{}, err
		}
	}
	if pacman != (Stamp{}) {
		err := s.each(ctx, h, dirPacman, func(name string) {
			if s.at = (Package{"pacman", PacmanName(name)}); s.at.Name != "" {
				s.try(h, dirPacman+"/"+name+"/files", func(line []byte) { s.claim(append([]byte("/"), line...)) })
			}
		})
		if err != nil {
			return nil, Tally{}, err
		}
	}
	if ctx.Err() != nil {
		return nil, Tally{}, ctx.Err()
	}
	if o.known == nil {
		o.known = wanted
	}
	maps.Copy(o.known, wanted)
	o.lost = s.lost
	return has, o.lost, nil
}

// search is one pass.
type search struct {
	wanted map[string]Package
	at     Package // whose files are read
	in     *bufio.Reader
	dir    string // of apk
	lost   Tally
}

func (s *search) rpm(ctx context.Context, h *host.Host, database string) {
	lost, err := rpmdb.Each(ctx, h, database, func(header *rpmdb.Header) {
		s.at = Package{"rpm", header.Name}
		header.Files(func(moved []byte) {
			s.claim(moved[len("/usr"):])
			s.claim(moved)
		})
	})
	if err != nil || lost > 0 {
		s.lost.Add(database)
	}
}

// PacmanName gives the name of a package from that of its directory in pacman's
// database, NAME-VERSION-RELEASE; "" if it is none.
func PacmanName(dir string) string {
	for range 2 {
		i := strings.LastIndexByte(dir, '-')
		if i < 0 {
			return ""
		}
		dir = dir[:i]
	}
	return dir
}

// each calls visit with the names in a directory, in no order.
func (s *search) each(ctx context.Context, h *host.Host, at string, visit func(name string)) error {
	dir, err := h.OpenDir(at)
	if err != nil {
		s.lost.Add(at + ": " + host.Cause(err))
		return nil
	}
	defer dir.Close()
	for {
		names, err := dir.Readdirnames(256)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for _, name := range names {
			visit(name)
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			s.lost.Add(at + ": " + host.Cause(err))
			return nil
		}
	}
}

// try calls line with each line of a file.
func (s *search) try(h *host.Host, path string, line func([]byte)) {
	f, err := h.Open(path)
	if err != nil {
		s.lost.Add(path + ": " + host.Cause(err))
		return
	}
	defer f.Close()
	bounded := &io.LimitedReader{R: f, N: sizeList}
	s.in.Reset(bounded)
	err = Lines(s.in, func(text []byte) bool {
		line(text)
		return true
	})
	if err != nil {
		s.lost.Add(path + ": " + host.Cause(err))
	}
	if bounded.N == 0 {
		s.lost.Add(path + ": " + host.ErrTooLarge.Error())
	}
}

// mark takes a path as packages spell it, before or after /bin and /lib moved
// below /usr.
func (s *search) mark(path []byte) {
	if s.claim(path) {
		return
	}
	for _, dir := range []string{"/lib", "/bin/", "/sbin/"} {
		if bytes.HasPrefix(path, []byte(dir)) && s.claim(append([]byte("/usr"), path...)) {
			return
		}
	}
}

// claim notes the package for a path that was asked for. By name the first one
// stays, so that the order of a directory does not matter.
func (s *search) claim(path []byte) bool {
	old, ok := s.wanted[string(path)]
	if ok && (old.None() || s.at.Ecosystem == old.Ecosystem && s.at.Name < old.Name) {
		s.wanted[string(path)] = s.at
	}
	return ok
}

// apk takes a line of apk's database: P:package, then F:directory, then R:name of
// each file.
func (s *search) apk(line []byte) {
	if len(line) < 2 || line[1] != ':' {
		return
	}
	switch line[0] {
	case 'P':
		s.at = Package{"apk", string(line[2:])}
	case 'F':
		s.dir = "/" + string(line[2:]) + "/"
	case 'R':
		s.mark([]byte(s.dir + string(line[2:])))
	}
}
