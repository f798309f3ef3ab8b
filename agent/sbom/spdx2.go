package sbom

import (
	"cmp"
	"fmt"
	"strings"
)

// The parts of SPDX 2.3 that are used.
type (
	spdx2Document struct {
		Version       string              `json:"spdxVersion"`
		DataLicense   string              `json:"dataLicense"`
		ID            string              `json:"SPDXID"`
		Name          string              `json:"name"`
		Namespace     string              `json:"documentNamespace"`
		Creation      spdx2Creation       `json:"creationInfo"`
		Comment       string              `json:"comment,omitempty"`
		Packages      []spdx2Package      `json:"packages"`
		Extracted     []spdx2Extracted    `json:"hasExtractedLicensingInfos,omitempty"`
		Relationships []spdx2Relationship `json:"relationships"`
		Annotations   []spdx2Annotation   `json:"annotations,omitempty"`
	}
	spdx2Creation struct {
		Created  string   `json:"created"`
		Creators []string `json:"creators"`
	}
	spdx2Package struct {
		Name             string           `json:"name"`
		ID               string           `json:"SPDXID"`
		Version          string           `json:"versionInfo,omitempty"`
		FileName         string           `json:"packageFileName,omitempty"`
		Supplier         string           `json:"supplier"`
		DownloadLocation string           `json:"downloadLocation"`
		FilesAnalyzed    bool             `json:"filesAnalyzed"`
		Checksums        []spdx2Checksum  `json:"checksums,omitempty"`
		SourceInfo       string           `json:"sourceInfo,omitempty"`
		Concluded        string           `json:"licenseConcluded"`
		Declared         string           `json:"licenseDeclared"`
		LicenseComments  string           `json:"licenseComments,omitempty"`
		Copyright        string           `json:"copyrightText"`
		Comment          string           `json:"comment,omitempty"`
		References       []spdx2Reference `json:"externalRefs,omitempty"`
		Purpose          string           `json:"primaryPackagePurpose,omitempty"`
	}
	spdx2Checksum struct {
		Algorithm string `json:"algorithm"`
		Value     string `json:"checksumValue"`
	}
	spdx2Reference struct {
		Category string `json:"referenceCategory"`
		Type     string `json:"referenceType"`
		Locator  string `json:"referenceLocator"`
	}
	spdx2Extracted struct {
		ID   string `json:"licenseId"`
		Text string `json:"extractedText"`
		Name string `json:"name"`
	}
	spdx2Relationship struct {
		From    string `json:"spdxElementId"`
		Type    string `json:"relationshipType"`
		To      string `json:"relatedSpdxElement"`
		Comment string `json:"comment,omitempty"`
	}
	spdx2Annotation struct {
		Date      string `json:"annotationDate"`
		Type      string `json:"annotationType"`
		Annotator string `json:"annotator"`
		Comment   string `json:"comment"`
	}
)

const noAssertion = "NOASSERTION"

// elementID names an element of SPDX: 2.3 allows letters, digits, dots, dashes.
func elementID(kind, ref string) string {
	id := "SPDXRef-" + kind + "-"
	if readable := slug(ref, 48); readable != "" {
		id += readable + "-"
	}
	return id + fingerprint(ref)
}

// writeSPDX2 has no services and data stores: SPDX 2.3 knows none. What programs
// listen on is in the comment of their package.
func writeSPDX2(b *bill) *spdx2Document {
	const document, host = "SPDXRef-DOCUMENT", "SPDXRef-Host"
	doc := &spdx2Document{
		Version: "SPDX-2.3", DataLicense: "CC0-1.0", ID: document, Name: b.title(), Namespace: "urn:uuid:" + b.id(SPDX23),
		Creation: spdx2Creation{b.created(), []string{"Tool: cityward-" + b.Tool, spdx2Party(b.Creator)}},
		Packages: []spdx2Package{{
			Name: b.Host.Name, ID: host, Version: b.Host.OSVersion, Supplier: spdx2Party(b.Creator), DownloadLocation: noAssertion,
			Concluded: noAssertion, Declared: noAssertion, Copyright: noAssertion, Purpose: "DEVICE", Comment: b.Host.summary(),
		}},
		Relationships: []spdx2Relationship{{From: document, Type: "DESCRIBES", To: host}},
	}
	if doc.Creation.Creators[1] == noAssertion {
		doc.Creation.Creators = doc.Creation.Creators[:1]
	}
	var terms licences
	for i := range b.Components {
		c := &b.Components[i]
		id := elementID("Package", c.Ref)
		doc.Packages = append(doc.Packages, spdx2Component(c, id, &terms))
		doc.Relationships = append(doc.Relationships, spdx2Relationship{From: host, Type: "CONTAINS", To: id})
		for _, ref := range c.Depends {
			doc.Relationships = append(doc.Relationships, spdx2Relationship{From: id, Type: "DEPENDS_ON", To: elementID("Package", ref)})
		}
		if !c.Stated {
			doc.Relationships = append(doc.Relationships, spdx2Relationship{From: id, Type: "DEPENDS_ON", To: noAssertion})
		}
		for j := range c.Files {
			if f := &c.Files[j]; !f.Whole || len(c.Files) > 1 {
				doc.Packages = append(doc.Packages, spdx2File(f))
				doc.Relationships = append(doc.Relationships, spdx2Relationship{From: id, Type: "CONTAINS", To: elementID("File", f.Ref)})
			}
		}
	}
	for _, e := range terms.all {
		doc.Extracted = append(doc.Extracted, spdx2Extracted{e.ID, e.Text, e.Name})
	}
	for _, note := range append(b.Notes, b.completeness()...) {
		doc.Annotations = append(doc.Annotations, spdx2Annotation{b.created(), "OTHER", "Tool: cityward-" + b.Tool, note})
	}
	return doc
}

