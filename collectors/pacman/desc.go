package pacman

import (
	"bytes"
	"errors"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/internal/spdx"
	"cityward/collectors/inventory"
)

// Bounds of one entry.
const (
	sizeDesc     = 1 << 20
	mostLicences = 16
)

var errDesc = errors.New("no name or no version")

// entry is what is wanted of a desc file.
type entry struct {
	name, version, base, arch, packager string
	licences                            []string
}

func read(h *host.Host, file string) (entry, error) {
	data, err := h.ReadFile(file, sizeDesc)
	if err != nil {
		return entry{}, err
	}
	return parseDesc(data)
}

// parseDesc reads lines %KEY%, each followed by its values, one a line.
func parseDesc(data []byte) (entry, error) {
	var e entry
	key := ""
	for line := range bytes.Lines(data) {
		text := trimmed(line)
		switch {
		case text == "":
			key = ""
		case key == "" && len(text) > 2 && text[0] == '%' && text[len(text)-1] == '%':
			key = text
		default:
			e.set(key, text)
		}
	}
	if e.name == "" || e.version == "" {
		return entry{}, errDesc
	}
	return e, nil
}

func (e *entry) set(key, text string) {
	switch key {
	case "%NAME%":
		e.name = text
	case "%VERSION%":
		e.version = text
	case "%BASE%":
		e.base = text
	case "%ARCH%":
		e.arch = text
	case "%PACKAGER%":
		e.packager = text
	case "%LICENSE%":
		if len(e.licences) <= mostLicences {
			e.licences = append(e.licences, text)
		}
	}
}

func (e *entry) component(vendor string) inventory.Component {
	c := inventory.Component{
		Ecosystem: name, Name: e.name, Version: e.version, Arch: e.arch, Supplier: e.packager,
		PURL: installed.PURL("alpm", strings.ToLower(vendor), strings.ToLower(e.name), e.version, "arch", e.arch),
	}
	if e.base != e.name {
		c.Source = e.base
	}
	c.Licence = licence(e.licences)
	return c
}

// licence reads the licences. Several apply together, by PKGBUILD(5) in the form
// that does not use expressions.
func licence(list []string) inventory.Licence {
	if len(list) == 0 {
		return inventory.Licence{}
	}
	l := inventory.Licence{Declared: host.Text(strings.Join(list, ", "), 256), Source: "package"}
	if len(list) > mostLicences {
		return l // the rest was not read
	}
	if len(list) == 1 {
		l.Expression, l.Freedom = spdx.Named(list[0])
		return l
	}
	expressions := make([]string, len(list))
	for i, name := range list {
		expression, _ := spdx.Named(name)
		if expression == "" {
			return l // a name without an expression, or none that is known
		}
		expressions[i] = "(" + expression + ")"
	}
	l.Expression, l.Freedom = spdx.Expression(strings.Join(expressions, " AND "))
	return l
}
