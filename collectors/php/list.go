package php

import (
	"bytes"
	"encoding/json"
	"errors"
	"path"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/internal/licence"
	"cityward/collectors/internal/spdx"
	"cityward/collectors/inventory"
)

// Bounds of one list; large programs have some 500 KB.
const (
	sizeList     = 4 << 20
	mostPackages = 4096
	mostLicences = 16
)

var (
	errJSON = errors.New("not valid JSON")
	errMany = errors.New("too many packages")
)

func read(h *host.Host, texts *licence.Texts, file string) ([]inventory.Component, error) {
	data, err := h.ReadFile(file, sizeList)
	if err != nil {
		return nil, err
	}
	list, err := parseList(data)
	dir, vendor := path.Dir(installed.Resolved(h, file)), path.Dir(path.Dir(file)) // of vendor/composer/installed.json
	for i := range list {
		for j := range list[i].Locations {
			at := &list[i].Locations[j]
			at.Path = path.Join(dir, at.Path)
		}
		l := &list[i].Licence
		if project := path.Join(vendor, list[i].Name); strings.HasPrefix(project, vendor+"/") {
			*l = texts.Complete(*l, installed.Licences(h, project)...)
		}
		*l = licence.Named(*l, list[i].Name)
	}
	return list, err
}

// entry is what is wanted of a package, by Composer's schema.
type entry struct {
	Name    string          `json:"name"`
	Version string          `json:"version"`
	License json.RawMessage `json:"license"`
	Authors json.RawMessage `json:"authors"`
	Path    *string         `json:"install-path"` // relative to the list's directory
}

// parseList reads installed.json: an object with the packages since Composer 2,
// the packages alone before.
func parseList(data []byte) ([]inventory.Component, error) {
	var list []entry
	data = bytes.TrimSpace(data)
	if bytes.HasPrefix(data, []byte("{")) {
		var file struct {
			Packages *[]entry `json:"packages"`
		}
		if json.Unmarshal(data, &file) != nil || file.Packages == nil {
			return nil, errJSON
		}
		list = *file.Packages
	} else if json.Unmarshal(data, &list) != nil {
		return nil, errJSON
	}
	if len(list) > mostPackages {
		return nil, errMany
	}
	components := make([]inventory.Component, 0, len(list))
	for i := range list {
		if c := list[i].component(); c.Name != "" {
			components = append(components, c)
		}
	}
	return components, nil
}

// component gives one without a name where the entry has none.
func (e *entry) component() inventory.Component {
	full := host.Text(strings.ToLower(strings.Trim(e.Name, "/ ")), 256)
	vendor, project, _ := strings.Cut(full, "/")
	if project == "" {
		vendor, project = "", vendor
	}
	if project == "" {
		return inventory.Component{}
	}
	var authors []struct {
		Name string `json:"name"`
	}
	supplier := vendor
	if json.Unmarshal(e.Authors, &authors) == nil && len(authors) > 0 && authors[0].Name != "" {
		supplier = host.Text(authors[0].Name, 256)
	}
	version := host.Text(e.Version, 256)
	return inventory.Component{
		Ecosystem: name, Name: full, Version: version, Supplier: supplier,
		PURL: installed.PURL("composer", vendor, project, version), Licence: stated(e.License),
		Locations: e.location(full),
	}
}

// location is relative to the list's directory, vendor/composer. Composer 1 writes
// none: a package lies in vendor/NAME. A path that leads out of vendor, as that of
// the program itself, is not believed.
func (e *entry) location(full string) []inventory.Location {
	at := "../" + full
	if e.Path != nil {
		at = *e.Path
	}
	at = path.Clean(at)
	if rest, ok := strings.CutPrefix(at, "../"); !ok || rest == ".." || strings.HasPrefix(rest, "../") || len(at) > 1024 {
		return nil
	}
	return []inventory.Location{{Path: host.Text(at, 1024), Recorded: true}}
}

// stated reads the field: an expression, or a list of which, by the schema, one
// may be chosen.
func stated(raw json.RawMessage) inventory.Licence {
	var names []string
	var one string
	switch {
	case json.Unmarshal(raw, &one) == nil && one != "":
		names = []string{one}
	case json.Unmarshal(raw, &names) != nil || len(names) == 0 || len(names) > mostLicences:
		return inventory.Licence{}
	}
	l := inventory.Licence{Declared: host.Text(strings.Join(names, ", "), 256), Source: "installed.json"}
	if len(names) == 1 {
		if strings.EqualFold(names[0], "proprietary") { // the schema's word for it
			l.Freedom = inventory.NonFree
			return l
		}
		l.Expression, l.Freedom = spdx.Named(names[0])
		return l
	}
	for i, name := range names {
		expression, _ := spdx.Named(name)
		if expression == "" {
			expression = name
		}
		names[i] = "(" + expression + ")"
	}
	l.Expression, l.Freedom = spdx.Expression(strings.Join(names, " OR "))
	return l
}
