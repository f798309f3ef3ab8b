package dpkg

import (
	"bufio"
	"bytes"
	"maps"
	"path"
	"slices"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/licence"
	"cityward/collectors/internal/spdx"
	"cityward/collectors/inventory"
)

// sizeTexts bounds the texts that are kept of one copyright file, in bytes.
const sizeTexts = 4 << 20

// terms is what a machine-readable copyright file says, version 1.0 of the format.
type terms struct {
	header, own, every string   // first lines of License fields
	others             []string // of files that are not the packaging

	texts map[string][]byte // by name, lower case and with dashes
	size  int
}

// parseStanzas reads the main licence of a package: that of the files that are
// this package's, else that of "Files: *", else those of all files that are not
// the packaging, together, else that of the header. A later stanza overrules an
// earlier one for the same files.
func parseStanzas(in *bufio.Reader, r *record, texts *licence.Texts) (inventory.Licence, error) {
	const limit = 8 // licences to put together
	s := newScanner(in, field{name: "Files", lines: true}, field{name: "License", lines: true})
	t := terms{texts: make(map[string][]byte)}
	for first := true; s.next(); first = false {
		name, text, _ := bytes.Cut(s.values[1], []byte("\n"))
		line := string(bytes.TrimSpace(name))
		t.keep(line, text)
		every, packaging := globs(s.values[0])
		switch {
		case first:
			t.header = line
		case line == "" && len(text) == 0, len(s.values[0]) == 0:
		case every:
			t.every = t.named(line, text)
		case ownFiles(s.values[0], r):
			t.own = t.named(line, text)
		case !packaging && len(t.others) <= limit && !slices.Contains(t.others, line):
			t.others = append(t.others, line)
		}
	}
	if s.err != nil {
		return inventory.Licence{}, s.err
	}
	main := t.header
	switch {
	case t.own != "":
		main = t.own
	case t.every != "":
		main = t.every
	case len(t.others) > limit: // the first are the program's, by custom
		main = t.others[0]
	case len(t.others) > 0:
		main = strings.Join(t.others, ", and ") // the comma binds least
	}
	if main == "" {
		return inventory.Licence{}, nil
	}
	l := inventory.Licence{Declared: host.Text(main, 256), Source: sourceStanza}
	l.Expression, l.Freedom = t.conclude(main, texts)
	switch {
	case main != nameless:
	case l.Expression == "" && l.Freedom == inventory.FreedomUnknown:
		return inventory.Licence{}, nil
	default:
		l.Declared, l.Source = "", sourceText
	}
	return l, nil
}

// nameless stands for a stanza that has a text and no name.
const nameless = "unnamed"

// named keeps the text of a stanza without a name under one.
func (t *terms) named(line string, text []byte) string {
	if line == "" && len(text) > 0 {
		t.keep(nameless, text)
		return nameless
	}
	return line
}

func (t *terms) keep(line string, text []byte) {
	if prose(line) { // the text begins where its name should be
		text = append([]byte(line+"\n"), text...)
	}
	if t.size += len(text); len(text) == 0 || line == "" || t.size > sizeTexts {
		return
	}
	k := textKey(line)
	t.texts[k] = append(t.texts[k][:0:0], text...)
}

// prose reports whether a line is no list of names: names have few words.
func prose(line string) bool {
	n := 0
	for word := range strings.FieldsSeq(line) {
		switch strings.ToLower(strings.Trim(word, "(),")) {
		case "and", "or", "with", "exception", "":
			n = 0
			continue
		}
		if n++; n > 6 {
			return true
		}
		if strings.HasSuffix(word, ",") {
			n = 0
		}
	}
	return false
}

func textKey(line string) string { return strings.ToLower(strings.Join(strings.Fields(line), "-")) }

// conclude reads a License line. What a name of the packager's own means, its
// text says; without one that is known it is a reference.
func (t *terms) conclude(line string, texts *licence.Texts) (string, inventory.Freedom) {
	resolve := func(name string) (string, inventory.Freedom) {
		return t.resolve(name, texts)
	}
	if text, ok := t.texts[textKey(line)]; ok && prose(line) {
		a := texts.Classify(text)
		return a.Expression, a.Freedom
	}
	if expression, freedom := spdx.DebianText(line, resolve); expression != "" {
		return t.later(line, expression), freedom
	}
	if prose(line) {
		return "", inventory.FreedomUnknown
	}
	return resolve(line)
}

func (t *terms) resolve(name string, texts *licence.Texts) (string, inventory.Freedom) {
	a := licence.Answer{}
	if text := t.textOf(name); text != nil {
		a = texts.Classify(text)
	}
	// The words of a free licence with more that is not: these are terms of their own.
	_, known := spdx.Expression(a.Expression)
	if name != nameless && (a.Expression == "" || a.Freedom == inventory.FreedomUnknown && known == inventory.Free) {
		a.Expression = spdx.Reference(name)
	}
	return a.Expression, a.Freedom
}

// textOf gives the text of a name, or of the name with its exception.
func (t *terms) textOf(name string) []byte {
	k := textKey(name)
	if text, ok := t.texts[k]; ok {
		return text
	}
	for _, full := range slices.Sorted(maps.Keys(t.texts)) {
		if strings.HasPrefix(full, k+"-with-") {
			return t.texts[full]
		}
	}
	return nil
}

// later corrects a name without a plus by the grant below it, of which the name is
// only a summary.
func (t *terms) later(line, expression string) string {
	name, only := strings.CutSuffix(expression, "-only")
	text := bytes.ToLower(bytes.Join(bytes.Fields(t.texts[textKey(line)]), []byte(" ")))
	if only && !strings.Contains(expression, " ") && bytes.Contains(text, []byte("any later version")) {
		return name + "-or-later"
	}
	return expression
}

// globs reports whether a Files field covers every file, and whether it covers
// nothing but the packaging, which a field that is empty does.
func globs(files []byte) (every, packaging bool) {
	packaging = true
	for glob := range bytes.FieldsSeq(files) {
		every = every || string(glob) == "*"
		packaging = packaging && bytes.HasPrefix(glob, []byte("debian/"))
	}
	return every, packaging
}

// ownFiles reports whether a Files field names the directory that a package is
// built from: of the package libuuid1 from the source util-linux, libuuid/*; of
// libaudit1 from audit, lib/*. A source's directory of its own name has the sources
// of all its packages.
func ownFiles(files []byte, r *record) bool {
	source := r.source
	if source == "" || source == r.name {
		return false
	}
	stem := strings.TrimRight(strings.TrimSuffix(r.name, "-dev"), "0123456789.-")
	library := strings.HasPrefix(stem, "lib") && !strings.HasPrefix(source, "lib")
	for glob := range bytes.FieldsSeq(files) {
		dir, last := path.Split(strings.TrimPrefix(string(glob), "./"))
		dir = strings.TrimSuffix(dir, "/")
		if !strings.HasPrefix(last, "*") || dir == source {
			continue
		}
		if dir == r.name || dir == stem || library && (dir == "lib" && stem == "lib"+source || dir == "lib/"+stem[3:]) {
			return true
		}
	}
	return false
}
