package dpkg

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"strings"

	"cityward/collectors/internal/host"
)

// Bounds of the files that list paths.
const (
	sizeList       = 64 << 20 // of one package; the longest have 5 MB
	sizeDiversions = 4 << 20
)

// errHalfEntry says that a diversion is not whole.
var errHalfEntry = errors.New("incomplete diversion")

// diversion moves aside a file that packages ship, so that another may take its
// path; see dpkg-divert(1).
type diversion struct {
	to string // where the file goes
	by string // the package that may use the path itself; ":" none
}

// readDiversions reads the diversions by the path that is diverted.
func readDiversions(h *host.Host) (map[string]diversion, error) {
	data, err := h.ReadFile(fileDiversions, sizeDiversions)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return parseDiversions(string(data))
}

// parseDiversions reads entries of three lines: the path, where it goes, and by
// which package.
func parseDiversions(data string) (map[string]diversion, error) {
	diversions := make(map[string]diversion)
	if data == "" {
		return diversions, nil
	}
	lines := strings.Split(strings.TrimSuffix(data, "\n"), "\n")
	for ; len(lines) >= 3; lines = lines[3:] {
		if !strings.HasPrefix(lines[0], "/") || !strings.HasPrefix(lines[1], "/") || lines[2] == "" {
			return diversions, errHalfEntry
		}
		diversions[lines[0]] = diversion{to: lines[1], by: lines[2]}
	}
	if len(lines) > 0 {
		return diversions, errHalfEntry
	}
	return diversions, nil
}

// readList calls visit with each path that a package's file list has. The line
// is valid during the call only.
func readList(h *host.Host, in *bufio.Reader, list string, visit func(line []byte)) error {
	f, err := h.Open(dirInfo + "/" + list + ".list")
	if err != nil {
		return err
	}
	defer f.Close()
	bounded := &io.LimitedReader{R: f, N: sizeList}
	in.Reset(bounded)
	if err := parseList(in, visit); err != nil {
		return err
	}
	if bounded.N == 0 {
		return errTooLong
	}
	return nil
}

// parseList reads a file list: a path a line. A line that does not fit the
// buffer is no path, for the kernel takes none of that length.
func parseList(in *bufio.Reader, visit func(line []byte)) error {
	for rest := false; ; {
		line, err := in.ReadSlice('\n')
		if err == nil && !rest {
			visit(line[:len(line)-1])
		}
		switch {
		case err == nil:
			rest = false
		case errors.Is(err, bufio.ErrBufferFull):
			rest = true
		case errors.Is(err, io.EOF):
			if !rest && len(line) > 0 {
				visit(line)
			}
			return nil
		default:
			return err
		}
	}
}

// spelling relates paths as packages ship them to paths as the kernel names
// them.
type spelling struct {
	merged     []string             // top directories that lead to the same below /usr
	diversions map[string]diversion // by the path as the kernel names it
}

// newSpelling looks at which directories the root has merged into /usr.
func newSpelling(h *host.Host, diversions map[string]diversion) *spelling {
	s := &spelling{diversions: make(map[string]diversion, len(diversions))}
	for _, dir := range []string{"/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/libo32"} {
		if target, err := h.Readlink(dir); err == nil && "/"+strings.TrimPrefix(target, "/") == "/usr"+dir {
			s.merged = append(s.merged, dir+"/")
		}
	}
	for from, d := range diversions {
		s.diversions[s.resolve(from)] = diversion{to: s.resolve(d.to), by: d.by}
	}
	return s
}

// resolve gives the kernel's name of a path.
func (s *spelling) resolve(path string) string {
	for _, dir := range s.merged {
		if strings.HasPrefix(path, dir) {
			return "/usr" + path
		}
	}
	return path
}

// installed gives the kernel's name of the file that a package ships as path.
func (s *spelling) installed(path, name string) string {
	path = s.resolve(path)
	if d, ok := s.diversions[path]; ok && d.by != name {
		return d.to
	}
	return path
}

// watch gives all spellings under which file lists may have the wanted paths.
func (s *spelling) watch(wanted map[string]int) map[string]struct{} {
	spellings := make(map[string]struct{}, 2*len(wanted))
	add := func(path string) {
		spellings[path] = struct{}{}
		if short, ok := strings.CutPrefix(path, "/usr"); ok && s.resolve(short) == path {
			spellings[short] = struct{}{}
		}
	}
	for path := range wanted {
		add(path)
	}
	for from, d := range s.diversions {
		if _, ok := wanted[d.to]; ok {
			add(from)
		}
	}
	return spellings
}
