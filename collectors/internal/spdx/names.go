// Package spdx turns what makers write about the terms of their software into
// SPDX expressions of ids that it knows, and says whether what they allow is free.
package spdx

import (
	"strings"

	"cityward/collectors/inventory"
)

// SPDX ids that Debian's short names agree with but for the case of letters,
// or differ from as alias says. The GNU family is not among them, see [GNU].
const (
	freeIDs = "0BSD AFL-2.0 AFL-2.1 AFL-3.0 Apache-1.0 Apache-1.1 Apache-2.0 Artistic-2.0 Beerware Bitstream-Vera " +
		"BlueOak-1.0.0 BSD-1-Clause BSD-2-Clause BSD-2-Clause-Patent BSD-3-Clause BSD-3-Clause-Clear BSD-4-Clause " +
		"BSD-4-Clause-UC BSL-1.0 bzip2-1.0.6 CC-BY-3.0 CC-BY-4.0 CC-BY-SA-3.0 CC-BY-SA-4.0 CC0-1.0 CDDL-1.0 CDDL-1.1 " +
		"CECILL-2.0 CECILL-2.1 CECILL-B CECILL-C CNRI-Python CPL-1.0 curl ECL-2.0 EPL-1.0 EPL-2.0 EUPL-1.1 EUPL-1.2 " +
		"FSFAP FSFULLR FTL GD HPND ICU IJG IPL-1.0 ISC Libpng LPL-1.02 LPPL-1.3c MIT MIT-0 MIT-CMU MPL-1.0 MPL-1.1 " +
		"MPL-2.0 MS-PL MS-RL MulanPSL-2.0 NCSA NTP OFL-1.1 OLDAP-2.8 OpenSSL PHP-3.01 PostgreSQL PSF-2.0 Python-2.0 " +
		"Python-2.0.1 QPL-1.0 Ruby SGI-B-2.0 Sleepycat SSH-OpenSSH TCL Unicode-3.0 Unicode-DFS-2016 Unlicense UPL-1.0 " +
		"Vim W3C WTFPL X11 Zlib ZPL-2.0 ZPL-2.1"
	// They forbid commerce, change, or offering the software as a service.
	nonFreeIDs = "BUSL-1.1 CC-BY-NC-3.0 CC-BY-NC-4.0 CC-BY-NC-ND-3.0 CC-BY-NC-ND-4.0 CC-BY-NC-SA-3.0 " +
		"CC-BY-NC-SA-4.0 CC-BY-ND-3.0 CC-BY-ND-4.0 Elastic-2.0 JSON SSPL-1.0"
)

// identify gives the SPDX id of a Debian short name, "" if it is not known.
func identify(name string) (string, inventory.Freedom) {
	name = strings.ToLower(name)
	if id := GNU(name); id != "" {
		if strings.HasPrefix(id, "GFDL") && !strings.Contains(id, "no-invariants") {
			return id, inventory.FreedomUnknown // with invariant sections it is not free
		}
		return id, inventory.Free
	}
	switch name = alias(name); name {
	case "Artistic-1.0-Perl", "LicenseRef-public-domain":
		return name, inventory.Free
	}
	return listed(name)
}

// listed finds an id in the lists, whatever the case of its letters.
func listed(name string) (string, inventory.Freedom) {
	for id := range strings.FieldsSeq(freeIDs) {
		if strings.EqualFold(id, name) {
			return id, inventory.Free
		}
	}
	for id := range strings.FieldsSeq(nonFreeIDs) {
		if strings.EqualFold(id, name) {
			return id, inventory.NonFree
		}
	}
	return "", inventory.FreedomUnknown
}

// alias gives the id of a name that Debian spells in its own way. Names that
// people use for several texts ("BSD", "MIT/X") are left out; of MIT, the
// format says so too, yet nearly all mean Expat.
func alias(name string) string {
	switch name {
	case "apache-2":
		return "Apache-2.0"
	case "artistic": // common-licenses has Perl's version of 1.0
		return "Artistic-1.0-Perl"
	case "boost-1.0":
		return "BSL-1.0"
	case "bsl-1.1": // the Business Source License, which is not Boost's
		return "BUSL-1.1"
	case "cc0":
		return "CC0-1.0"
	case "expat":
		return "MIT"
	case "freebsd":
		return "BSD-2-Clause"
	case "mit/x11":
		return "X11"
	case "mpl-2":
		return "MPL-2.0"
	case "openldap-2.8":
		return "OLDAP-2.8"
	case "openssh":
		return "SSH-OpenSSH"
	case "pd", "public-domain":
		return "LicenseRef-public-domain"
	case "psf-2":
		return "PSF-2.0"
	case "sgi-2":
		return "SGI-B-2.0"
	}
	return name
}

// GNU reads names of the GNU family: gpl-2+, lgpl-2.1, gfdl-niv-1.3+,
// agpl-3.0-only. A name without a version means any version, as the licences
// themselves say.
func GNU(name string) string {
	family, versions := gnuFamily(name)
	if family == "" {
		return ""
	}
	rest := strings.TrimLeft(name[len(family):], "-v")
	invariants := ""
	if niv, ok := strings.CutPrefix(rest, "niv"); ok && family == "gfdl" {
		rest, invariants = strings.TrimPrefix(niv, "-"), "-no-invariants"
	}
	suffix := "-only"
	for _, later := range []string{"+", "-or-later"} {
		if version, ok := strings.CutSuffix(rest, later); ok {
			rest, suffix = version, "-or-later"
		}
	}
	rest = strings.TrimSuffix(rest, "-only")
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

// exceptionID gives the SPDX id of an exception by the name before the word
// exception.
func exceptionID(base, name string) string {
	second := strings.HasPrefix(base, "GPL-2")
	switch name {
	case "autoconf":
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
	case "gcc", "gcc runtime library", "gcc-runtime-library":
		if second {
			return "GCC-exception-2.0"
		}
		return "GCC-exception-3.1"
	case "libtool":
		return "Libtool-exception"
	case "llvm":
		return "LLVM-exception"
	}
	return ""
}
