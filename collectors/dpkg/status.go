package dpkg

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"cityward/collectors/internal/host"
)

// sizeStatus bounds the status file; that of a large desktop has 10 MB.
const sizeStatus = 128 << 20

// presence is how much of a package's files are there.
type presence uint8

const (
	absent  presence = iota
	partial          // dpkg was stopped while it unpacked
	present
)

// record is what the status says of one package.
type record struct {
	name, arch string
	version    string
	source     string // source package, where it has another name
	maintainer string
	origin     string
	section    string
	depends    string // Pre-Depends and Depends, as they are written
	provides   string
	presence   presence
	list       string // name of its file list, without .list; "" none
}

// parseStatus calls visit with each package of a status file and counts the
// stanzas that are lost. A single package's file of status.d states no Status:
// where image is set the package is installed then, and its last line need not
// end.
func parseStatus(ctx context.Context, in *bufio.Reader, image bool, visit func(record)) (lost int, err error) {
	s := newScanner(in, field{name: "Package"}, field{name: "Status"}, field{name: "Version"},
		field{name: "Architecture"}, field{name: "Source"}, field{name: "Maintainer"},
		field{name: "Origin"}, field{name: "Section"}, field{name: "Pre-Depends"}, field{name: "Depends"}, field{name: "Provides"})
	common := make(map[string]string) // values that many packages share
	intern := func(raw []byte) string {
		if known, ok := common[string(raw)]; ok {
			return known
		}
		text := host.Text(string(raw), 256)
		common[string(raw)] = text
		return text
	}
	for n := 0; s.next(); n++ {
		if n%256 == 0 && ctx.Err() != nil {
			return lost, ctx.Err()
		}
		r := record{
			name:       string(s.values[0]),
			version:    host.Text(string(s.values[2]), 256),
			arch:       intern(s.values[3]),
			maintainer: intern(s.values[5]),
			origin:     intern(s.values[6]),
			section:    intern(s.values[7]),
			provides:   host.Text(string(s.values[10]), sizeDepends),
		}
		r.depends = host.Text(string(s.values[8]), sizeDepends) + "," + host.Text(string(s.values[9]), sizeDepends)
		var ok bool
		r.presence, ok = parsePresence(string(s.values[1]), image)
		sound := !s.bad && (image || !s.torn) && ok && validName(r.name) && validArch(r.arch)
		if !sound || r.version == "" && r.presence == present {
			lost++
			continue
		}
		if source, _, _ := strings.Cut(string(s.values[4]), " "); source != r.name {
			r.source = host.Text(source, 128) // without the version in parentheses
		}
		visit(r)
	}
	return lost, s.err
}

// parsePresence reads a Status field: the wish, a flag and the state, as
// dpkg-query(1) lists them.
func parsePresence(status string, image bool) (presence, bool) {
	if status == "" {
		return present, image
	}
	words := strings.Fields(status)
	if len(words) != 3 {
		return absent, false
	}
	switch words[2] {
	case "installed", "triggers-pending", "triggers-awaited", "half-configured", "unpacked":
		return present, true
	case "half-installed":
		return partial, true
	case "config-files", "not-installed":
		return absent, true
	}
	return absent, false
}

// validName accepts what dpkg accepts. Names become parts of paths.
func validName(name string) bool {
	return len(name) > 0 && len(name) <= 128 && alphanumeric(name[0]) && only(name, "+-._")
}

func validArch(arch string) bool { return len(arch) <= 64 && only(arch, "-") }

func only(word, beside string) bool {
	for i := range len(word) {
		if !alphanumeric(word[i]) && strings.IndexByte(beside, word[i]) < 0 {
			return false
		}
	}
	return true
}

func alphanumeric(c byte) bool {
	return 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || 'A' <= c && c <= 'Z'
}

// errTooLong says that a file was read up to its bound only.
var errTooLong = errors.New("too large, the rest was not read")

// readStatus reads one status file below the root.
func readStatus(ctx context.Context, h *host.Host, path string, visit func(record)) (lost int, err error) {
	f, err := h.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	bounded := &io.LimitedReader{R: f, N: sizeStatus}
	image := strings.HasPrefix(path, dirStatus+"/")
	lost, err = parseStatus(ctx, bufio.NewReaderSize(bounded, sizeLine), image, visit)
	if err == nil && bounded.N == 0 {
		err = &fs.PathError{Op: "read", Path: path, Err: errTooLong}
	}
	return lost, err
}

// statusFiles lists the files that state which packages are installed, later
// ones overruling earlier ones: dpkg keeps changes in updates, in files named
// by numbers of one length, until it writes the status anew. images reports
// whether there are files in status.d, which stand in for a status.
func statusFiles(h *host.Host) (files []string, images bool, err error) {
	files = []string{fileStatus}
	for _, dir := range []string{dirUpdates, dirStatus} {
		entries, failed := h.ReadDir(dir)
		if failed != nil && !host.Gone(failed) {
			err = errors.Join(err, fmt.Errorf("list %s: %w", dir, failed))
		}
		for _, e := range entries {
			name := e.Name()
			journal := strings.Trim(name, "0123456789") == ""
			if dir == dirUpdates && journal || dir == dirStatus && !strings.HasSuffix(name, ".md5sums") {
				files = append(files, dir+"/"+name)
				images = images || dir == dirStatus
			}
		}
	}
	return files, images, err
}
