package java

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/xml"
	"maps"
	"path"
	"slices"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/internal/spdx"
	"cityward/collectors/inventory"
)

// description is what an archive has about itself.
type description struct {
	manifest []byte
	poms     map[string]*pom // by directory
}

// pom is an artefact of Maven, one that was packed in among them.
type pom struct {
	group, artifact, version string
	licences                 []string
	notice                   []byte // what a comment above the project says
}

// maven takes a file below META-INF/maven, and says whether there was room.
func (d *description) maven(name string, text func() []byte) bool {
	dir, base := path.Split(name)
	if base != "pom.properties" && base != "pom.xml" || strings.Count(dir, "/") != 4 {
		return true
	}
	p := d.poms[dir]
	if p == nil {
		if len(d.poms) >= mostPoms {
			return false
		}
		if d.poms == nil {
			d.poms = make(map[string]*pom)
		}
		p = &pom{}
		d.poms[dir] = p
	}
	if base == "pom.xml" {
		project := text()
		p.licences, p.notice = parseProject(project), noticeOf(project)
		return true
	}
	p.group, p.artifact, p.version = parseProperties(text())
	return true
}

// parseProperties reads a pom.properties.
func parseProperties(data []byte) (group, artifact, version string) {
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, "=")
		value = host.Text(strings.TrimSpace(value), 256)
		switch strings.TrimSpace(key) {
		case "groupId":
			group = value
		case "artifactId":
			artifact = value
		case "version":
			version = value
		}
	}
	return group, artifact, version
}

// better gives the name of a licence, or its address where that alone is known.
func better(named, address string) string {
	if id, _ := spdx.Named(named); id != "" || address == "" {
		return named
	}
	if id, _ := spdx.Named(address); id != "" || named == "" {
		return address
	}
	return named
}

// noticeOf gives the first comment of a pom.xml, if it stands before the project.
func noticeOf(project []byte) []byte {
	head, _, _ := bytes.Cut(project, []byte("<project"))
	_, comment, _ := bytes.Cut(head, []byte("<!--"))
	notice, _, _ := bytes.Cut(comment, []byte("-->"))
	return notice
}

// parseProject reads the names of the licences in a pom.xml, or their addresses.
// What is inherited is not there.
func parseProject(data []byte) []string {
	var licences []string
	var named, address string
	dec := xml.NewDecoder(bytes.NewReader(data))
	dec.Strict = false
	var stack []string
	for range 1 << 16 {
		token, err := dec.Token()
		if err != nil {
			break
		}
		switch t := token.(type) {
		case xml.StartElement:
			stack = append(stack, t.Name.Local)
		case xml.EndElement:
			stack = stack[:max(len(stack)-1, 0)]
			if len(stack) == 2 && slices.Equal(stack, []string{"project", "licenses"}) {
				if text := better(named, address); text != "" && len(licences) < 16 {
					licences = append(licences, text)
				}
				named, address = "", ""
			}
		case xml.CharData:
			if len(stack) == 4 && slices.Equal(stack[:3], []string{"project", "licenses", "license"}) {
				text := host.Text(strings.Join(strings.Fields(string(t)), " "), 256)
				switch stack[3] {
				case "name":
					named = cmp.Or(named, text)
				case "url":
					address = cmp.Or(address, text)
				}
			}
		}
		if len(stack) > 256 {
			break
		}
	}
	return licences
}

// parseManifest reads the main section of a manifest: fields that are continued
// on lines with a space before them.
func parseManifest(data []byte) map[string]string {
	const most = 64 << 10
	fields := make(map[string]string)
	var key string
	var value strings.Builder
	end := func() {
		if key != "" && len(fields) < 256 {
			fields[key] = strings.TrimSpace(value.String())
		}
		value.Reset()
	}
	_ = installed.Lines(bufio.NewReader(bytes.NewReader(data)), func(line []byte) bool {
		switch {
		case len(line) == 0:
			return key == ""
		case line[0] == ' ':
			if value.Len() < most {
				value.Write(line[1:])
			}
		default:
			end()
			before, after, _ := strings.Cut(string(line), ":")
			key = strings.ToLower(before)
			value.WriteString(after)
		}
		return true
	}) // of bytes in memory
	end()
	return fields
}

// components lists what an archive is and what was packed into it.
func (d *description) components(base string) []inventory.Component {
	fields := parseManifest(d.manifest)
	stem := strings.TrimSuffix(base, path.Ext(base))
	var all []inventory.Component
	own := d.own(stem)
	for _, p := range d.poms {
		if p.artifact != "" && p.version != "" && p != own {
			all = append(all, p.component())
		}
	}
	slices.SortFunc(all, func(a, b inventory.Component) int { return cmp.Compare(a.PURL, b.PURL) })
	main := described(fields, stem)
	if own != nil {
		c := own.component()
		c.Supplier = main.Supplier
		if main.Licence.Expression != "" || c.Licence.Declared == "" {
			c.Licence = main.Licence
		}
		main = c
	}
	if main.Name == "" {
		return all
	}
	return append(all, main)
}

