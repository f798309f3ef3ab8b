// Package spdx turns what makers write about the terms of their software into
// SPDX expressions of ids that it knows, and says whether what they allow is free.
//
// An id is free if the Open Source Initiative approved it, the Free Software
// Foundation calls it free, or a reviewed list has it, and the Foundation does
// not call it non-free. OR is free if one side is, AND if both are; a part that
// is not known is never free. An addition by WITH permits more, so the licence
// decides, but for the few additions that restrict.
//
// Terms in a maker's own words have no id. Those of a licence are written as
// LicenseRef-NAME, those of an exception as AdditionRef-NAME (SPDX 3.0), with the
// name that Debian's file gives them.
package spdx

import (
	"strings"

	"cityward/collectors/inventory"
)

// identify gives the SPDX id of a Debian short name, "" if it is not known.
func identify(name string) (string, inventory.Freedom) {
	name = strings.ToLower(name)
	if id := GNU(name); id != "" {
		return id, freedomOf(listed(id))
	}
	if id := alias(name); id != "" {
		name = strings.ToLower(id)
	}
	return known(name)
}

// known finds an id in the list, or a reference that has a meaning here, by its
// name in lower case.
func known(lower string) (string, inventory.Freedom) {
	if id, f := entry(lower); id != "" {
		return id, freedomOf(id, f)
	}
	for _, list := range []string{refsFree, nonFree} {
		for id := range strings.FieldsSeq(list) {
			if strings.EqualFold(id, lower) && strings.HasPrefix(id, "LicenseRef-") {
				return id, freedomOf(id, 0)
			}
		}
	}
	return "", inventory.FreedomUnknown
}

func listed(id string) (string, flags) {
	_, f := entry(strings.ToLower(id))
	return id, f
}

// alias gives the id of a name that Debian's files spell in a way of their own.
// Names that people use for several texts ("BSD", "MIT/X") are left out: their
// text decides. Of MIT the format says so too, yet nearly all mean Expat.
func alias(name string) string {
	switch name {
	case "apache-2", "asl-2.0", "apache2", "apache-v2", "apache-2.0-license", "apache-license-2.0", "apachev2":
		return "Apache-2.0"
	case "artistic", "artistic-1": // common-licenses has Perl's version of 1.0
		return "Artistic-1.0-Perl"
	case "artistic-2":
		return "Artistic-2.0"
	case "beer-ware", "beer-ware-42":
		return "Beerware"
	case "boost-1.0", "boost":
		return "BSL-1.0"
	case "bsl-1.1": // the Business Source License, which is not Boost's
		return "BUSL-1.1"
	case "cc0", "cc0-1", "cc0-license":
		return "CC0-1.0"
	case "cddl":
		return "CDDL-1.0"
	case "epl-1":
		return "EPL-1.0"
	case "edl-1", "edl-1.0", "bsd3", "bsd-3", "bsd-3-clauses", "bsd-3clause", "3-clause-bsd", "bsd3-clause", "new-bsd", "bsd-new", "bsd-c3":
		return "BSD-3-Clause"
	case "freebsd", "bsd2", "bsd-2", "bsd-2-clauses", "bsd-2clause", "2-clause-bsd", "bsd2-clause", "simplified-bsd":
		return "BSD-2-Clause"
	case "bsd-4", "bsd4", "bsd-4-clauses":
		return "BSD-4-Clause"
	case "bsd-1":
		return "BSD-1-Clause"
	case "bsd-0-clause":
		return "0BSD"
	case "expat", "mit-expat", "expat/mit", "mit/expat", "mit-license", "expat-mit", "mit/x11", "x11/mit":
		return "MIT"
	case "x11-mit":
		return "X11"
	case "mpl-1":
		return "MPL-1.0"
	case "mpl-2", "mpl2", "mpl2.0", "mplv2", "mplv2.0":
		return "MPL-2.0"
	case "openldap-2.8", "openldap":
		return "OLDAP-2.8"
	case "openssh":
		return "SSH-OpenSSH"
	case "pd", "public-domain", "publicdomain", "pubic-domain":
		return "LicenseRef-public-domain"
	case "psf-2":
		return "PSF-2.0"
	case "php-3.0.1", "php":
		return "PHP-3.01"
	case "sgi-2":
		return "SGI-B-2.0"
	case "sil-1.1", "ofl-1", "ofl":
		return "OFL-1.1"
	case "zlib/libpng":
		return "Zlib"
	case "bzip":
		return "bzip2-1.0.6"
	case "w3c-software":
		return "W3C"
	case "fsf-unlimited", "fsf-unlimited-permission", "permissive-fsf":
		return "FSFULLR"
	}
	return ""
}

