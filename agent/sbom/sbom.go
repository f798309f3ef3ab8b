// Package sbom writes a finished round as a software bill of materials: CycloneDX
// 1.6 and 1.7, SPDX 2.3 and SPDX 3.0.1.
//
// It is a bill of operations: what was found on a machine that runs, not what a
// maker says went into a product. A package of the system is a logical component
// in the words of BSI TR-03183-2 v2.1, section 3.2.2, since the file it was
// delivered as is gone; files that run, Java archives and Go programs are
// components with a file name and, where [Digest] read them, with SHA-512.
//
// One neutral [bill] is made from the snapshot, and a writer for each format
// turns it into plain structs for encoding/json: cyclonedx-go would add 0.9 MB to
// the program, and tools-golang knows no SPDX 3. Both read the documents back in
// the tests. The serial number comes from the content, so the same round gives
// the same bytes. There is nothing on vulnerabilities: those change by the day,
// and BSI TR-03183-2 forbids it, section 3.1.
package sbom

import (
	"encoding/json"
	"fmt"
	"io"

	"cityward/agent"
)

// Names of the formats. [CycloneDX] and [SPDX] stand for the newest version that
// BSI TR-03183-2 v2.1 accepts (CycloneDX from 1.6 on, SPDX from 3.0.1 on) and the
// minimum elements of NTIA, which name no versions.
const (
	CycloneDX   = "cyclonedx"
	CycloneDX16 = "cyclonedx-1.6"
	CycloneDX17 = "cyclonedx-1.7"
	SPDX        = "spdx"
	SPDX23      = "spdx-2.3"
	SPDX301     = "spdx-3.0.1"
)

// Formats lists them.
func Formats() []string {
	return []string{CycloneDX, CycloneDX16, CycloneDX17, SPDX, SPDX23, SPDX301}
}

// Options is what a bill needs beside the round.
type Options struct {
	Version string   // of this program
	Running bool     // only what runs now
	Public  bool     // nothing that helps an attacker
	Digests *Digests // of the files; nil where none were read
}

// Write writes a round in one of the formats. Errors are those of w, and one for
// a format that is none of the constants.
func Write(w io.Writer, r *agent.Report, format string, o Options) error {
	b := newBill(r, o)
	if o.Public {
		b = public(b)
	}
	var doc any
	switch format {
	case CycloneDX16:
		doc = writeCycloneDX(b, "1.6")
	case CycloneDX17, CycloneDX:
		doc = writeCycloneDX(b, "1.7")
	case SPDX23:
		doc = writeSPDX2(b)
	case SPDX301, SPDX:
		doc = writeSPDX3(b)
	default:
		return fmt.Errorf("write bill of materials: format %q is not known", format)
	}
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(doc); err != nil {
		return fmt.Errorf("write bill of materials: %w", err)
	}
	return nil
}
