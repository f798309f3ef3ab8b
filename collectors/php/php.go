// Package php reads which packages Composer has installed for PHP programs, from
// the list that it leaves among them: vendor/composer/installed.json.
//
// It looks anywhere below /opt, /srv, /usr/local, /var/www and in the homes, and
// where distributions put PHP programs below /usr/share and /var/lib. It does not
// see what lies in other places or in archives of PHP (phar), packages that
// Debian installs without Composer, which dpkg knows, or PHP inside of containers.
// The program itself is in that list only by its parts.
//
// What is in a list that belongs to a system package is another identity of that
// component, not one more.
package php

import (
	"context"
	"path"
	"slices"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/internal/licence"
	"cityward/collectors/inventory"
)

const (
	name      = "php"
	mostLists = 4096
	fileList  = "installed.json"
)

// Collector reads packages of Composer. It keeps what it read between rounds and
// is not safe for concurrent use.
type Collector struct {
	host  *host.Host
	local *installed.Local
	texts *licence.Texts
	seen  installed.Seen
	tree  installed.Tree
	lists installed.Descriptions
}

// New returns a collector of the packages below h's root. local is the walk that
// it shares with other rooms. Texts of licences are read by texts.
func New(h *host.Host, local *installed.Local, texts *licence.Texts) *Collector {
	return &Collector{host: h, local: local, texts: texts, tree: installed.Tree{Host: h}}
}

// Collect returns the packages.
func (c *Collector) Collect(ctx context.Context, _ *inventory.Facts) (inventory.Facts, error) {
	if err := ctx.Err(); err != nil {
		return inventory.Facts{}, err
	}
	c.tree.Begin()
	found, err := c.local.Find(ctx, &c.seen)
	if err != nil {
		return inventory.Facts{}, err
	}
	files := found.Named(installed.Composer)
	for _, pattern := range []string{
		"*/vendor/composer", "*/3rdparty/composer", "*/library/vendor/*/vendor/composer",
		"webapps/*/vendor/composer", "webapps/*/3rdparty/composer",
	} {
		for _, base := range []string{"/usr/share", "/var/lib"} {
			for _, dir := range c.tree.Glob(base, pattern) {
				if file := path.Join(dir, fileList); installed.StampOf(c.host, file) != (installed.Stamp{}) {
					files = append(files, file)
				}
			}
		}
	}
	slices.Sort(files)
	files = slices.Compact(files)
	var over installed.Tally
	if len(files) > mostLists {
		over.AddMany(files[mostLists], len(files)-mostLists)
		files = files[:mostLists]
	}
	parts, gaps, err := c.lists.Read(ctx, c.host, name, "PHP packages", files, func(path string) ([]inventory.Component, error) {
		return read(c.host, c.texts, path)
	})
	if err != nil {
		return inventory.Facts{}, err
	}
	gaps = c.tree.Lost.Gap(gaps, name, "directories that may have PHP packages cannot be listed whole")
	return parts.Facts(over.Gap(gaps, name, "too many lists of PHP packages")), nil
}
