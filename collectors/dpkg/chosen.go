package dpkg

import (
	"bufio"
	"path"
	"slices"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/licence"
	"cityward/collectors/internal/spdx"
	"cityward/collectors/inventory"
)

// main gives the stanza that speaks for a package, or one that joins several.
func (t *terms) main(r *record, texts *licence.Texts, list func() []string) stanza {
	var every, own stanza
	for _, st := range t.stanzas {
		switch {
		case st.every:
			every = st
		case ownFiles(st.files, r):
			own = st
		}
	}
	chosen := every
	switch {
	case own.line != "" && (every.line == "" || list == nil || !empty(list())):
		chosen = own
	case every.line == "" && known(t.header): // it is about the whole
		chosen.line = t.header
	case every.line == "":
		chosen = t.together()
	default:
		if st, ok := t.byFiles(every, list); ok {
			chosen = st
		}
	}
	if chosen.line == "" {
		chosen.line = t.header
	}
	switch area(r, false) {
	case areaNonFree, areaFirmware:
		return t.notFree(chosen, texts)
	case areaContrib: // scripts that fetch what is not free may be all that there is
		if chosen.line == "" && len(t.stanzas) > 0 {
			return t.stanzas[0]
		}
	}
	return chosen
}

// known reports whether a License line has nothing but names that are known.
func known(line string) bool {
	expression, _ := spdx.Debian(line)
	return expression != ""
}

// together joins the terms of all files that are not the packaging, but for those
// of few files. Of too many, the first are the program's, by custom.
func (t *terms) together() stanza {
	const limit = 8
	weight := make(map[string]int)
	all := 0
	var lines []string
	for _, st := range t.stanzas {
		if st.packaging {
			continue
		}
		n := len(strings.Fields(st.files))
		all += n
		if weight[st.line] += n; !slices.ContainsFunc(lines, func(line string) bool { return strings.EqualFold(line, st.line) }) {
			if lines = append(lines, st.line); len(lines) > limit {
				return stanza{line: lines[0]}
			}
		}
	}
	whole := strings.Join(lines, ", and ") // the comma binds least
	lines = slices.DeleteFunc(lines, func(line string) bool { return weight[line]*20 < all })
	return stanza{line: strings.Join(lines, ", and "), whole: whole}
}

// notFree gives, of a package that is not free, the terms that are why: where those
// of the whole are free, those of its other files that are not.
func (t *terms) notFree(chosen stanza, texts *licence.Texts) stanza {
	const most = 3
	free := func(st stanza) bool {
		expression, freedom := t.conclude(st, texts)
		return freedom == inventory.Free && (!strings.HasPrefix(expression, "GFDL-") || strings.Contains(expression, "-no-invariants-"))
	}
	if len(t.stanzas) > 512 {
		return chosen
	}
	if chosen.line == t.together().line {
		chosen = stanza{} // parts that are free do not matter
	} else if chosen.line != "" && !free(chosen) {
		return chosen
	}
	var lines, forbidding []string
	for _, st := range t.stanzas {
		if free(st) || slices.Contains(lines, st.line) {
			continue
		}
		lines = append(lines, st.line)
		if _, freedom := t.conclude(st, texts); freedom == inventory.NonFree {
			forbidding = append(forbidding, st.line)
		}
	}
	if len(forbidding) > 0 { // rather than what nobody knows
		lines = forbidding
	}
	if len(lines) == 0 || len(lines) > most {
		if chosen.line == "" {
			return t.together()
		}
		return chosen
	}
	return stanza{line: strings.Join(lines, ", and ")}
}

// byFiles gives the stanza of what a package has, where that is not what most of the
// source is: manuals alone, or programs of a source that is said to be a manual.
func (t *terms) byFiles(every stanza, list func() []string) (stanza, bool) {
	manual := strings.HasPrefix(strings.ToLower(every.line), "gfdl")
	var others []stanza
	for _, st := range t.stanzas {
		if !st.every && !st.packaging && st.line != every.line && (manual || ofManuals(st.files)) {
			others = append(others, st)
		}
	}
	if len(others) == 0 || list == nil {
		return stanza{}, false
	}
	paths := list()
	if !manual {
		return manualOf(others, paths), documents(paths)
	}
	programs := 0
	for _, name := range paths {
		dir, base := path.Split(name)
		if dir != "/usr/bin/" && dir != "/bin/" && dir != "/sbin/" && dir != "/usr/sbin/" {
			continue
		}
		if programs++; programs > 64 {
			break
		}
		for _, st := range t.stanzas {
			if strings.HasPrefix(st.files, base+"/*") || strings.Contains(st.files, "\n"+base+"/*") || strings.Contains(st.files, " "+base+"/*") {
				return st, true
			}
		}
	}
	return stanza{}, false
}

