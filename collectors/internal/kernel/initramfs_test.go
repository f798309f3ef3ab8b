package kernel

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// initramfs is an archive as the kernel unpacks it before its first program: the
// "newc" format of cpio(5), not compressed. See the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst.
type initramfs struct {
	bytes.Buffer
	inode int
}

func (a *initramfs) add(name string, mode int, content []byte) {
	a.inode++
	a.WriteString("070701")
	// Inode, mode, owner, group, links, time, size, two devices, length of the name, sum.
	for _, field := range []int{a.inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0} {
		fmt.Fprintf(a, "%08x", field)
	}
	a.WriteString(name + "\x00")
	a.pad()
	a.Write(content)
	a.pad()
}

func (a *initramfs) pad()                             { a.Write(make([]byte, -a.Len()&3)) }
func (a *initramfs) folder(name string)               { a.add(name, 0o40755, nil) }
func (a *initramfs) file(name string, content []byte) { a.add(name, 0o100755, content) }
func (a *initramfs) end()                             { a.add("TRAILER!!!", 0, nil) }

// modules are what the scenarios need and Debian does not build in.
func modules() []string {
	return []string{
		"dummy", "veth", "tun",
		"inet_diag", "tcp_diag", "udp_diag", "raw_diag", "unix_diag",
		"nf_tables", "nft_ct", "nf_conntrack_netlink",
		"fuse",
	}
}

// builtin reports whether newer kernels of Debian's have built in what older ones have
// as a module.
func builtin(name string) bool { return name == "fuse" }

// module is one of a kernel's, uncompressed.
type module struct {
	name    string
	content []byte
}

// withDependencies finds the modules of names below dir, each after those that
// it depends on.
func withDependencies(t *testing.T, dir string, names []string) []module {
	t.Helper()
	paths := make(map[string]string)
	err := filepath.WalkDir(dir, func(file string, _ fs.DirEntry, err error) error {
		if name, ok := strings.CutSuffix(strings.TrimSuffix(path.Base(file), ".xz"), ".ko"); ok {
			paths[moduleName(name)] = file
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var found []module
	var visit func(name string)
	visit = func(name string) {
		if slices.ContainsFunc(found, func(m module) bool { return m.name == name }) {
			return
		}
		if paths[name] == "" && builtin(name) {
			return
		}
		if paths[name] == "" {
			t.Fatalf("%s has no module %s", dir, name)
		}
		content := unpacked(t, paths[name])
		for _, other := range dependencies(t, name, content) {
			visit(other)
		}
		found = append(found, module{name, content})
	}
	for _, name := range names {
		visit(name)
	}
	return found
}

func moduleName(file string) string { return strings.ReplaceAll(file, "-", "_") }

func unpacked(t *testing.T, file string) []byte {
	t.Helper()
	if !strings.HasSuffix(file, ".xz") {
		return []byte(readFile(t, file))
	}
	content, err := exec.CommandContext(t.Context(), "xz", "-dc", file).Output()
	if err != nil {
		t.Fatalf("uncompress %s: %v", file, err)
	}
	return content
}

// dependencies reads what modinfo(8) calls depends.
func dependencies(t *testing.T, name string, content []byte) []string {
	t.Helper()
	f, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		t.Fatalf("read module %s: %v", name, err)
	}
	info, err := f.Section(".modinfo").Data()
	if err != nil {
		t.Fatalf("read module %s: %v", name, err)
	}
	for field := range strings.SplitSeq(string(info), "\x00") {
		if list, ok := strings.CutPrefix(field, "depends="); ok && list != "" {
			return strings.Split(list, ",")
		}
	}
	return nil
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
