package dpkg

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/spdx"
	"cityward/collectors/inventory"
)

// sizeCopyright bounds a copyright file; boost's has 2 MB.
const sizeCopyright = 8 << 20

// Sources of a licence.
const (
	sourceStanza  = "copyright file"
	sourceMention = "mention in the copyright file"
)

// licence says what the copyright file of a package says. A package without one
// is no error: its licence is unknown. in is a reader to use.
func (db *database) licence(h *host.Host, in *bufio.Reader, name string, old *database) (inventory.Licence, error) {
	path := dirDoc + "/" + name + "/copyright"
	at := stampOf(h, path)
	if at == (stamp{}) {
		return inventory.Licence{}, nil
	}
	if known, ok := db.licences[at]; ok {
		return known, nil
	}
	if old != nil {
		if known, ok := old.licences[at]; ok {
			db.licences[at] = known
			return known, nil
		}
	}
	f, err := h.Open(path)
	if err != nil {
		return inventory.Licence{}, err
	}
	defer f.Close()
	bounded := &io.LimitedReader{R: f, N: sizeCopyright}
	in.Reset(bounded)
	l, err := parseCopyright(in)
	if err == nil && bounded.N == 0 {
		err = errTooLong
	}
	if err != nil {
		return inventory.Licence{}, err
	}
	db.licences[at] = l
	return l, nil
}

// parseCopyright reads the main licence from the copyright file of a Debian
// package.
func parseCopyright(in *bufio.Reader) (inventory.Licence, error) {
	head, err := in.Peek(min(in.Size(), 2048))
	if err != nil && !errors.Is(err, io.EOF) {
		return inventory.Licence{}, err
	}
	if machineReadable(head) {
		return parseStanzas(in)
	}
	return parseProse(in)
}

// machineReadable looks for the field that must be in the first stanza of a
// machine-readable file.
func machineReadable(head []byte) bool {
	within := false
	for line := range bytes.Lines(head) {
		text := bytes.TrimSpace(line)
		name, _, _ := bytes.Cut(text, []byte(":"))
		switch {
		case bytes.EqualFold(name, []byte("Format")), bytes.EqualFold(name, []byte("Format-Specification")):
			return true
		case len(text) > 0:
			within = true
		case within:
			return false
		}
	}
	return false
}

// parseStanzas reads the machine-readable format, version 1.0. The main licence
// is that of "Files: *"; without such a stanza, those of all files that are not
// the packaging itself, together; without any, that of the header. A later
// stanza overrules an earlier one for the same files.
func parseStanzas(in *bufio.Reader) (inventory.Licence, error) {
	const limit = 8 // licences to put together
	s := newScanner(in, field{name: "Files", lines: true}, field{name: "License"})
	var header, main string
	var others []string
	for first := true; s.next(); first = false {
		licence := s.values[1]
		every, packaging := globs(s.values[0])
		switch {
		case first:
			header = string(licence)
		case len(licence) == 0:
		case every:
			main = string(licence)
		case !packaging && len(others) <= limit && !slices.Contains(others, string(licence)):
			others = append(others, string(licence))
		}
	}
	if s.err != nil {
		return inventory.Licence{}, s.err
	}
	switch {
	case main != "" || len(others) > limit:
	case len(others) == 1:
		main = others[0]
	case len(others) > 1:
		main = strings.Join(others, ", and ") // the comma binds least
	default:
		main = header
	}
	if main == "" {
		return inventory.Licence{}, nil
	}
	l := inventory.Licence{Declared: host.Text(main, 256), Source: sourceStanza}
	l.Expression, l.Freedom = spdx.Debian(main)
	return l, nil
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

// parseProse looks for references to /usr/share/common-licenses. A reference
// shows which text is meant, not that nothing else is said, so it never shows
// that the package is free; the expression is given where there is one licence
// and no talk of the packaging, which often has another.
func parseProse(in *bufio.Reader) (inventory.Licence, error) {
	const limit = 8
	var names []string
	later, packaging := false, false
	for {
		line, err := in.ReadSlice('\n')
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, bufio.ErrBufferFull) {
			return inventory.Licence{}, err
		}
		later = later || bytes.Contains(line, []byte("any later")) || bytes.Contains(line, []byte("later version"))
		packaging = packaging || bytes.Contains(line, []byte("ackaging"))
		for _, name := range mentions(line) {
			if len(names) < limit && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
	}
	if len(names) == 0 {
		return inventory.Licence{}, nil
	}
	slices.Sort(names)
	l := inventory.Licence{Declared: strings.Join(names, ", "), Source: sourceMention}
	if len(names) == 1 && !packaging {
		l.Expression = mentioned(names[0], later)
	}
	return l, nil
}

// mentions gives the names of common licences that a line refers to.
func mentions(line []byte) []string {
	var names []string
	for {
		_, rest, ok := bytes.Cut(line, []byte("/common-licenses/"))
		if !ok {
			return names
		}
		end := 0
		for end < len(rest) && end < 32 && (alphanumeric(rest[end]) || rest[end] == '-' || rest[end] == '.') {
			end++
		}
		if name := strings.TrimRight(string(rest[:end]), ".-"); name != "" {
			names = append(names, name)
		}
		line = rest[end:]
	}
}

// mentioned gives the SPDX id of a file in /usr/share/common-licenses. Those of
// the GNU family without a version are links to the latest, so they say nothing
// about which version is meant.
func mentioned(name string, later bool) string {
	switch name {
	case "GPL", "LGPL", "GFDL":
		return ""
	case "BSD":
		return "BSD-3-Clause"
	}
	if later && spdx.GNU(strings.ToLower(name)) != "" {
		name += "+"
	}
	id, _ := spdx.Debian(name)
	return id
}
