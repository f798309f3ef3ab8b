package container

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
)

// set is readers of the databases that one or several trees have in common. Only
// who took it uses it.
type set struct {
	host    *host.Host
	readers []Reader
}

// evidence lists the files by which databases are known to be the same.
func evidence() []string {
	const dpkg = "/var/lib/dpkg/"
	files := []string{
		dpkg + "status", dpkg + "status.d", dpkg + "updates", dpkg + "info", dpkg + "diversions", "/var/lib/apt/lists",
		"/lib/apk/db/installed", "/usr/lib/apk/db/installed",
	}
	for _, dir := range []string{"/usr/lib/sysimage/rpm/", "/var/lib/rpm/"} {
		for _, file := range []string{"rpmdb.sqlite", "rpmdb.sqlite-wal", "Packages.db", "Packages"} {
			files = append(files, dir+file)
		}
	}
	return files
}

// fingerprint is equal for trees with the same databases; "" without any. Inodes
// and times to the nanosecond tell, whatever the device: each container has one of
// its own for the layers that it shares with others. Who can forge all that has
// forged databases of its own.
func fingerprint(h *host.Host, vendor string) string {
	var b strings.Builder
	for i, file := range evidence() {
		if at := installed.StampOf(h, file); at != (installed.Stamp{}) {
			at.File.Device = 0
			fmt.Fprintf(&b, "%d:%v ", i, at)
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return b.String() + vendor
}

// take gives the readers for a fingerprint, new ones where nobody has left any.
func (c *Collector) take(mark string) *set {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.sets[mark]
	delete(c.sets, mark)
	if s == nil {
		s = &set{host: host.Detached(c.host)}
		s.host.IgnoreDevices()
		s.readers = c.readers(s.host)
	}
	return s
}

func (c *Collector) give(mark string, s *set) {
	s.host.Detach()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sets[mark] = s
}

// databases reads the packages of a tree and the owners of its programs.
func (c *Collector) databases(ctx context.Context, h *host.Host, vendor string, programs []installed.Program, o *outcome) error {
	mark := fingerprint(h, vendor)
	if mark == "" {
		return nil
	}
	s := c.take(mark)
	defer c.give(mark, s)
	if err := s.host.Share(h); err != nil {
		return err
	}
	if vendor == "" {
		vendor = "linux"
	}
	o.set = s
	for _, reader := range s.readers {
		facts, err := reader.Read(ctx, vendor, programs)
		if err != nil {
			return err
		}
		switch { // one kind of database is the usual case, whose list is shared
		case len(o.components) == 0:
			o.components = facts.Components
		case len(facts.Components) > 0:
			o.components = slices.Concat(o.components, facts.Components)
		}
		o.owners, o.gaps = append(o.owners, facts.Owners...), append(o.gaps, facts.Gaps...)
	}
	return nil
}
