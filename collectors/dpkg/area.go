package dpkg

import (
	"bufio"
	"slices"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

// Archive areas: Debian's, and those that Ubuntu adds.
const (
	areaMain       = "main"
	areaContrib    = "contrib"
	areaNonFree    = "non-free"
	areaFirmware   = "non-free-firmware"
	areaRestricted = "restricted" // Ubuntu: drivers without source
	areaMultiverse = "multiverse" // Ubuntu: anything that is not clearly free
)

// area gives the archive area of a package, "" if it is not known. debian says
// that apt knows no archive but Debian's.
func area(r *record, debian bool) string {
	prefix, _, _ := strings.Cut(r.section, "/")
	switch {
	case prefix == r.section && debian && ofDebian(r.maintainer):
		return areaMain
	case prefix == r.section:
		return ""
	case slices.Contains([]string{areaContrib, areaNonFree, areaFirmware, areaRestricted, areaMultiverse}, prefix):
		return prefix
	}
	return ""
}

// ofDebian reports whether a Maintainer field has an address at Debian, such as
// that of a team's list. Not all of Debian's maintainers have one.
func ofDebian(maintainer string) bool {
	_, address, _ := strings.Cut(maintainer, "<")
	domain := address[strings.LastIndexByte(address, '@')+1:]
	domain, ok := strings.CutSuffix(strings.ToLower(domain), ">")
	if !ok || !strings.Contains(address, "@") {
		return false
	}
	for _, own := range []string{"debian.org", "debian.net"} {
		if domain == own || strings.HasSuffix(domain, "."+own) {
			return true
		}
	}
	return false
}

// judge decides on the freedom of a package from its area and its text. debian
// says that the package itself is Debian's: a contrib of another archive is
// only a word.
func judge(area string, debian bool, text inventory.Licence) inventory.Licence {
	answer := text
	switch {
	case area == areaMain, area == areaContrib && debian:
		answer.Freedom = inventory.Free // contrib is free in itself, but needs what is not
	case area == areaNonFree, area == areaFirmware, area == areaRestricted:
		answer.Freedom = inventory.NonFree
	case area == areaMultiverse && text.Freedom == inventory.Free:
		answer.Freedom = inventory.FreedomUnknown
		return answer
	default:
		return answer
	}
	answer.Source = "archive area"
	if text.Expression != "" {
		answer.Source += ", " + text.Source
	}
	return answer
}

// presume decides on a package of a machine without apt's lists, as images of
// containers are. Its own text must grant a free licence; that Debian's maintainers
// put it in no other area than main then speaks for what the text says besides.
func presume(r *record, vendor string, l inventory.Licence) inventory.Licence {
	if vendor == "debian" && l.Freedom == inventory.FreedomUnknown && area(r, true) == areaMain && free(l.Expression) {
		l.Freedom = inventory.Free
		l.Source += ", of Debian's maintainers"
	}
	return l
}

// archives is what apt's lists tell of where the packages of a machine are from.
type archives int

const (
	someArchive archives = iota // not all of Debian's, or it is not known
	onlyDebian                  // all call themselves Debian
	noArchive                   // there are no lists
)

// readArchives looks at the names of apt's lists and at their Release files. An index
// without one, and a list that cannot be read, may be of any archive.
func readArchives(h *host.Host) archives {
	entries, err := h.ReadDir(dirApt)
	if host.Gone(err) {
		return noArchive
	} else if err != nil {
		return someArchive
	}
	var known, indexes []string
	for _, e := range entries {
		name := e.Name()
		for _, suffix := range []string{"_InRelease", "_Release"} {
			archive, ok := strings.CutSuffix(name, suffix)
			if !ok {
				continue
			}
			if readOrigin(h, dirApt+"/"+name) != "Debian" {
				return someArchive
			}
			known = append(known, archive+"_")
		}
		if strings.Contains(name, "_Packages") {
			indexes = append(indexes, name)
		}
	}
	for _, index := range indexes {
		if !slices.ContainsFunc(known, func(archive string) bool { return strings.HasPrefix(index, archive) }) {
			return someArchive
		}
	}
	switch {
	case len(indexes) > 0:
		return onlyDebian
	case len(known) > 0:
		return someArchive
	}
	return noArchive
}

// readOrigin gives the Origin of a Release file, which may be wrapped in a
// signature; "" if it has none or cannot be read.
func readOrigin(h *host.Host, path string) string {
	f, err := h.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	return parseOrigin(bufio.NewReaderSize(f, 4096))
}

// parseOrigin looks at the lines before the checksums, which are most of a
// Release file, and not further than the first buffer.
func parseOrigin(in *bufio.Reader) string {
	head, _ := in.Peek(in.Size()) // a short file is whole
	origin := ""
	for line := range strings.Lines(string(head)) {
		name, value, _ := strings.Cut(line, ":")
		switch {
		case strings.EqualFold(name, "Origin") && origin == "":
			origin = strings.TrimSpace(value)
		case strings.EqualFold(name, "Origin"):
			return "" // two answers are none
		case strings.EqualFold(name, "MD5Sum"), strings.EqualFold(name, "SHA256"):
			return origin
		}
	}
	return origin
}
