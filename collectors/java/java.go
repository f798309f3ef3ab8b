// Package java reads which Java libraries are installed, from the archives that
// they come in: the manifest, and what Maven leaves in META-INF/maven.
//
// It looks in /usr/share/java and below /opt, but not into node_modules, and at
// the archives that Java programs run or have open. Archives within archives are
// read as deep as programs are packed; one that names no release is listed by
// its name. It does not see classes that lie in directories, archives that were
// closed again after the start. Containers are looked at, each like a machine, by the
// room for these.
//
// What an archive that a system package owns has is another identity of that
// component, not one more.
package java

import (
	"context"
	"errors"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/internal/licence"
	"cityward/collectors/inventory"
)

const (
	name       = "java"
	mostFiles  = 16 << 10
	mostDirs   = 32 << 10
	mostDepth  = 12   // of directories
	mostOpened = 4096 // descriptors of one program
)

// Collector reads Java archives. It keeps what it read between rounds and is not
// safe for concurrent use.
type Collector struct {
	host  *host.Host
	texts *licence.Texts
	dirs  installed.Files[listing]
	files installed.Files[archive]
	owned installed.Owned
}

// listing is what matters in a directory.
type listing struct{ dirs, files []string }

// New returns a collector of the Java libraries below h's root. Texts of licences
// are read by texts.
func New(h *host.Host, texts *licence.Texts) *Collector { return &Collector{host: h, texts: texts} }

// Collect returns the libraries that no system package has.
func (c *Collector) Collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error) {
	if err := ctx.Err(); err != nil {
		return inventory.Facts{}, err
	}
	c.dirs.Begin()
	c.files.Begin()
	s := search{Collector: c}
	for _, dir := range []string{"/usr/share/java", "/opt"} {
		s.below(ctx, dir, 0)
	}
	s.opened(seen)
	files := s.distinct()
	owned, lists, err := c.owned.Among(ctx, c.host, files)
	if err != nil {
		return inventory.Facts{}, err
	}
	var parts installed.Parts
	var damaged, cut installed.Tally
	for _, file := range files {
		if ctx.Err() != nil {
			return inventory.Facts{}, ctx.Err()
		}
		a, err := c.files.Get(c.host, file, func() (archive, error) { return read(ctx, c.host, c.texts, file) })
		if ctx.Err() != nil {
			c.files.Forget(file) // not read to its end
			return inventory.Facts{}, ctx.Err()
		}
		switch {
		case !owned(file).None():
		case err != nil && !host.Gone(err):
			damaged.Add(file + ": " + host.Cause(err))
		case a.cut != nil:
			cut.Add(file + ": " + a.cut.Error())
		}
		for i := range a.components {
			k := a.components[i]
			if i == len(a.components)-1 { // the outermost archive itself
				k.Files = []string{installed.Resolved(c.host, file)}
			}
			parts.Add(owned(file), k)
		}
	}
	gaps := s.lost.Gap(nil, name, "directories that may have Java archives cannot be listed whole")
	gaps = damaged.Gap(gaps, name, "Java archives cannot be read")
	gaps = cut.Gap(gaps, name, "archives within Java archives were not read")
	gaps = lists.Gap(gaps, name, "file lists of system packages cannot be read: some Java libraries may be listed twice")
	gaps = s.denied.Gap(gaps, name, "which archives running Java programs have open cannot be read")
	gaps = s.over.Gap(gaps, name, "too many Java archives, or directories that may have some")
	return parts.Facts(gaps), nil
}

// search gathers the archives of one round.
type search struct {
	*Collector
	found              []string
	dirsSeen           int
	lost, denied, over installed.Tally
}

// distinct gives each archive once, whatever links lead to it.
func (s *search) distinct() []string {
	slices.Sort(s.found)
	files := installed.Distinct(s.host, slices.Compact(s.found))
	if len(files) > mostFiles {
		for _, file := range files[mostFiles:] {
			s.over.Add(file)
		}
		files = files[:mostFiles]
	}
	return files
}

// below goes through a directory. Links to directories are not followed.
func (s *search) below(ctx context.Context, dir string, depth int) {
	if ctx.Err() != nil {
		return
	}
	if s.dirsSeen++; s.dirsSeen > mostDirs || depth > mostDepth {
		s.over.Add(dir)
		return
	}
	l, err := s.dirs.Get(s.host, dir, func() (listing, error) { return list(s.host, dir) })
	if err != nil && !host.Gone(err) {
		s.lost.Add(dir + ": " + host.Cause(err))
	}
	for _, file := range l.files {
		s.found = append(s.found, path.Join(dir, file))
	}
	for _, inner := range l.dirs {
		s.below(ctx, path.Join(dir, inner), depth+1)
	}
}

func list(h *host.Host, dir string) (listing, error) {
	const most = 64 << 10
	var l listing
	f, err := h.OpenDir(dir)
	if err != nil {
		return l, err
	}
	defer f.Close()
	entries, err := f.ReadDir(most + 1)
	for _, e := range entries {
		switch {
		case e.IsDir() && e.Name() != "node_modules" && e.Name() != ".git":
			l.dirs = append(l.dirs, e.Name())
		case !e.IsDir() && packed(e.Name()):
			l.files = append(l.files, e.Name())
		}
	}
	slices.Sort(l.dirs)
	slices.Sort(l.files)
	switch {
	case len(entries) > most:
		err = installed.ErrTooMany
	case errors.Is(err, io.EOF):
		err = nil
	}
	return l, err
}

// packed reports whether a name is that of a Java archive.
func packed(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".jar", ".war", ".ear":
		return true
	}
	return false
}

// opened adds the archives of the Java programs that run.
func (s *search) opened(seen *inventory.Facts) {
	var proc *host.Proc
	for i := range seen.Processes {
		p := &seen.Processes[i]
		if base := path.Base(p.Executable); base != "java" && base != "jsvc" || !installed.Native(s.host, p) {
			continue
		}
		if proc == nil {
			var err error
			if proc, err = s.host.OpenProc(); err != nil {
				s.denied.Add("/proc: " + host.Cause(err))
				return
			}
			defer proc.Close()
		}
		if j := slices.Index(p.Arguments, "-jar"); j >= 0 && j+1 < len(p.Arguments) {
			if file := p.Arguments[j+1]; path.IsAbs(file) && packed(file) && strings.IndexByte(file, 0) < 0 {
				s.found = append(s.found, path.Clean(file))
			}
		}
		s.descriptors(proc, p)
	}
}

func (s *search) descriptors(proc *host.Proc, p *inventory.Process) {
	numbers, err := proc.Numbers(p.ID.PID, "fd", nil)
	if err != nil {
		if !host.Gone(err) {
			s.denied.Add(p.ID.String() + ": " + host.Cause(err))
		}
		return
	}
	slices.Sort(numbers)
	if len(numbers) > mostOpened {
		s.over.Add(p.ID.String())
		numbers = numbers[:mostOpened]
	}
	for _, number := range numbers {
		target, err := proc.Readlink(p.ID.PID, "fd/"+strconv.Itoa(number))
		if err != nil || len(target) == 0 || target[0] != '/' || !packed(string(target)) {
			continue
		}
		if inside, err := s.host.Inside(string(target)); err == nil {
			s.found = append(s.found, inside)
		}
	}
}
