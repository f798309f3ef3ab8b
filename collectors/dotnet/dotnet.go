// Package dotnet reads which libraries .NET programs bring, from the list that is
// built with each: PROGRAM.deps.json.
//
// It looks beside the .NET programs that run, in the shared frameworks below
// /usr/share/dotnet, /usr/lib/dotnet and /usr/lib64/dotnet, and anywhere below
// /opt, /srv, /usr/local, /var/www and in the homes. It does not see what a
// program was published without, or in one file with, its list, or .NET inside of
// containers. A list names no terms: they are known only where NuGet's folder in a
// home still has the library's own description.
//
// What is in a list that belongs to a system package is another identity of that
// component, not one more.
package dotnet

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
	name      = "dotnet"
	mostLists = 4096
	extension = ".deps.json"
)

// Collector reads libraries of .NET programs. It keeps what it read between
// rounds and is not safe for concurrent use.
type Collector struct {
	host  *host.Host
	local *installed.Local
	texts *licence.Texts
	seen  installed.Seen
	tree  installed.Tree
	lists installed.Descriptions
	terms installed.Files[inventory.Licence]
}

// New returns a collector of the libraries below h's root. local is the walk that
// it shares with other rooms. Texts of licences are read by texts.
func New(h *host.Host, local *installed.Local, texts *licence.Texts) *Collector {
	return &Collector{host: h, local: local, texts: texts, tree: installed.Tree{Host: h}}
}

// Collect returns the libraries.
func (c *Collector) Collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error) {
	if err := ctx.Err(); err != nil {
		return inventory.Facts{}, err
	}
	c.tree.Begin()
	c.terms.Begin()
	found, err := c.local.Find(ctx, &c.seen)
	if err != nil {
		return inventory.Facts{}, err
	}
	files := slices.Concat(found.Named(installed.Deps), c.running(seen))
	for _, base := range []string{"/usr/share/dotnet", "/usr/lib/dotnet", "/usr/lib64/dotnet"} {
		files = append(files, c.tree.Glob(base, "shared/*/*/*"+extension)...)
	}
	slices.Sort(files)
	files = slices.Compact(files)
	var over installed.Tally
	if len(files) > mostLists {
		over.AddMany(files[mostLists], len(files)-mostLists)
		files = files[:mostLists]
	}
	parts, gaps, err := c.lists.Read(ctx, c.host, name, ".NET libraries", files, func(path string) ([]inventory.Component, error) {
		return read(c.host, path)
	})
	if err != nil {
		return inventory.Facts{}, err
	}
	gaps = c.tree.Lost.Gap(gaps, name, "directories that may have .NET libraries cannot be listed whole")
	facts := parts.Facts(over.Gap(gaps, name, "too many lists of .NET libraries"))
	c.license(facts.Components)
	return facts, nil
}

// running lists what the .NET programs that run were built with: that of the
// assembly that the runtime was given, and that beside a program of its own name.
func (c *Collector) running(seen *inventory.Facts) []string {
	var files []string
	for i := range seen.Processes {
		p := &seen.Processes[i]
		if !installed.Native(c.host, p) {
			continue
		}
		program := p.Executable
		if path.Base(program) == "dotnet" {
			at := slices.IndexFunc(p.Arguments, func(word string) bool { return strings.HasSuffix(word, ".dll") })
			if at < 1 || !path.IsAbs(p.Arguments[at]) || strings.IndexByte(p.Arguments[at], 0) >= 0 || len(p.Arguments[at]) > 4096 {
				continue // one that is relative is found only in the places for all
			}
			program = strings.TrimSuffix(path.Clean(p.Arguments[at]), ".dll")
		}
		if file := program + extension; installed.StampOf(c.host, file) != (installed.Stamp{}) {
			files = append(files, file)
		}
	}
	return files
}

// license adds the terms that NuGet's folders in the homes have.
func (c *Collector) license(components []inventory.Component) {
	var folders []string
	for _, home := range append(c.tree.Glob("/home", "*"), "/root") {
		if folder := path.Join(home, ".nuget/packages"); installed.StampOf(c.host, folder) != (installed.Stamp{}) {
			folders = append(folders, folder)
		}
	}
	for i := range components {
		library := strings.ToLower(components[i].Name)
		if strings.Contains(library, "/") || !strings.HasPrefix(components[i].PURL, "pkg:nuget/") {
			continue
		}
		for _, folder := range folders {
			file := path.Join(folder, library, strings.ToLower(components[i].Version), library+".nuspec")
			l, err := c.terms.Get(c.host, file, func() (inventory.Licence, error) { return readTerms(c.host, c.texts, file) })
			if err == nil && l != (inventory.Licence{}) {
				components[i].Licence = l
				break
			}
		}
	}
}
