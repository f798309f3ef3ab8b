package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/internal/spdx"
	"cityward/collectors/inventory"
)

// sizeManifest bounds a package.json; large ones have some 100 KB.
const sizeManifest = 2 << 20

var errNameless = errors.New("no name or no version")

// manifest is what is wanted of a package.json.
type manifest struct {
	scope, name, version string
	author               string
	licence              inventory.Licence
	incomplete           bool // without a name or a version, as programs may be
}

// parseManifest reads a package.json.
func parseManifest(data []byte) (manifest, error) {
	var file struct {
		Name     json.RawMessage `json:"name"`
		Version  json.RawMessage `json:"version"`
		Author   json.RawMessage `json:"author"`
		License  json.RawMessage `json:"license"`
		Licenses json.RawMessage `json:"licenses"`
	}
	if err := json.Unmarshal(bytes.TrimPrefix(data, []byte("\ufeff")), &file); err != nil {
		return manifest{}, errors.New("not valid JSON")
	}
	m := manifest{
		version: host.Text(word(file.Version, ""), 256),
		author:  host.Text(word(file.Author, "name"), 256),
	}
	full := host.Text(word(file.Name, ""), 256)
	m.name = full
	if scope, name, ok := strings.Cut(full, "/"); ok && strings.HasPrefix(scope, "@") {
		m.scope, m.name = scope, name
	}
	if m.name == "" || m.version == "" {
		m.incomplete = true
		return m, errNameless
	}
	m.licence = stated(file.License, file.Licenses)
	return m, nil
}

// word gives a string, or that of a key of an object; "" for anything else.
func word(raw json.RawMessage, key string) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return strings.TrimSpace(text)
	}
	var object map[string]json.RawMessage
	if key == "" || json.Unmarshal(raw, &object) != nil {
		return ""
	}
	return word(object[key], "")
}

// stated reads the field as it is, an SPDX expression, and as it was before:
// an object, or a list of them of which one may be chosen.
func stated(one, several json.RawMessage) inventory.Licence {
	const source = "package.json"
	if text := word(one, "type"); text != "" {
		l := inventory.Licence{Declared: host.Text(text, 256), Source: source}
		if text == "UNLICENSED" { // by npm's manual: no right is granted
			l.Freedom = inventory.NonFree
			return l
		}
		l.Expression, l.Freedom = spdx.Named(text)
		return l
	}
	list := several
	if len(list) == 0 {
		list = one
	}
	var entries []json.RawMessage
	if json.Unmarshal(list, &entries) != nil || len(entries) == 0 || len(entries) > 16 {
		return inventory.Licence{}
	}
	var names []string
	for _, entry := range entries {
		if name := word(entry, "type"); name != "" {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return inventory.Licence{}
	}
	l := inventory.Licence{Declared: host.Text(strings.Join(names, ", "), 256), Source: source}
	if len(names) == 1 {
		l.Expression, l.Freedom = spdx.Named(names[0])
		return l
	}
	l.Expression, l.Freedom = spdx.Expression("(" + strings.Join(names, ") OR (") + ")")
	return l
}

func (m *manifest) component() inventory.Component {
	full := m.name
	if m.scope != "" {
		full = m.scope + "/" + m.name
	}
	return inventory.Component{
		Ecosystem: "node", Name: full, Version: m.version, Supplier: m.author,
		PURL:    installed.PURL("npm", strings.ToLower(m.scope), strings.ToLower(m.name), m.version),
		Licence: m.licence,
	}
}
