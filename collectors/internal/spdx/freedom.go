package spdx

import (
	"strings"

	"cityward/collectors/inventory"
)

// flags are what the SPDX list says of a licence.
type flags uint8

const (
	osi   flags = 1 << iota // approved by the Open Source Initiative
	fsf                     // free by the Free Software Foundation's list
	fsfNo                   // not free by that list
)

// Licences that neither organisation has judged and that grant what free
// software must: variants of permissive texts that one or the other has judged,
// and texts of Debian main. Reviewed against their texts and Debian's and
// Fedora's judgement in November 2026. An entry ending in * stands for all ids
// that begin so.
const extraFree = "Adobe-2006 Adobe-Glyph Adobe-Utopia AGPL-1.0-* Artistic-dist AMD-newlib ANTLR-PD* Baekmuk " +
	"bcrypt-Solar-Designer Beerware Bitstream-Charter Bitstream-Vera blessing Boehm-GC* Brian-Gladman-* " +
	"BSD-2-Clause-* BSD-3-Clause-acpica BSD-3-Clause-Attribution BSD-3-Clause-flex BSD-3-Clause-HP " +
	"BSD-3-Clause-Modification BSD-3-Clause-No-Nuclear-Warranty BSD-3-Clause-Sun BSD-3-Clause-Tso BSD-4-Clause-* BSD-4.3* " +
	"BSD-Advertising-Acknowledgement BSD-Attribution-HPND-disclaimer BSD-Inferno-Nettverk BSD-Mark-Modifications " +
	"BSD-Source-* BSD-Systemics* bzip2-1.0.5 bzip2-1.0.6 Caldera CC-BY-3.0* CC-BY-SA-3.0* CC-PDDC CC-PDM-1.0 " +
	"CDLA-Permissive-* CFITSIO check-cvs Clips CMU-Mach* CNRI-Jython copyleft-next-* Cornell-Lossless-JPEG Cronyx " +
	"DEC-3-Clause diffmark DocBook-* dtoa dvipdfm eGenix etalab-2.0 Eurosym FreeBSD-DOC FSFAP-* FSFUL* Furuseth fwlw " +
	"GD GFDL-1.1-no-* GFDL-1.2-no-* GFDL-1.3-no-* GPL-1.0-* Graphics-Gems Gutmann HaskellReport HDF5 hdparm HIDAPI HP-1986 HP-1989 " +
	"HPND-* HTMLTIDY IBM-pibs IJG-short ImageMagick Info-ZIP Inner-Net-2.0 Intel-ACPI ISC-Veillard JasPer-2.0 jove " +
	"Kastrup Kazlib Knuth-CTAN Latex2e* Leptonica Libpng libpng-* libselinux-1.0 libtiff libutil-David-Nugent " +
	"Linux-man-pages-* Linux-OpenIB LOOP LPPL-1.0 LPPL-1.1 lsof Lucida-Bitmap-Fonts LZMA-SDK-* Mackerras-3-Clause* magaz mailprio " +
	"man2html Martin-Birgmeier metamail Minpack MIPS MIT-* mpi-permissive mpich2 mplus MPEG-SSG NAIST-2003 NCBI-PD Net-SNMP " +
	"NetCDF ngrep NICTA-1.0 NIST-* NLOD-* NRL NTIA-PD NTP-0 OAR OFFIS OFL-1.0-* OLDAP-1.* OLDAP-2.* OML OpenSSL-standalone OpenVision " +
	"OSSP PADL pkgconf Plexus pnmstitch PSF-2.0 psutils python-ldap Qhull QPL-1.0-INRIA-2004 radvd Rdisc RSA-MD Ruby-pty SAX-PD* Saxpath " +
	"SchemeReport SGI-OpenGL SGMLUG-PM SL SMAIL-GPL snprintf softSurfer Soundex Spencer-* ssh-keyscan SSH-* SSLeay-standalone " +
	"Sun-PPP* SunPro swrule Symlinks TCL TCP-wrappers TekHVC TermReadKey ThirdEye TPDL TrustedQSL TTYP0 " +
	"TU-Berlin-* UCAR ulem UMich-Merit Unicode-DFS-2015 UnixCrypt Unlicense-* Vixie-Cron w3m W3C-19980720 Widget-Workshop " +
	"wwl X11-* Xdebug-1.03 Xerox Xfig xkeyboard-config-Zinoviev xlock XSkat xzoom Zed Zeeff zlib-acknowledgement ZPL-1.1"

