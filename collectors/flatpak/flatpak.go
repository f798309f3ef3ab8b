// Package flatpak reads which applications and runtimes of Flatpak are installed,
// for all users and by each, and under which terms.
//
// What is there is told by the directories themselves: app/ID/ARCH/BRANCH/active
// has metadata (a key file with the section Application or Runtime) and, in
// files/share, the AppStream description with the project's licence and releases.
// Extensions are among the runtimes. The terms are the publisher's word. Programs
// run in a file tree of their own, so they get no owner here. Programs and libraries
// within an application are not listed.
package flatpak

import (
	"context"
	"path"
	"slices"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/inventory"
)

const (
	name     = "flatpak"
	mostRefs = 4096
)

// Collector reads what Flatpak installed. It keeps what it read between rounds
// and is not safe for concurrent use.
type Collector struct {
	host *host.Host
	tree installed.Tree
	refs installed.Files[inventory.Component] // by the deployed directory
}

// New returns a collector of what Flatpak installed below h's root.
func New(h *host.Host) *Collector { return &Collector{host: h, tree: installed.Tree{Host: h}} }

// Collect returns the applications and runtimes.
func (c *Collector) Collect(ctx context.Context, _ *inventory.Facts) (inventory.Facts, error) {
	if err := ctx.Err(); err != nil {
		return inventory.Facts{}, err
	}
	c.tree.Begin()
	c.refs.Begin()
	var parts installed.Parts
	var damaged, over installed.Tally
	bases := slices.Concat([]string{"/var/lib/flatpak"}, c.tree.Glob("/home", "*/.local/share/flatpak"), []string{"/root/.local/share/flatpak"})
	found := 0
	for _, base := range bases {
		for _, kind := range []string{"app", "runtime"} {
			for _, ref := range c.tree.Glob(path.Join(base, kind), "*/*/*") {
				active := path.Join(ref, "active") // leads to another directory after an update
				if installed.StampOf(c.host, path.Join(active, "metadata")) == (installed.Stamp{}) {
					continue // "current" leads to one of them
				}
				if found++; found > mostRefs {
					over.Add(ref)
					continue
				}
				component, err := c.refs.Get(c.host, active, func() (inventory.Component, error) { return c.read(ref) })
				if err != nil && !host.Gone(err) {
					damaged.Add(ref + ": " + host.Cause(err))
				}
				if component.Name != "" {
					parts.Add(installed.Package{}, component)
				}
			}
		}
		if ctx.Err() != nil {
			return inventory.Facts{}, ctx.Err()
		}
	}
	gaps := damaged.Gap(nil, name, "descriptions of applications of Flatpak cannot be read")
	gaps = c.tree.Lost.Gap(gaps, name, "directories of Flatpak cannot be listed whole")
	return parts.Facts(over.Gap(gaps, name, "too many applications of Flatpak")), nil
}

// read describes what lies in a directory ID/ARCH/BRANCH. One without an AppStream
// description, as most runtimes are, has its branch as version and no terms.
func (c *Collector) read(ref string) (inventory.Component, error) {
	words := strings.Split(ref, "/")
	id, arch, branch := words[len(words)-3], words[len(words)-2], words[len(words)-1]
	component := inventory.Component{
		Ecosystem: name, Name: host.Text(id, 256), Arch: host.Text(arch, 64), Version: host.Text(branch, 256),
	}
	branch = component.Version
	data, err := c.host.ReadFile(path.Join(ref, "active/metadata"), sizeMetadata)
	if err == nil {
		err = checkMetadata(string(data))
	}
	var about description
	for _, dir := range []string{"metainfo", "appdata"} {
		for _, suffix := range []string{".metainfo.xml", ".appdata.xml"} {
			file := path.Join(ref, "active/files/share", dir, id+suffix)
			data, failed := c.host.ReadFile(file, sizeDescription)
			if failed == nil {
				about, failed = parseDescription(data)
			}
			if failed != nil && !host.Gone(failed) {
				err = failed
			}
			if about != (description{}) {
				component.Licence, component.Supplier = about.licence(), about.developer
				if about.version != "" {
					component.Version = about.version
				}
			}
		}
	}
	component.PURL = installed.PURL("flatpak", "", component.Name, component.Version, "arch", component.Arch, "branch", branch)
	return component, err
}
