package apk

import (
	"strings"

	"cityward/collectors/internal/installed"
	"cityward/collectors/internal/spdx"
	"cityward/collectors/inventory"
)

func (e *entry) component(vendor string) inventory.Component {
	c := inventory.Component{
		Ecosystem: name, Name: e.name, Version: e.version, Arch: e.arch, Supplier: e.maintainer,
		PURL: installed.PURL("apk", strings.ToLower(vendor), strings.ToLower(e.name), e.version, "arch", e.arch),
	}
	if e.origin != e.name {
		c.Source = e.origin
	}
	if e.licence != "" {
		c.Licence = inventory.Licence{Declared: e.licence, Source: "package"}
		c.Licence.Expression, c.Licence.Freedom = spdx.Named(e.licence)
	}
	return c
}