// They forbid commerce, change, competition, a field of use, or offering the
// software as a service.
const nonFree = "BSD-3-Clause-No-Military-License BSD-3-Clause-No-Nuclear-License* BSD-3-Clause-OpenWebUI BUSL-1.1 " +
	"C-UDA-1.0 CC-BY-NC-* CC-BY-ND-* CPOL-1.02 Elastic-2.0 FSL-1.1-* Hippocratic-* JSON MS-LPL NCGL-UK-2.0 " +
	"PolyForm-* PPL SSPL-1.0 SUL-1.0 Ubuntu-font-1.0 UnRAR " +
	"LicenseRef-All-rights-reserved LicenseRef-Commercial LicenseRef-Confluent-Community-1.0 LicenseRef-Elastic-1.0 " +
	"LicenseRef-Callaway-Redistributable-no-modification-permitted LicenseRef-SUSE-NonFree LicenseRef-SUSE-Firmware LicenseRef-Proprietary " +
	"LicenseRef-EULA LicenseRef-Microsoft LicenseRef-NVIDIA LicenseRef-Oracle LicenseRef-PolyForm-* LicenseRef-Prosperity-* " +
	"LicenseRef-Redistributable-unmodified LicenseRef-RSALv1 LicenseRef-RSALv2 LicenseRef-Timescale"

// refsFree are terms without an id of SPDX's that are free.
const refsFree = "LicenseRef-public-domain LicenseRef-BSD LicenseRef-Callaway-BSD LicenseRef-Callaway-BSD-with-advertising " +
	"LicenseRef-Callaway-MIT-with-advertising LicenseRef-Callaway-Public-Domain LicenseRef-Callaway-Copyright-only " +
	"LicenseRef-Callaway-Python LicenseRef-Callaway-EPL LicenseRef-Callaway-MPLv1.1 LicenseRef-Callaway-CC-BY " +
	"LicenseRef-Callaway-CC-BY-SA LicenseRef-Callaway-AFL LicenseRef-Callaway-UCD LicenseRef-Callaway-Unicode " +
	"LicenseRef-Callaway-LPPL LicenseRef-Callaway-MPL LicenseRef-SUSE-Public-Domain LicenseRef-SUSE-Permissive"

// additionsFree permit more than the licence that they are added to, though SPDX has
// no id for their words.
const additionsFree = "AdditionRef-OpenSSL-exception AdditionRef-Callaway-exceptions"

// additionsNonFree restrict the licence that they are added to.
const additionsNonFree = "AdditionRef-Commons-Clause"

// freedomOf judges one id: what either organisation or the reviewed list calls
// free, but for what the Free Software Foundation calls non-free.
func freedomOf(id string, f flags) inventory.Freedom {
	switch {
	case f&fsfNo != 0 || among(nonFree, id):
		return inventory.NonFree
	case f&(osi|fsf) != 0 || among(extraFree, id) || among(refsFree, id):
		return inventory.Free
	}
	return inventory.FreedomUnknown
}

// among reports whether a list has an id, whole or by a pattern with one star.
func among(list, id string) bool {
	for item := range strings.FieldsSeq(list) {
		begin, end, star := strings.Cut(item, "*")
		if item == id || star && len(id) >= len(begin)+len(end) && strings.HasPrefix(id, begin) && strings.HasSuffix(id, end) {
			return true
		}
	}
	return false
}

// Disputed names the licences of an expression on which the Open Source
// Initiative and the Free Software Foundation disagree, "" if there are none.
// Every one of them is approved by the former and non-free to the latter: that
// one has not judged a text is no disagreement.
func Disputed(expression string) string {
	var disputed []string
	for word := range strings.FieldsFuncSeq(expression, func(r rune) bool { return r == ' ' || r == '(' || r == ')' }) {
		if id, f := entry(strings.ToLower(strings.TrimSuffix(word, "+"))); f&osi != 0 && f&fsfNo != 0 {
			disputed = append(disputed, id)
		}
	}
	return strings.Join(disputed, ", ")
}
