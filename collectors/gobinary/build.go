package gobinary

import (
	"debug/buildinfo"
	"errors"
	"io"
	"runtime/debug"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/internal/program"
	"cityward/collectors/inventory"
)

// Bounds of one program: what is read of it, and what it may name.
const (
	mostModules = 4096
)

var (
	errMany = errors.New("too many modules")
	errText = errors.New("damaged build information")
)

// build is what a program says of its own making; nothing where it is not Go's.
type build struct {
	modules []inventory.Component
	main    bool // the first is the main module
}

func read(h *host.Host, path string) (build, error) {
	st, err := h.Stat(path)
	if err != nil || st.Mode&0o170000 != 0o100000 {
		return build{}, nil //nolint:nilerr // a directory or a link to nowhere is no program
	}
	f, err := h.Open(path)
	if err != nil {
		return build{}, err
	}
	defer f.Close()
	return parse(f, program.SizeRead)
}

// parse reads a program. What is not in the ELF format, or has no section of
// Go's, is not Go's. limit bounds what is read.
func parse(r io.ReaderAt, limit int) (build, error) {
	var magic [4]byte
	if _, err := r.ReadAt(magic[:], 0); err != nil || !program.IsELF(magic[:]) {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return build{}, err
	}
	f, ok, err := program.Open(r, limit)
	if !ok {
		return build{}, err // of no format that the kernel runs
	}
	if f.Section(".go.buildinfo") == nil {
		return build{}, nil
	}
	info, err := buildinfo.Read(f.Budget)
	if err != nil {
		return build{}, f.Spent(errText)
	}
	return modulesOf(info)
}

// modulesOf lists the modules of a program, the main one first.
func modulesOf(info *debug.BuildInfo) (build, error) {
	var b build
	if len(info.Deps) > mostModules {
		return b, errMany
	}
	if main := program.GoMain(info); main != "" {
		b.main = true
		b.modules = append(b.modules, component(main, info.Main.Version))
	}
	for _, m := range info.Deps {
		if r := m.Replace; r != nil && !strings.HasPrefix(r.Path, ".") && !strings.HasPrefix(r.Path, "/") { // a directory of the maker's
			m = r
		}
		if strings.Trim(m.Path, "/") != "" {
			b.modules = append(b.modules, component(m.Path, m.Version))
		}
	}
	release, _, _ := strings.Cut(strings.TrimPrefix(info.GoVersion, "go"), " ")
	if release != "" {
		std := component("std", release)
		std.Supplier = "The Go Authors"
		std.Licence = inventory.Licence{Declared: "BSD-3-Clause", Expression: "BSD-3-Clause", Source: "terms of Go itself", Freedom: inventory.Free}
		b.modules = append(b.modules, std)
	}
	return b, nil
}

// component describes a module. One that was built from a working copy has no
// version.
func component(module, version string) inventory.Component {
	module, version = host.Text(strings.Trim(module, "/"), 256), host.Text(version, 256)
	if version == "(devel)" {
		version = ""
	}
	lower := strings.ToLower(module) // the specification wants it, though paths of modules know case
	cut := strings.LastIndexByte(lower, '/')
	return inventory.Component{
		Ecosystem: "gobinary", Name: module, Version: version,
		PURL: installed.PURL("golang", lower[:max(cut, 0)], lower[cut+1:], version),
	}
}
