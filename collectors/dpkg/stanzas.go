package dpkg

import (
	"bufio"
	"bytes"
	"strconv"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/licence"
	"cityward/collectors/inventory"
)

// mostStanzas bounds what is looked through for each file of a package.
const mostStanzas = 8 << 10

// sizeTexts bounds the texts that are kept of one copyright file, and the fields
// beside them, in bytes.
const sizeTexts = 4 << 20

// terms is what a machine-readable copyright file says, version 1.0 of the format.
type terms struct {
	header  string // first line of its License field
	stanzas []stanza

	texts map[string][]byte // by name, lower case and with dashes
	size  int               // of the texts
	// fields is the size of what is kept of the stanzas.
	fields int
}

// stanza is what a file says of some files.
type stanza struct {
	files, comment   string
	line             string // first line of the License field
	whole            string // all terms, where line leaves out those of few files
	every, packaging bool   // all files, or nothing but the packaging
}

// parseStanzas reads the main licence of a package: that of the files that are
// this package's, else that of "Files: *", else those of all files that are not
// the packaging, together, else that of the header. A later stanza overrules an
// earlier one for the same files.
func parseStanzas(in *bufio.Reader, r *record, texts *licence.Texts, list func() []string) (inventory.Licence, error) {
	s := newScanner(in, field{name: "Files", lines: true}, field{name: "License", lines: true}, field{name: "Comment", lines: true})
	t := terms{texts: make(map[string][]byte)}
	for first := true; s.next(); first = false {
		name, text, _ := bytes.Cut(s.values[1], []byte("\n"))
		line := string(bytes.TrimSpace(name))
		t.keep(line, text)
		switch {
		case first:
			t.header = line
		case line == "" && len(text) == 0, len(s.values[0]) == 0:
		case len(t.stanzas) >= mostStanzas || t.fields > sizeTexts:
			return inventory.Licence{}, errTooLong
		default:
			st := stanza{files: string(s.values[0]), line: t.named(line, text), comment: string(s.values[2])}
			st.every, st.packaging = globs(s.values[0])
			t.fields += len(st.files) + len(st.comment)
			t.stanzas = append(t.stanzas, st)
		}
	}
	if s.err != nil {
		return inventory.Licence{}, s.err
	}
	main := t.main(r, texts, list)
	if main.line == "" {
		return inventory.Licence{}, nil
	}
	l := inventory.Licence{Declared: host.Text(main.line, 256), Source: sourceStanza}
	l.Expression, l.Freedom = t.conclude(main, texts)
	switch {
	case !strings.HasPrefix(main.line, nameless):
	case l.Expression == "" && l.Freedom == inventory.FreedomUnknown:
		return inventory.Licence{}, nil
	default:
		l.Declared, l.Source = "", sourceText
	}
	return l, nil
}

// nameless begins what stands for the name of a stanza that has a text and none.
const nameless = "unnamed-"

// named keeps the text of a stanza without a name under one.
func (t *terms) named(line string, text []byte) string {
	if line == "" && len(text) > 0 {
		line = nameless + strconv.Itoa(len(t.stanzas))
		t.keep(line, text)
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
