package python

import (
	"encoding/csv"
	"errors"
	"io"
	"path"
	"slices"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/inventory"
)

// Bounds of the list of a package's files; large ones have 3 MB.
const (
	sizeRecord    = 16 << 20
	sizeTop       = 64 << 10
	mostDirs      = 4096 // of one package
	mostLocations = 512  // of one package
	mostLevels    = 64   // of directories
	sizePath      = 1024
)

var errMany = errors.New("too many files and directories, or too deep")

// located gives where a package lies, by the list that its installer left beside
// the metadata: RECORD, else top_level.txt of older ones. None where there is
// neither.
func (c *Collector) located(metadata string) ([]inventory.Location, error) {
	info := path.Dir(metadata)
	for _, list := range []struct {
		name  string
		parse func(io.Reader, string) ([]string, error)
		size  int64
	}{{"RECORD", parseRecord, sizeRecord}, {"top_level.txt", parseTop, sizeTop}} {
		file := path.Join(info, list.name)
		found, err := c.lists.Get(c.host, file, func() ([]inventory.Location, error) {
			f, err := c.host.Open(file)
			if err != nil {
				return nil, err
			}
			defer f.Close()
			limited := &io.LimitedReader{R: f, N: list.size}
			paths, err := list.parse(limited, installed.Resolved(c.host, path.Dir(info)))
			if err == nil && limited.N == 0 {
				err = errTooLong
			}
			var locations []inventory.Location
			for _, p := range paths {
				locations = append(locations, inventory.Location{Path: p, Recorded: true})
			}
			return locations, err
		})
		if !host.Gone(err) || err == nil {
			return found, err
		}
	}
	return nil, nil
}

// parseRecord reads a RECORD, lines of path, hash and size: the directories of
// site that have files of the package, but for those below another, its files in
// site itself, and its programs in the bin of the same prefix. What it says of
// other places is not believed. Source: packaging.python.org, "Recording installed
// projects".
func parseRecord(in io.Reader, site string) ([]string, error) {
	lines := csv.NewReader(in)
	lines.FieldsPerRecord, lines.ReuseRecord, lines.LazyQuotes = -1, true, true
	bin := path.Join(site, "../../..", "bin") // of PREFIX/lib/python3.11/site-packages
	dirs := make(map[string]bool)
	var found []string
	for {
		fields, err := lines.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil || len(dirs) > mostDirs || len(found) > mostLocations {
			if err == nil {
				err = errMany
			}
			return nil, err
		}
		file := fields[0]
		if len(file) > sizePath || strings.Count(file, "/") > mostLevels {
			return nil, errMany
		}
		if !path.IsAbs(file) {
			file = path.Join(site, file)
		}
		switch dir := path.Dir(path.Clean(file)); {
		case dir == bin, dir == site && module(file):
			found = append(found, host.Text(path.Clean(file), sizeValue))
		case dir == site || !host.Within(dir, site):
		case strings.Contains(dir[len(site):], ".dist-info"), path.Base(dir) == "__pycache__":
		default:
			dirs[host.Text(dir, sizeValue)] = true
		}
	}
	for dir := range dirs {
		if !below(dir, site, dirs) {
			found = append(found, dir)
		}
	}
	if len(found) > mostLocations {
		return nil, errMany
	}
	slices.Sort(found)
	return found, nil
}

// module reports whether a name is that of a module.
func module(name string) bool { return path.Ext(name) == ".py" || path.Ext(name) == ".so" }

// below reports whether one of the directories is above dir.
func below(dir, site string, dirs map[string]bool) bool {
	for up := path.Dir(dir); len(up) > len(site); up = path.Dir(up) {
		if dirs[up] {
			return true
		}
	}
	return false
}

// parseTop reads top_level.txt, in which setuptools lists modules, one a line.
func parseTop(in io.Reader, site string) ([]string, error) {
	data, err := io.ReadAll(in)
	if err != nil {
		return nil, err
	}
	var found []string
	for word := range strings.FieldsSeq(string(data)) {
		if len(found) >= mostLocations {
			return nil, errMany
		}
		if word = host.Text(word, 256); word != ".." && word != "." && !strings.Contains(word, "/") {
			found = append(found, path.Join(site, word), path.Join(site, word)+".py")
		}
	}
	return found, nil
}