// manualOf gives the stanza with the source of a page that a package has, the first
// if none names it.
func manualOf(stanzas []stanza, paths []string) stanza {
	for _, name := range paths {
		dir, base := path.Split(name)
		page, _, _ := strings.Cut(base, ".")
		page = strings.TrimRight(page, "0123456789-")
		if dir != "/usr/share/info/" || page == "" {
			continue
		}
		for _, st := range stanzas {
			for glob := range strings.FieldsSeq(st.files) {
				if path.Base(glob) == page+".texi" || path.Base(glob) == page+".texinfo" {
					return st
				}
			}
		}
	}
	return stanzas[0]
}

// ofManuals reports whether a Files field names the sources of manuals.
func ofManuals(files string) bool {
	for glob := range strings.FieldsSeq(files) {
		switch path.Ext(glob) {
		case ".texi", ".texinfo", ".info":
			return true
		}
		if dir, _, _ := strings.Cut(strings.TrimPrefix(glob, "./"), "/"); dir == "doc" || dir == "docs" || dir == "manual" {
			return true
		}
	}
	return false
}

// documents reports whether a package has no programs, and most of its files are to
// be read.
func documents(paths []string) bool {
	n, read := 0, 0
	for _, name := range paths {
		if usual(name) {
			continue
		}
		for _, dir := range []string{"/usr/bin/", "/usr/sbin/", "/bin/", "/sbin/", "/usr/lib/", "/lib/", "/usr/games/"} {
			if strings.HasPrefix(name, dir) {
				return false
			}
		}
		n++
		for _, dir := range []string{"/usr/share/doc/", "/usr/share/info/", "/usr/share/doc-base/", "/usr/share/gtk-doc/", "/usr/share/help/", "/usr/share/man/"} {
			if strings.HasPrefix(name, dir) {
				read++
			}
		}
	}
	return n > 0 && read*5 >= n*4
}

// usual reports files about a package that any has, be it empty.
func usual(name string) bool {
	if strings.HasPrefix(name, "/usr/share/lintian/") {
		return true
	}
	if !strings.HasPrefix(name, "/usr/share/doc/") {
		return false
	}
	base := strings.TrimSuffix(path.Base(name), ".gz")
	return base == "copyright" || strings.HasPrefix(base, "changelog") || base == strings.ToUpper(base) || base == "README.Debian" || base == "NEWS.Debian"
}

// empty reports whether a package has nothing but its copyright file and the like:
// it only draws in others.
func empty(paths []string) bool {
	return len(paths) > 0 && !slices.ContainsFunc(paths, func(name string) bool { return !usual(name) })
}

// files gives the paths of a package that are no directories; none if its list
// cannot be read, or has more than is worth the time.
func files(h *host.Host, list string) []string {
	const most = 16 << 10
	if list == "" {
		return nil
	}
	var paths []string
	err := readList(h, bufio.NewReader(nil), list, func(line []byte) {
		if last := len(paths) - 1; last >= 0 && strings.HasPrefix(string(line), paths[last]+"/") {
			paths = paths[:last]
		}
		if len(paths) <= most && string(line) != "/." {
			paths = append(paths, string(line))
		}
	})
	if err != nil || len(paths) > most {
		return nil
	}
	return paths
}

// ownFiles reports whether a Files field names the directory that a package is
// built from: of the package libuuid1 from the source util-linux, libuuid/*; of
// libaudit1 from audit, lib/*; of libflac12 from flac, src/libFLAC/*; of
// hunspell-pt-br, dictionaries/pt_BR/*. A source's directory of its own name has the
// sources of all its packages.
func ownFiles(files string, r *record) bool {
	source := r.source
	if source == "" || source == r.name {
		return false
	}
	for glob := range strings.FieldsSeq(files) {
		dir, ok := strings.CutSuffix(glob, "/*")
		part := strings.ReplaceAll(strings.ToLower(path.Base(dir)), "_", "-")
		if ok && len(part) > 2 && strings.HasSuffix(r.name, "-"+part) && !slices.Contains([]string{"doc", "dev", "data", "common", "tests", "examples"}, part) {
			return true
		}
	}
	stem := strings.TrimRight(strings.TrimSuffix(r.name, "-dev"), "0123456789.-")
	library := strings.HasPrefix(stem, "lib") && !strings.HasPrefix(source, "lib")
	for glob := range strings.FieldsSeq(files) {
		dir, last := path.Split(strings.TrimPrefix(glob, "./"))
		dir = strings.TrimSuffix(dir, "/")
		if !strings.HasPrefix(last, "*") || dir == source {
			continue
		}
		if dir == r.name || dir == stem || strings.HasPrefix(stem, "lib") && strings.EqualFold(dir, "src/"+stem) || library && (dir == "lib" && stem == "lib"+source || dir == "lib/"+stem[3:]) {
			return true
		}
	}
	return false
}
