package sbom

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	cdx "github.com/CycloneDX/cyclonedx-go"
	spdxjson "github.com/spdx/tools-golang/json"
)

// counted is what a second reader finds in a document, by package URL.
type counted struct {
	components int // with a package URL
	concluded  map[string]string
}

// readBack has another implementation read a document.
func readBack(t testing.TB, format string, document []byte) counted {
	t.Helper()
	c := counted{concluded: make(map[string]string)}
	switch format {
	case CycloneDX16, CycloneDX17:
		var bom cdx.BOM
		if err := cdx.NewBOMDecoder(bytes.NewReader(document), cdx.BOMFileFormatJSON).Decode(&bom); err != nil {
			t.Fatal(err)
		}
		if bom.Vulnerabilities != nil || (*bom.Metadata.Lifecycles)[0].Phase != cdx.LifecyclePhaseOperations {
			t.Error("it is no bill of operations")
		}
		for _, k := range *bom.Components {
			if k.PackageURL == "" {
				continue
			}
			c.components++
			c.concluded[k.PackageURL] = ""
			if k.Licenses != nil {
				c.concluded[k.PackageURL] = (*k.Licenses)[0].Expression
			}
		}
	case SPDX23:
		doc, err := spdxjson.Read(bytes.NewReader(document))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range doc.Packages {
			for _, r := range p.PackageExternalReferences {
				c.components++
				c.concluded[r.Locator] = strings.TrimPrefix(p.PackageLicenseConcluded, noAssertion)
			}
		}
		defined := make(map[string]bool)
		for _, l := range doc.OtherLicenses {
			defined[l.LicenseIdentifier] = true
		}
		for _, p := range doc.Packages {
			for _, expression := range []string{p.PackageLicenseConcluded, p.PackageLicenseDeclared} {
				refs, _ := validExpression(expression)
				for _, ref := range refs {
					if !defined[ref] {
						t.Errorf("%s is not defined", ref)
					}
				}
			}
		}
	case SPDX301:
		readGraph(t, document, &c)
	}
	return c
}

// readGraph reads SPDX 3 by its relationships, for want of a library, and demands
// that each of them leads somewhere.
func readGraph(t testing.TB, document []byte, c *counted) {
	t.Helper()
	var doc struct {
		Graph []struct {
			Type, SpdxID, From, RelationshipType string
			To                                   []string
			PURL                                 string                        `json:"software_packageUrl"`
			Expression                           string                        `json:"simplelicensing_licenseExpression"`
			Custom                               []struct{ Key, Value string } `json:"simplelicensing_customIdToUri"`
		} `json:"@graph"`
	}
	if err := json.Unmarshal(document, &doc); err != nil {
		t.Fatal(err)
	}
	at := map[string]int{spdx3NoElement: -1, spdx3NoLicense: -1}
	for i, e := range doc.Graph {
		if _, twice := at[e.SpdxID]; twice {
			t.Errorf("%s is there twice", e.SpdxID)
		}
		at[e.SpdxID] = i
		if e.PURL != "" {
			c.components++
			c.concluded[e.PURL] = ""
		}
	}
	for _, e := range doc.Graph {
		for _, custom := range e.Custom {
			if i, ok := at[custom.Value]; !ok || doc.Graph[i].Type != "expandedlicensing_CustomLicense" {
				t.Errorf("%s is not defined", custom.Key)
			}
		}
		for _, to := range e.To {
			i, ok := at[to]
			if !ok {
				t.Errorf("%s %s leads nowhere: %s", e.From, e.RelationshipType, to)
			}
			if e.RelationshipType == "hasConcludedLicense" && i >= 0 {
				c.concluded[doc.Graph[at[e.From]].PURL] = doc.Graph[i].Expression
			}
		}
	}
}
