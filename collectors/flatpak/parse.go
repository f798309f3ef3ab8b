package flatpak

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"errors"
	"io"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/spdx"
	"cityward/collectors/inventory"
)

// Bounds of one description; those with many translations have 500 KB.
const (
	sizeMetadata    = 256 << 10
	sizeDescription = 4 << 20
	mostNested      = 32
)

var (
	errMetadata = errors.New("no section Application or Runtime that states a name")
	errXML      = errors.New("not valid XML")
)

// checkMetadata looks for what every key file of Flatpak begins with.
func checkMetadata(text string) error {
	section := ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			section = line
		}
		if key, value, _ := strings.Cut(line, "="); strings.TrimSpace(key) == "name" && strings.TrimSpace(value) != "" &&
			(section == "[Application]" || section == "[Runtime]") {
			return nil
		}
	}
	return errMetadata
}

// description is what is wanted of an AppStream description.
type description struct{ terms, version, developer string }

// parseDescription reads one: the project's licence, the first release listed,
// which by the specification is the latest, and who develops it.
func parseDescription(data []byte) (description, error) {
	var about description
	var legacy string // developer_name, as it was called before
	d := xml.NewDecoder(bytes.NewReader(data))
	d.CharsetReader = func(string, io.Reader) (io.Reader, error) { return nil, errXML }
	var open []string
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			about.developer = cmp.Or(about.developer, legacy)
			return about, nil
		}
		if err != nil {
			return description{}, errXML
		}
		switch t := token.(type) {
		case xml.StartElement:
			if len(open) >= mostNested {
				return description{}, errXML
			}
			open = append(open, t.Name.Local)
			if t.Name.Local == "release" && about.version == "" {
				about.version = attribute(&t, "version")
			}
			if t.Name.Local == "name" && attribute(&t, "lang") != "" || t.Name.Local == "developer_name" && attribute(&t, "lang") != "" {
				open[len(open)-1] = "" // a translation
			}
		case xml.EndElement:
			open = open[:len(open)-1]
		case xml.CharData:
			text := strings.TrimSpace(string(t))
			switch strings.Join(open[min(1, len(open)):], "/") {
			case "project_license":
				about.terms = cmp.Or(about.terms, host.Text(text, 256))
			case "developer/name":
				about.developer = cmp.Or(about.developer, host.Text(text, 256))
			case "developer_name":
				legacy = cmp.Or(legacy, host.Text(text, 256))
			}
		}
	}
}

func attribute(e *xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if a.Name.Local == name {
			return host.Text(a.Value, 256)
		}
	}
	return ""
}

// licence reads project_license: an SPDX expression, where the specification has
// LicenseRef-proprietary for what is not free.
func (a *description) licence() inventory.Licence {
	if a.terms == "" {
		return inventory.Licence{}
	}
	l := inventory.Licence{Declared: a.terms, Source: "AppStream"}
	if strings.HasPrefix(strings.ToLower(a.terms), "licenseref-proprietary") {
		l.Freedom = inventory.NonFree
		return l
	}
	l.Expression, l.Freedom = spdx.Expression(a.terms)
	return l
}