// own gives the artefact that an archive is, nil if none is told from those that
// were packed in.
func (d *description) own(stem string) *pom {
	var own *pom
	for _, dir := range slices.Sorted(maps.Keys(d.poms)) {
		p := d.poms[dir]
		if p.artifact != "" && p.version != "" && (stem == p.artifact || stem == p.artifact+"-"+p.version || len(d.poms) == 1) {
			own = p
		}
	}
	return own
}

// notice gives what a comment above an archive's own pom says.
func (d *description) notice(base string) []byte {
	own := d.own(strings.TrimSuffix(base, path.Ext(base)))
	if own == nil {
		return nil
	}
	return own.notice
}

func (p *pom) component() inventory.Component {
	c := inventory.Component{
		Ecosystem: name, Name: p.artifact, Version: p.version,
		PURL: installed.PURL("maven", strings.ReplaceAll(p.group, "/", ""), p.artifact, p.version),
	}
	if p.group != "" {
		c.Name = p.group + ":" + p.artifact
	} else {
		c.PURL = installed.PURL("generic", "", p.artifact, p.version)
	}
	if len(p.licences) > 0 { // by Maven's manual one may be chosen
		c.Licence = jointly(p.licences, "pom.xml")
	}
	return c
}

// described gives the component that a manifest describes, by the file's name
// where it has none.
func described(fields map[string]string, stem string) inventory.Component {
	text := func(keys ...string) string {
		for _, key := range keys {
			if v := host.Text(strings.Trim(fields[key], `" `), 256); v != "" && !strings.Contains(v, "${") {
				return v
			}
		}
		return ""
	}
	symbolic, _, _ := strings.Cut(text("bundle-symbolicname"), ";")
	called, version := host.Text(stem, 256), text("bundle-version", "implementation-version", "specification-version")
	if i := versionAt(called); i > 0 {
		version = cmp.Or(version, called[i+1:])
		called = called[:i]
	}
	c := inventory.Component{
		Ecosystem: name, Version: version,
		Name:     cmp.Or(symbolic, text("automatic-module-name"), called),
		Supplier: text("bundle-vendor", "implementation-vendor", "specification-vendor"),
	}
	c.PURL = installed.PURL("generic", "", c.Name, version)
	if value := fields["bundle-license"]; value != "" {
		c.Licence = bundleLicence(value)
	}
	return c
}

// versionAt gives the place of the dash before the version in a file's name, -1
// without one.
func versionAt(stem string) int {
	for i := 0; i+1 < len(stem); i++ {
		if stem[i] == '-' && stem[i+1] >= '0' && stem[i+1] <= '9' {
			return i
		}
	}
	return -1
}

// bundleLicence reads a Bundle-License: names or addresses parted by commas,
// each with attributes after semicolons.
func bundleLicence(value string) inventory.Licence {
	var names []string
	quoted := false
	for part := range strings.FieldsFuncSeq(value, func(r rune) bool {
		quoted = quoted != (r == '"')
		return r == ',' && !quoted
	}) {
		named, rest, _ := strings.Cut(part, ";")
		named = strings.Trim(named, "\" \t")
		if !strings.Contains(rest, "=") && rest != "" || named == "" || named == "<<EXTERNAL>>" {
			continue
		}
		names = append(names, named)
	}
	if len(names) == 0 || len(names) > 16 {
		return inventory.Licence{}
	}
	if one, freedom := spdx.Named(value); one != "" { // a name with a comma in it
		return inventory.Licence{Declared: host.Text(value, 256), Expression: one, Freedom: freedom, Source: "Bundle-License"}
	}
	l := jointly(names, "Bundle-License")
	for _, named := range names { // that one may be chosen is Maven's rule: here all must be free
		if _, freedom := spdx.Named(named); freedom != inventory.Free && l.Freedom == inventory.Free {
			l.Freedom = inventory.FreedomUnknown
		}
	}
	return l
}

// jointly joins several terms, of which by Maven's manual one may be chosen. One
// that is not known is a reference.
func jointly(names []string, source string) inventory.Licence {
	l := inventory.Licence{Declared: host.Text(strings.Join(names, ", "), 256), Source: source}
	if len(names) == 1 {
		l.Expression, l.Freedom = spdx.Named(names[0])
		return l
	}
	var expressions []string
	known := false
	for _, named := range names {
		expression, _ := spdx.Named(named)
		known = known || expression != ""
		if expression = cmp.Or(expression, spdx.Reference(named)); expression != "" && !slices.Contains(expressions, expression) {
			expressions = append(expressions, expression)
		}
	}
	if !known {
		return l
	}
	l.Expression, l.Freedom = spdx.Expression("(" + strings.Join(expressions, ") OR (") + ")")
	return l
}
