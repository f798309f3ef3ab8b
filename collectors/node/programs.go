package node

import (
	"path"
	"slices"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/installed"
	"cityward/collectors/inventory"
)

// programs is where the programs that run look for packages.
type programs struct {
	places []string // directories of packages
	own    []string // directories of the programs' own package.json
}

// programs follows the running programs to their directories. lost are those of
// which none is known.
func (c *Collector) programs(seen *inventory.Facts) (p programs, lost installed.Tally) {
	var proc *host.Proc
	var dirs []string
	for i := range seen.Processes {
		process := &seen.Processes[i]
		if base := path.Base(process.Executable); base != "node" && base != "nodejs" || !installed.Native(c.host, process) {
			continue
		}
		if proc == nil {
			var err error
			if proc, err = c.host.OpenProc(); err != nil {
				lost.Add("/proc: " + host.Cause(err))
				return p, lost
			}
			defer proc.Close()
		}
		cwd, err := installed.Directory(c.host, proc, process.ID.PID)
		if err == nil {
			dirs = append(dirs, cwd)
		}
		script := scriptOf(process.Arguments, cwd)
		if script != "" {
			dirs = append(dirs, path.Dir(script))
		}
		if err != nil && script == "" && !host.Gone(err) {
			lost.Add(process.ID.String() + ": " + host.Cause(err))
		}
	}
	slices.Sort(dirs)
	for _, dir := range slices.Compact(dirs) {
		c.above(dir, &p)
	}
	return p, lost
}

// scriptOf gives the absolute path of the script among a program's arguments,
// "" if there is none.
func scriptOf(arguments []string, cwd string) string {
	for _, word := range arguments[min(1, len(arguments)):] {
		switch {
		case word == "" || word[0] == '-':
			continue
		case len(word) > 4096 || strings.IndexByte(word, 0) >= 0:
			return ""
		case path.IsAbs(word):
			return path.Clean(word)
		case cwd != "":
			return path.Join(cwd, word)
		}
		return ""
	}
	return ""
}

// above looks for packages in a directory and in those above it, as Node.js
// does. The nearest package.json is the program's own.
func (c *Collector) above(dir string, p *programs) {
	nearest := false
	for range mostDepth {
		if len(p.places) >= mostPlaces {
			return
		}
		place := path.Join(dir, modules)
		if path.Base(dir) == modules {
			place = dir
		}
		if !slices.Contains(p.places, place) && installed.StampOf(c.host, place) != (installed.Stamp{}) {
			p.places = append(p.places, place)
		}
		if !nearest && installed.StampOf(c.host, path.Join(dir, "package.json")) != (installed.Stamp{}) {
			nearest = true
			if !slices.Contains(p.own, dir) {
				p.own = append(p.own, dir)
			}
		}
		if dir == "/" {
			return
		}
		dir = path.Dir(dir)
	}
}
