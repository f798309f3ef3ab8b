// Package ruby reads which Ruby gems are installed, from the specification that
// RubyGems writes of each: specifications/NAME-VERSION.gemspec.
//
// It looks where distributions and RubyGems itself install, below /usr/lib,
// /usr/share and /var/lib/gems, and for specifications anywhere below /opt, /srv,
// /usr/local, /var/www and in the homes, where bundles, rbenv and the like have
// theirs. It does not see gems in other places, those that a program has copied
// into itself, or Ruby inside of containers.
//
// A gem whose specification belongs to a system package is another identity of
// that component, not one more.
package ruby

import (
	"context"
	"path"
	"slices"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/internal/licence"
	"cityward/collectors/inventory"
)

const (
	name      = "ruby"
	mostGems  = 16 << 10
	extension = ".gemspec"
)

// Collector reads Ruby gems. It keeps what it read between rounds and is not safe
// for concurrent use.
type Collector struct {
	host  *host.Host
	local *installed.Local
	texts *licence.Texts
	seen  installed.Seen
	tree  installed.Tree
	gems  installed.Descriptions
}

// New returns a collector of the gems below h's root. local is the walk that it
// shares with other rooms. Texts of licences are read by texts.
func New(h *host.Host, local *installed.Local, texts *licence.Texts) *Collector {
	return &Collector{host: h, local: local, texts: texts, tree: installed.Tree{Host: h}}
}

// Collect returns the gems.
func (c *Collector) Collect(ctx context.Context, _ *inventory.Facts) (inventory.Facts, error) {
	if err := ctx.Err(); err != nil {
		return inventory.Facts{}, err
	}
	c.tree.Begin()
	found, err := c.local.Find(ctx, &c.seen)
	if err != nil {
		return inventory.Facts{}, err
	}
	files := append(c.system(), found.Named(installed.Gemspec)...)
	slices.Sort(files)
	files = slices.Compact(files)
	var over installed.Tally
	if len(files) > mostGems {
		over.AddMany(files[mostGems], len(files)-mostGems)
		files = files[:mostGems]
	}
	parts, gaps, err := c.gems.Read(ctx, c.host, name, "Ruby gems", files, func(path string) ([]inventory.Component, error) {
		return read(c.host, c.texts, path)
	})
	if err != nil {
		return inventory.Facts{}, err
	}
	gaps = c.tree.Lost.Gap(gaps, name, "directories that may have Ruby gems cannot be listed whole")
	return parts.Facts(over.Gap(gaps, name, "too many Ruby gems")), nil
}

// system lists the specifications where distributions put them, and RubyGems for
// all users.
func (c *Collector) system() []string {
	var files []string
	for base, patterns := range map[string][]string{
		"/usr/share":    {"rubygems-integration/*/specifications", "gems/specifications", "gems/specifications/default"},
		"/usr/lib":      {"*/rubygems-integration/*/specifications", "ruby/gems/*/specifications", "ruby/gems/*/specifications/default"},
		"/usr/lib64":    {"gems/*/*/specifications", "ruby/gems/*/specifications", "ruby/gems/*/specifications/default"},
		"/var/lib/gems": {"*/specifications"},
	} {
		for _, pattern := range patterns {
			for _, dir := range c.tree.Glob(base, pattern) {
				for _, entry := range c.tree.List(dir) {
					if strings.HasSuffix(entry, extension) {
						files = append(files, path.Join(dir, entry))
					}
				}
			}
		}
	}
	return files
}
