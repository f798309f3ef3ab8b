package dpkg

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/licence"
	"cityward/collectors/inventory"
)

// sizeCopyright bounds a copyright file; boost's has 2 MB.
const sizeCopyright = 8 << 20

// Sources of a licence.
const (
	sourceStanza = "copyright file"
	sourceText   = "text of the copyright file"
)

// licence says what the copyright file of a package says. A package without one
// is no error: its licence is unknown. in is a reader to use.
func (db *database) licence(h *host.Host, in *bufio.Reader, r *record, texts *licence.Texts, old *database) (inventory.Licence, error) {
	path := dirDoc + "/" + r.name + "/copyright"
	at := subject{stampOf(h, path), r.name}
	if at.stamp == (stamp{}) {
		return inventory.Licence{}, nil
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
	l, err := parseCopyright(in, r, texts, func() []string { return files(h, r.list) })
	if err == nil && bounded.N == 0 {
		err = errTooLong
	}
	if err != nil {
		return inventory.Licence{}, err
	}
	db.licences[at] = l
	return l, nil
}

// subject is a package with the copyright file that it has: packages of one
// source may share the file and differ in what of it is theirs.
type subject struct {
	stamp stamp
	name  string
}

// parseCopyright reads the main licence of a package from its copyright file. list
// gives the package's files, for where several terms may be meant.
func parseCopyright(in *bufio.Reader, r *record, texts *licence.Texts, list func() []string) (inventory.Licence, error) {
	head, err := in.Peek(min(in.Size(), 2048))
	if err != nil && !errors.Is(err, io.EOF) {
		return inventory.Licence{}, err
	}
	if machineReadable(head) {
		return parseStanzas(in, r, texts, list)
	}
	return parseProse(in, r, texts)
}

// machineReadable looks for the field that must be in the first stanza of a
// machine-readable file, or for the one that says what all files have.
func machineReadable(head []byte) bool {
	if bytes.Contains(head, []byte("\nFiles: *\n")) {
		return true
	}
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
