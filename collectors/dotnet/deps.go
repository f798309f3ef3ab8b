package dotnet

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"path"
	"slices"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/internal/licence"
	"cityward/collectors/internal/spdx"
	"cityward/collectors/inventory"
)

// Bounds of one list and of one description.
const (
	sizeList      = 4 << 20
	mostLibraries = 8192
	sizeSpec      = 1 << 20
)

var (
	errJSON = errors.New("not valid JSON")
	errMany = errors.New("too many libraries")
	errXML  = errors.New("not valid XML")
)

func read(h *host.Host, path string) ([]inventory.Component, error) {
	data, err := h.ReadFile(path, sizeList)
	if err != nil {
		return nil, err
	}
	return parseDeps(data)
}

// parseDeps reads a list as the runtime's host does: what each library is, and
// which of its files the program brings for some target. A library that brings
// none was needed only to build.
func parseDeps(data []byte) ([]inventory.Component, error) {
	type assets map[string]json.RawMessage
	var file struct {
		Targets map[string]map[string]struct {
			Runtime   assets `json:"runtime"`
			Native    assets `json:"native"`
			Targets   assets `json:"runtimeTargets"`
			Resources assets `json:"resources"`
		} `json:"targets"`
		Libraries map[string]struct {
			Type string `json:"type"`
		} `json:"libraries"`
	}
	if json.Unmarshal(bytes.TrimPrefix(data, []byte("\ufeff")), &file) != nil {
		return nil, errJSON
	}
	if len(file.Libraries) > mostLibraries {
		return nil, errMany
	}
	brought := make(map[string]bool)
	for _, target := range file.Targets {
		for library := range target {
			t := target[library]
			if len(t.Runtime)+len(t.Native)+len(t.Targets)+len(t.Resources) > 0 {
				brought[library] = true
			}
		}
	}
	var components []inventory.Component
	for key, library := range file.Libraries {
		if brought[key] || len(file.Targets) == 0 {
			if c := component(key, library.Type); c.Name != "" {
				components = append(components, c)
			}
		}
	}
	slices.SortFunc(components, func(a, b inventory.Component) int { return strings.Compare(a.PURL, b.PURL) })
	return components, nil
}

// component describes a library, of NAME/VERSION. Projects and assemblies that
// were built along have names of their maker's, not of NuGet's.
func component(key, kind string) inventory.Component {
	id, version, _ := strings.Cut(host.Text(key, 512), "/")
	id = strings.TrimSpace(strings.TrimPrefix(id, "runtimepack."))
	if id == "" {
		return inventory.Component{}
	}
	c := inventory.Component{Ecosystem: name, Name: id, Version: version}
	switch strings.ToLower(kind) {
	case "package", "runtimepack":
		c.PURL = installed.PURL("nuget", "", id, version)
	default:
		c.PURL = installed.PURL("generic", "", id, version)
	}
	return c
}

func readTerms(h *host.Host, texts *licence.Texts, file string) (inventory.Licence, error) {
	data, err := h.ReadFile(file, sizeSpec)
	if err != nil {
		return inventory.Licence{}, err
	}
	l, err := parseSpec(data)
	if err == nil {
		l = texts.Complete(l, installed.Licences(h, path.Dir(file))...)
	}
	return licence.Named(l, strings.TrimSuffix(path.Base(file), ".nuspec")), err
}

// parseSpec reads the licence of a nuspec: an expression, the name of a file, or
// an address, of which only NuGet's own tell an expression.
func parseSpec(data []byte) (inventory.Licence, error) {
	const site = "https://licenses.nuget.org/"
	var l inventory.Licence
	d := xml.NewDecoder(bytes.NewReader(data))
	d.CharsetReader = func(string, io.Reader) (io.Reader, error) { return nil, errXML }
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return l, nil
		}
		if err != nil {
			return inventory.Licence{}, errXML
		}
		start, ok := token.(xml.StartElement)
		if !ok || start.Name.Local != "license" && start.Name.Local != "licenseUrl" {
			continue
		}
		var text string
		if d.DecodeElement(&text, &start) != nil {
			return inventory.Licence{}, errXML
		}
		expression := start.Name.Local == "license" && slices.ContainsFunc(start.Attr, func(a xml.Attr) bool {
			return a.Name.Local == "type" && a.Value == "expression"
		})
		if bare, ours := strings.CutPrefix(text, site); ours {
			text, expression = strings.ReplaceAll(bare, "+", " "), true
		}
		if text = strings.TrimSpace(text); text == "" || l.Declared != "" && !expression {
			continue
		}
		l = inventory.Licence{Declared: host.Text(text, 256), Source: "nuspec"}
		if expression {
			l.Expression, l.Freedom = spdx.Expression(text)
			return l, nil
		}
	}
}
