package python

import (
	"bufio"
	"cmp"
	"errors"
	"io"
	"path"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/internal/licence"
	"cityward/collectors/internal/spdx"
	"cityward/collectors/inventory"
)

// Bounds of the fields of a package; its description follows and is not read.
const (
	sizeFields = 1 << 20
	sizeValue  = 4096 // of one field; licences are quoted whole at times
	sizeLine   = 16 << 10
	mostTerms  = 16 // classifiers about licences
)

const sourceClassifier = "Classifier"

var (
	errNameless = errors.New("no name or no version")
	errTooLong  = errors.New("fields do not end")
)

// metadata is what is wanted of the core metadata of a package.
type metadata struct {
	name, version       string
	expression, licence string
	classifiers         []string // those about licences
	author, maintainer  string
	terms               inventory.Licence // of the fields, else of the files beside them
}

func read(h *host.Host, texts *licence.Texts, file string) (metadata, error) {
	f, err := h.Open(file)
	if err != nil {
		return metadata{}, err
	}
	defer f.Close()
	m, err := parseMetadata(f)
	if err == nil {
		m.terms = m.stated()
	}
	if dir := path.Dir(file); err == nil && strings.HasSuffix(dir, ".dist-info") {
		all := append(installed.Licences(h, dir), installed.Licences(h, path.Join(dir, "licenses"))...)
		m.terms = texts.Complete(m.terms, []byte(m.licence))
		m.terms = texts.Complete(m.terms, all...)
	}
	if m.terms.Source != sourceClassifier {
		m.terms = licence.Named(m.terms, m.name)
	} else if m.terms.Expression == "" && len(m.classifiers) == 1 {
		m.terms.Expression = spdx.Reference(lastOf(m.classifiers[0]))
	}
	return m, err
}

// parseMetadata reads the fields at the head of METADATA or PKG-INFO, which are
// those of a letter: continued on lines that begin with white space, ended by an
// empty one.
func parseMetadata(r io.Reader) (metadata, error) {
	var m metadata
	bounded := &io.LimitedReader{R: r, N: sizeFields}
	in := bufio.NewReaderSize(bounded, sizeLine)
	var field string
	var value strings.Builder
	err := installed.Lines(in, func(line []byte) bool {
		switch text := string(line); {
		case text == "":
			return false
		case text[0] == ' ' || text[0] == '\t':
			if value.Len() < sizeValue {
				value.WriteString("\n" + strings.TrimLeft(text, " \t|"))
			}
		default:
			m.set(field, value.String())
			value.Reset()
			name, rest, _ := strings.Cut(text, ":")
			field = strings.ToLower(name)
			value.WriteString(strings.TrimSpace(rest))
		}
		return true
	})
	if err != nil {
		return metadata{}, err
	}
	m.set(field, value.String())
	if bounded.N == 0 {
		return metadata{}, errTooLong
	}
	if m.name == "" || m.version == "" {
		return metadata{}, errNameless
	}
	return m, nil
}

// set takes a field; the first of a name counts.
func (m *metadata) set(field, value string) {
	value = strings.TrimSpace(value)
	if value == "" || strings.EqualFold(value, "UNKNOWN") {
		return
	}
	short := host.Text(value, 256)
	switch field {
	case "name":
		m.name = cmp.Or(m.name, short)
	case "version":
		m.version = cmp.Or(m.version, short)
	case "license-expression":
		m.expression = cmp.Or(m.expression, strings.ToValidUTF8(value, ""))
	case "license":
		m.licence = cmp.Or(m.licence, value)
	case "author", "author-email":
		m.author = cmp.Or(m.author, short)
	case "maintainer", "maintainer-email":
		m.maintainer = cmp.Or(m.maintainer, short)
	case "classifier":
		if strings.HasPrefix(value, "License ::") && len(m.classifiers) < mostTerms {
			m.classifiers = append(m.classifiers, short)
		}
	}
}

func (m *metadata) component() inventory.Component {
	// The index takes no notice of case and of dashes for underscores.
	folded := strings.ReplaceAll(strings.ToLower(m.name), "_", "-")
	return inventory.Component{
		Ecosystem: "python", Name: m.name, Version: m.version,
		Supplier: cmp.Or(m.maintainer, m.author),
		PURL:     installed.PURL("pypi", "", folded, m.version),
		Licence:  m.terms,
	}
}

// stated concludes from the field that was made for it, else from the older one
// in the maker's own words, else from the classifiers.
func (m *metadata) stated() inventory.Licence {
	if m.expression != "" {
		l := inventory.Licence{Declared: host.Text(m.expression, 256), Source: "License-Expression"}
		l.Expression, l.Freedom = spdx.Expression(m.expression)
		return l
	}
	stated := inventory.Licence{}
	if m.licence != "" {
		first, _, _ := strings.Cut(m.licence, "\n")
		stated = inventory.Licence{Declared: host.Text(strings.TrimSpace(first), 256), Source: "License"}
		stated.Expression, stated.Freedom = spdx.Named(m.licence)
	}
	classified := m.classified()
	if stated.Expression != "" && !moreExact(classified.Expression, stated.Expression) {
		return stated
	}
	if classified.Expression != "" || classified.Freedom != inventory.FreedomUnknown || stated.Declared == "" {
		return classified
	}
	return stated
}

// moreExact reports whether one expression names the version of a licence of which
// the other says the family only.
func moreExact(exact, family string) bool {
	return family == "GPL-1.0-or-later" && strings.HasPrefix(exact, "GPL-") || family == "LGPL-2.0-or-later" && strings.HasPrefix(exact, "LGPL-")
}

// classified reads the classifiers. Several do not say whether they are to be
// heeded together or one of them, so they give no expression.
func (m *metadata) classified() inventory.Licence {
	if len(m.classifiers) == 0 {
		return inventory.Licence{}
	}
	l := inventory.Licence{Declared: host.Text(strings.Join(m.classifiers, ", "), 256), Source: sourceClassifier}
	for i, classifier := range m.classifiers {
		expression, freedom := classify(classifier)
		switch {
		case i == 0:
			l.Expression, l.Freedom = expression, freedom
		case classifier == m.classifiers[0]:
		default:
			l.Expression = ""
			if freedom != l.Freedom {
				l.Freedom = inventory.FreedomUnknown
			}
		}
	}
	return l
}

// lastOf gives the last word of a classifier, the name of a licence.
func lastOf(classifier string) string {
	return strings.TrimSpace(classifier[strings.LastIndexByte(classifier, ':')+1:])
}

// classify reads one classifier. The branch of those that the Open Source
// Initiative approved has free licences alone.
func classify(classifier string) (string, inventory.Freedom) {
	words := strings.Split(classifier, "::")
	last := lastOf(classifier)
	switch last {
	case "Other/Proprietary License", "Free for non-commercial use", "Freeware", "Free For Home Use", "Free for non-commercial use only":
		return "", inventory.NonFree
	case "OSI Approved":
		return "", inventory.Free
	}
	expression, freedom := spdx.Named(last)
	if expression == "" && len(words) > 2 && strings.TrimSpace(words[1]) == "OSI Approved" && !strings.Contains(last, "Artistic") {
		freedom = inventory.Free
	}
	return expression, freedom
}