// GNU reads names of the GNU family: gpl-2+, lgpl-2.1, gfdl-niv-1.3+,
// agpl-3.0-only. A name without a version means any version, as the licences
// themselves say.
func GNU(name string) string {
	if typed, ok := strings.CutPrefix(name, "lpgl"); ok { // a typing error that many copied
		name = "lgpl" + typed
	}
	name = strings.TrimPrefix(name, "gnu-")
	family, versions := gnuFamily(name)
	if family == "" {
		return ""
	}
	rest := strings.TrimLeft(name[len(family):], "-v ")
	invariants := ""
	if niv, ok := strings.CutPrefix(rest, "niv"); ok && family == "gfdl" {
		rest, invariants = strings.TrimPrefix(niv, "-"), "-no-invariants"
	}
	suffix := "-only"
	for _, later := range []string{"+", "-or-later", "-or-newer", "-or-any-later"} {
		if version, ok := strings.CutSuffix(rest, later); ok {
			rest, suffix = version, "-or-later"
		}
	}
	rest = strings.TrimSuffix(rest, "-only")
	if niv, ok := strings.CutSuffix(rest, "-no-invariants"); ok && family == "gfdl" {
		rest, invariants = niv, "-no-invariants"
	}
	if rest == "" {
		rest, suffix = versions[0], "-or-later"
	}
	for _, version := range versions {
		if rest == version || rest == strings.TrimSuffix(version, ".0") {
			return strings.ToUpper(family) + "-" + version + invariants + suffix
		}
	}
	return ""
}

// gnuFamily gives the family of a name and its versions from the first on.
func gnuFamily(name string) (string, []string) {
	switch {
	case strings.HasPrefix(name, "gpl"):
		return "gpl", []string{"1.0", "2.0", "3.0"}
	case strings.HasPrefix(name, "lgpl"):
		return "lgpl", []string{"2.0", "2.1", "3.0"}
	case strings.HasPrefix(name, "agpl"):
		return "agpl", []string{"3.0"} // 1.0 is another maker's
	case strings.HasPrefix(name, "gfdl"):
		return "gfdl", []string{"1.1", "1.2", "1.3"}
	}
	return "", nil
}

// exceptionID gives the SPDX id of an exception by its name, without the word
// exception and with dashes. One of a maker's own words becomes AdditionRef-NAME.
func exceptionID(base, name string) string {
	second := strings.HasPrefix(base, "GPL-2")
	lower := strings.ToLower(name)
	switch lower {
	case "autoconf", "autoconf-archive":
		if second {
			return "Autoconf-exception-2.0"
		}
		return "Autoconf-exception-3.0"
	case "bison":
		return "Bison-exception-2.2"
	case "classpath":
		return "Classpath-exception-2.0"
	case "font":
		return "Font-exception-2.0"
	case "gcc", "gcc-runtime-library", "gcc-runtime", "runtime-library":
		if second {
			return "GCC-exception-2.0"
		}
		return "GCC-exception-3.1"
	case "libtool":
		return "Libtool-exception"
	case "llvm", "gpl2-lgpl2": // of CUPS, which has its words
		return "LLVM-exception"
	case "linux-syscall-note", "linux-syscall":
		return "Linux-syscall-note"
	case "binary-library-like-packages":
		return "PCRE2-exception"
	case "texinfo", "texinfo-tex":
		return "Texinfo-exception"
	case "commons-clause":
		return "AdditionRef-Commons-Clause"
	case "", "exceptions", "additional-permission":
		return ""
	}
	for _, spelled := range []string{lower, lower + "-exception", lower + "-linking-exception", lower + "-exception-2.0"} {
		if id := exception(spelled); id != "" {
			return id
		}
	}
	return "AdditionRef-" + reference(name) + "-exception"
}

// reference makes what is written a part of a LicenseRef: letters, digits, dashes
// and dots.
func reference(name string) string {
	var b strings.Builder
	for i := range min(len(name), 64) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.':
			b.WriteByte(c)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	return strings.Trim(b.String(), "-.")
}

// Reference gives the LicenseRef of a name that is not known, "" if nothing of the
// name can be part of one.
func Reference(name string) string {
	if name = reference(name); name != "" {
		return "LicenseRef-" + name
	}
	return ""
}