func (b *bill) title() string { return "Software of " + b.Host.Name }

// completeness says in words what CycloneDX has compositions for.
func (b *bill) completeness() []string {
	list := "whether all software is listed is unknown"
	if b.Incomplete || b.Running {
		list = "not all software is listed"
	}
	return []string{
		list,
		"dependencies are those that a package states, of what is here; where none is stated they are unknown",
		"of a package's files only those that run are listed",
	}
}

func (m *machine) summary() string {
	var words []string
	for _, p := range properties("os", m.OSName, "kernel", m.Kernel, "arch", m.Arch, "virtualization", m.Virtualization, "platform", m.Platform) {
		words = append(words, p.Name+": "+p.Value)
	}
	return strings.Join(words, "; ")
}

// spdx2Party calls everybody an organisation: no package says which it is.
func spdx2Party(p party) string {
	switch {
	case p.Name == "":
		return noAssertion
	case p.Email != "" && p.Email != p.Name:
		return fmt.Sprintf("Organization: %s (%s)", p.Name, p.Email)
	}
	return "Organization: " + p.Name
}

func spdx2Component(c *component, id string, terms *licences) spdx2Package {
	concluded, declared := terms.of(c)
	p := spdx2Package{
		Name: c.Name, ID: id, Version: c.Version, Supplier: spdx2Party(c.Supplier), DownloadLocation: noAssertion,
		Concluded: cmp.Or(concluded, noAssertion), Declared: cmp.Or(declared, noAssertion), Copyright: noAssertion,
		LicenseComments: strings.Join(c.termsInWords(), "; "), Comment: strings.Join(c.inWords(), "\n"),
		Purpose: strings.ToUpper(c.Kind),
	}
	if c.Source != "" {
		p.SourceInfo = "built from " + c.Source
	}
	if c.PURL != "" {
		p.References = []spdx2Reference{{"PACKAGE-MANAGER", "purl", c.PURL}}
	}
	if len(c.Files) == 1 && c.Files[0].Whole {
		f := &c.Files[0]
		p.FileName, p.Checksums = f.Name, f.spdx2Checksums()
	}
	return p
}

// spdx2File lists a file as a package of one file, as the specification allows:
// its own element for files demands a SHA-1 of each, read or not.
func spdx2File(f *file) spdx2Package {
	return spdx2Package{
		Name: f.Name, ID: elementID("File", f.Ref), Version: f.Modified, FileName: f.Name, Supplier: noAssertion, DownloadLocation: noAssertion,
		Checksums: f.spdx2Checksums(), Concluded: noAssertion, Declared: noAssertion, Copyright: noAssertion,
		Comment: "path: " + f.Path, Purpose: "FILE",
	}
}

func (f *file) spdx2Checksums() []spdx2Checksum {
	if f.SHA512 == "" {
		return nil
	}
	return []spdx2Checksum{{"SHA512", f.SHA512}}
}

func (c *component) termsInWords() []string {
	words := []string{"freedom: " + c.Freedom}
	if c.Terms != "" {
		words = append(words, "concluded from: "+c.Terms)
	}
	return words
}

// inWords is what SPDX has no field for.
func (c *component) inWords() []string {
	var words []string
	for _, p := range properties("ecosystem", c.Ecosystem, "area", c.Area, "origin", c.Origin) {
		words = append(words, p.Name+": "+p.Value)
	}
	for _, program := range c.Programs {
		words = append(words, "runs: "+program)
	}
	for _, place := range c.Places {
		words = append(words, "at: "+place)
	}
	if c.Times > 1 {
		words = append(words, fmt.Sprintf("installed %d times, in one version or several", c.Times))
	}
	return words
}
