package file

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"path"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/internal/licence"
	"cityward/collectors/internal/program"
	"cityward/collectors/internal/spdx"
	"cityward/collectors/inventory"
)

// Bounds of one file.
const (
	sizeHashed = 16 << 20 // larger ones are told by their path
	sizeTerms  = 256 << 10
)

// described is what is wanted of a program.
type described struct {
	name, version, supplier string // of the builder's metadata
	checksum                string // SHA-256, hexadecimal
	appImage                int
	elsewhere               bool // another room lists it
}

// read reads a program, and sums it up where it is a component of its own.
func read(h *host.Host, file string, single bool) (described, error) {
	f, err := h.Open(file)
	if err != nil {
		return described{}, err
	}
	defer f.Close()
	image, ok, err := program.Read(f, program.SizeRead)
	if err != nil || !ok {
		return described{}, err
	}
	d := described{
		name: host.Text(image.Package.Name, 256), version: host.Text(image.Package.Version, 256),
		appImage: image.AppImage, elsewhere: image.Go != "" || image.Crates,
	}
	if d.name != "" {
		d.supplier = host.Text(image.Package.OS, 256)
	}
	if st, err := f.Stat(); err != nil || d.elsewhere || !single && d.appImage == 0 || st.Size() > sizeHashed {
		return d, err
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, io.NewSectionReader(f, 0, sizeHashed)); err != nil {
		return d, err
	}
	d.checksum = hex.EncodeToString(sum.Sum(nil))
	return d, nil
}

// component describes a tree or a file. A package URL without a checksum has the
// path, since names alone are not unique.
func (d *described) component(at string) inventory.Component {
	at = host.Text(at, 512)
	c := inventory.Component{Ecosystem: name, Name: at, Version: d.version, Supplier: d.supplier}
	qualifiers := []string{"path", at}
	if d.checksum != "" {
		qualifiers = []string{"checksum", "sha256:" + d.checksum}
	}
	c.PURL = installed.PURL("generic", "", path.Base(at), d.version, qualifiers...)
	return c
}

func readTerms(h *host.Host, texts *licence.Texts, file string) (inventory.Licence, error) {
	data, err := h.ReadFile(file, sizeTerms)
	if err != nil {
		return inventory.Licence{}, err
	}
	return texts.Complete(termsOf(data), data), nil
}

// termsOf reads the SPDX tag of a file with terms; without one, the first line is
// what the maker calls it, and no more than that.
func termsOf(text []byte) inventory.Licence {
	for line := range bytes.Lines(text) {
		_, tag, ok := bytes.Cut(line, []byte("SPDX-License-Identifier:"))
		if !ok {
			continue
		}
		l := inventory.Licence{Declared: host.Text(strings.TrimSpace(string(tag)), 256), Source: "licence file"}
		l.Expression, l.Freedom = spdx.Expression(strings.TrimSpace(string(tag)))
		return l
	}
	for line := range bytes.Lines(text) {
		if title := strings.TrimSpace(string(line)); title != "" {
			return inventory.Licence{Declared: host.Text(title, 256), Source: "licence file"}
		}
	}
	return inventory.Licence{}
}
