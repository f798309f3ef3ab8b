package gobinary

import (
	"cmp"
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"io"
	"runtime/debug"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/inventory"
)

// Bounds of one program: what is read of it, and what it may name.
const (
	sizeRead    = 32 << 20
	mostModules = 4096
)

var (
	errBudget = errors.New("headers and build information are too large")
	errText   = errors.New("damaged build information")
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
	return parse(f, sizeRead)
}

// parse reads a program. What is not in the ELF format, or has no section of
// Go's, is not Go's. limit bounds what is read.
func parse(r io.ReaderAt, limit int) (build, error) {
	var magic [4]byte
	if _, err := r.ReadAt(magic[:], 0); err != nil || string(magic[:]) != elf.ELFMAG {
		if errors.Is(err, io.EOF) {
			err = nil
		}
		return build{}, err
	}
	bounded := &budget{r: r, left: limit}
	f, err := elf.NewFile(bounded)
	if err != nil {
		return build{}, bounded.spent(nil) // of no format that the kernel runs
	}
	if f.Section(".go.buildinfo") == nil {
		return build{}, nil
	}
	info, err := buildinfo.Read(bounded)
	if err != nil {
		return build{}, bounded.spent(errText)
	}
	return modulesOf(info)
}

// budget reads not more than it was given: offsets and lengths in a program are
// its maker's claim.
type budget struct {
	r    io.ReaderAt
	left int
}

func (b *budget) ReadAt(p []byte, off int64) (int, error) {
	if len(p) > b.left {
		b.left = 0
		return 0, errBudget
	}
	b.left -= len(p)
	return b.r.ReadAt(p, off)
}

// spent gives errBudget if that is why reading failed, else the other error.
func (b *budget) spent(otherwise error) error {
	if b.left == 0 {
		return errBudget
	}
	return otherwise
}

// modulesOf lists the modules of a program, the main one first.
func modulesOf(info *debug.BuildInfo) (build, error) {
	var b build
	if len(info.Deps) > mostModules {
		return b, errBudget
	}
	if main := cmp.Or(info.Main.Path, info.Path); strings.Trim(main, "/") != "" && main != "command-line-arguments" {
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
