package rust

import (
	"bytes"
	"compress/zlib"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/internal/program"
	"cityward/collectors/inventory"
)

// Bounds of one program's list.
const (
	section    = ".dep-v0"
	sizePacked = 1 << 20
	sizeList   = 8 << 20
	mostCrates = 4096
)

var errList = errors.New("damaged list of crates")

// build is what a program was built from.
type build struct {
	crates []inventory.Component
	root   int // index of the program's own crate; -1 unknown
}

func read(h *host.Host, path string) (build, error) {
	f, err := h.Open(path)
	if err != nil {
		return build{}, err
	}
	defer f.Close()
	return parse(f, program.SizeRead)
}

// parse reads an ELF file. One without the section has no crates.
func parse(r io.ReaderAt, limit int) (build, error) {
	file, ok, err := program.Open(r, limit)
	if !ok {
		return build{}, err
	}
	packed, err := file.Bytes(section, sizePacked)
	if err != nil || packed == nil {
		return build{}, err
	}
	return parseSection(packed)
}

// parseSection reads the section: JSON, compressed by zlib.
func parseSection(packed []byte) (build, error) {
	z, err := zlib.NewReader(bytes.NewReader(packed))
	if err != nil {
		return build{}, errList
	}
	defer z.Close()
	list, err := io.ReadAll(io.LimitReader(z, sizeList+1))
	switch {
	case err != nil:
		return build{}, errList
	case len(list) > sizeList:
		return build{}, program.ErrBudget
	}
	return parseList(list)
}

// parseList reads the JSON. Crates that only ran while it was built are no part
// of the program.
func parseList(list []byte) (build, error) {
	var file struct {
		Packages []struct {
			Name    string `json:"name"`
			Version string `json:"version"`
			Source  string `json:"source"`
			Kind    string `json:"kind"`
			Root    bool   `json:"root"`
		} `json:"packages"`
	}
	b := build{root: -1}
	if json.Unmarshal(list, &file) != nil {
		return b, errList
	}
	if len(file.Packages) > mostCrates {
		return b, program.ErrBudget
	}
	for i := range file.Packages {
		p := &file.Packages[i]
		name, version := host.Text(p.Name, 256), host.Text(p.Version, 256)
		if strings.TrimSpace(name) == "" {
			return build{root: -1}, errList
		}
		if p.Kind == "build" {
			continue
		}
		if p.Root {
			b.root = len(b.crates)
		}
		b.crates = append(b.crates, inventory.Component{
			Ecosystem: "rust", Name: name, Version: version, PURL: purl(name, version, p.Source),
		})
	}
	if len(b.crates) == 0 { // its own is always in it, and nobody else lists the program
		return b, errList
	}
	return b, nil
}

// purl names a crate. The registry is implied; of another source only the kind
// is written down, never the address.
func purl(name, version, source string) string {
	switch source {
	case "", "crates.io", "registry":
		source = ""
	case "git", "local":
	default:
		source = "other"
	}
	return installed.PURL("cargo", "", name, version, "source", source)
}
