package sbom

import (
	"cmp"
	"slices"
	"strconv"
)

// spdx3Context is where readers know the meaning of the keys from.
const spdx3Context = "https://spdx.org/rdf/3.0.1/spdx-context.jsonld"

// The parts of SPDX 3.0.1 that are used, as its JSON-LD serialization names them.
// An element of the graph is one of them.
type (
	spdx3Document struct {
		Context string `json:"@context"`
		Graph   []any  `json:"@graph"`
	}
	spdx3Creation struct {
		Type    string   `json:"type"`
		ID      string   `json:"@id"`
		Spec    string   `json:"specVersion"`
		Created string   `json:"created"`
		By      []string `json:"createdBy"`
		Using   []string `json:"createdUsing"`
	}
	// spdx3Element is what all elements have.
	spdx3Element struct {
		Type        string            `json:"type"`
		ID          string            `json:"spdxId"`
		Creation    string            `json:"creationInfo"`
		Name        string            `json:"name,omitempty"`
		Comment     string            `json:"comment,omitempty"`
		Verified    []spdx3Hash       `json:"verifiedUsing,omitempty"`
		Identifiers []spdx3Identifier `json:"externalIdentifier,omitempty"`
		Extensions  []spdx3Extension  `json:"extension,omitempty"`
	}
	spdx3Collection struct {
		spdx3Element
		Profiles    []string `json:"profileConformance"`
		Roots       []string `json:"rootElement"`
		Elements    []string `json:"element,omitempty"`
		DataLicense string   `json:"dataLicense,omitempty"`
		Kinds       []string `json:"software_sbomType,omitempty"`
	}
	spdx3Artifact struct {
		spdx3Element
		Supplied   string   `json:"suppliedBy,omitempty"`
		Originated []string `json:"originatedBy,omitempty"`
		Purpose    string   `json:"software_primaryPurpose,omitempty"`
		Purposes   []string `json:"software_additionalPurpose,omitempty"`
		Version    string   `json:"software_packageVersion,omitempty"`
		PURL       string   `json:"software_packageUrl,omitempty"`
		SourceInfo string   `json:"software_sourceInfo,omitempty"`
		FileKind   string   `json:"software_fileKind,omitempty"`
	}
	spdx3Relationship struct {
		spdx3Element
		From         string   `json:"from"`
		Relation     string   `json:"relationshipType"`
		To           []string `json:"to"`
		Completeness string   `json:"completeness"`
	}
	spdx3Expression struct {
		spdx3Element
		Expression string       `json:"simplelicensing_licenseExpression"`
		Custom     []spdx3Entry `json:"simplelicensing_customIdToUri,omitempty"`
	}
	spdx3License struct {
		spdx3Element
		Text string `json:"simplelicensing_licenseText"`
	}
	spdx3Annotation struct {
		spdx3Element
		Kind      string `json:"annotationType"`
		Subject   string `json:"subject"`
		Statement string `json:"statement"`
	}
	spdx3Entry struct {
		Type  string `json:"type"`
		Key   string `json:"key"`
		Value string `json:"value"`
	}
	spdx3Hash struct {
		Type      string `json:"type"`
		Algorithm string `json:"algorithm"`
		Value     string `json:"hashValue"`
	}
	spdx3Identifier struct {
		Type       string `json:"type"`
		Kind       string `json:"externalIdentifierType"`
		Identifier string `json:"identifier"`
	}
	spdx3Extension struct {
		Type       string          `json:"type"`
		Properties []spdx3Property `json:"extension_cdxProperty"`
	}
	spdx3Property struct {
		Type  string `json:"type"`
		Name  string `json:"extension_cdxPropName"`
		Value string `json:"extension_cdxPropValue"`
	}
)

// Answers to "is that all", in SPDX's words, and individuals of its model.
const (
	spdx3Unsure       = "noAssertion"
	spdx3Complete     = "complete"
	spdx3NoElement    = "NoAssertionElement"
	spdx3NoLicense    = "expandedlicensing_NoAssertionLicense"
	spdx3CreationInfo = "_:creationinfo"
)

// spdx3Writer collects the graph.
type spdx3Writer struct {
	*bill
	space   string // what all ids of the bill begin with
	graph   []any
	ids     []string
	known   map[string]bool
	terms   licences
	creator string
}

func writeSPDX3(b *bill) *spdx3Document {
	w := &spdx3Writer{bill: b, space: "urn:uuid:" + b.id(SPDX301) + "#", known: make(map[string]bool)}
	creator := b.Creator
	creator.Name = cmp.Or(creator.Name, creator.URL, unnamed) // there must be one
	w.creator = w.agent(creator)
	tool := w.put("Tool", "cityward", func(e spdx3Element) any {
		e.Name = "cityward-" + b.Tool
		return e
	})
	host := w.put("Package", hostRef, func(e spdx3Element) any {
		e.Type, e.Name = "software_Package", b.Host.Name
		e.Extensions = extension(properties("cityward:machine:os_name", b.Host.OSName, "cityward:machine:kernel", b.Host.Kernel,
			"cityward:machine:arch", b.Host.Arch, "cityward:machine:virtualization", b.Host.Virtualization, "cityward:machine:platform", b.Host.Platform))
		return spdx3Artifact{spdx3Element: e, Purpose: "device", Version: b.Host.OSVersion, Supplied: w.creator}
	})
	var contained []string
	for i := range b.Components {
		contained = append(contained, w.component(&b.Components[i]))
	}
	all := spdx3Unsure
	if b.Incomplete || b.Running {
		all = incomplete
	}
	w.relate(host, "contains", all, contained...)
	w.licences()
	for _, note := range append(slices.Clip(b.Notes), b.completeness()...) {
		w.put("Annotation", note, func(e spdx3Element) any { return spdx3Annotation{e, "other", host, note} })
	}
	profiles := []string{"core", "software", "simpleLicensing", "expandedLicensing", "extension"}
	elements := w.ids
	bom := w.put("Sbom", "sbom", func(e spdx3Element) any {
		e.Type, e.Name = "software_Sbom", b.title()
		return spdx3Collection{spdx3Element: e, Profiles: profiles, Roots: []string{host}, Elements: elements, Kinds: []string{"deployed", "runtime"}}
	})
	w.put("SpdxDocument", "document", func(e spdx3Element) any {
		e.Name = b.title()
		return spdx3Collection{spdx3Element: e, Profiles: profiles, Roots: []string{bom}, DataLicense: "https://spdx.org/licenses/CC0-1.0"}
	})
	creation := spdx3Creation{"CreationInfo", spdx3CreationInfo, "3.0.1", b.created(), []string{w.creator}, []string{tool}}
	return &spdx3Document{spdx3Context, append([]any{creation}, w.graph...)}
}

// put adds an element, once, and gives its id.
func (w *spdx3Writer) put(kind, ref string, element func(spdx3Element) any) string {
	id := w.space + elementID(kind, ref)
	if w.known[id] {
		return id
	}
	w.known[id] = true
	w.graph = append(w.graph, element(spdx3Element{Type: kind, ID: id, Creation: spdx3CreationInfo}))
	w.ids = append(w.ids, id)
	return id
}

// relate joins elements. The relationship has no name of its own.
func (w *spdx3Writer) relate(from, relation, completeness string, to ...string) {
	if len(to) == 0 {
		return
	}
	w.put("Relationship", relation+fingerprint(from), func(e spdx3Element) any {
		return spdx3Relationship{e, from, relation, to, completeness}
	})
}

// agent gives "" for a party without a name. It may be a person or an
// organisation, so it is called neither.
func (w *spdx3Writer) agent(p party) string {
	if p.Name == "" {
		return ""
	}
	return w.put("Agent", p.Name+" "+p.Email+" "+p.URL, func(e spdx3Element) any {
		e.Name = p.Name
		switch {
		case p.Email != "":
			e.Identifiers = []spdx3Identifier{{"ExternalIdentifier", "email", p.Email}}
		case p.URL != "":
			e.Identifiers = []spdx3Identifier{{"ExternalIdentifier", "urlScheme", p.URL}}
		}
		return e
	})
}

func extension(properties []cdxProperty) []spdx3Extension {
	if len(properties) == 0 {
		return nil
	}
	x := spdx3Extension{Type: "extension_CdxPropertiesExtension"}
	for _, p := range properties {
		x.Properties = append(x.Properties, spdx3Property{"extension_CdxPropertyEntry", p.Name, p.Value})
	}
	return []spdx3Extension{x}
}

func (w *spdx3Writer) component(c *component) string {
	supplier := w.agent(c.Supplier)
	id := w.put("Package", c.Ref, func(e spdx3Element) any {
		e.Type, e.Name = "software_Package", c.Name
		e.Extensions = extension(w.properties(c))
		if c.PURL != "" {
			e.Identifiers = []spdx3Identifier{{"ExternalIdentifier", "packageUrl", c.PURL}}
		}
		p := spdx3Artifact{spdx3Element: e, Supplied: supplier, Purpose: c.Kind, Version: c.Version, PURL: c.PURL}
		if supplier != "" && (c.Supplier.Email != "" || c.Supplier.URL != "") {
			p.Originated = []string{supplier} // BSI TR-03183-2, section 5.2.2: who maintains it, by an address
		}
		if c.Source != "" {
			p.SourceInfo = "built from " + c.Source
		}
		return p
	})
	w.files(c, id)
	var needs []string
	for _, ref := range c.Depends {
		needs = append(needs, w.space+elementID("Package", ref))
	}
	switch {
	case !c.Stated:
		w.relate(id, "dependsOn", spdx3Unsure, spdx3NoElement)
	case len(needs) == 0:
		w.relate(id, "dependsOn", incomplete, spdx3NoElement)
	default:
		w.relate(id, "dependsOn", incomplete, needs...)
	}
	concluded, declared := w.terms.of(c)
	w.licensed(id, "hasConcludedLicense", concluded)
	w.licensed(id, "hasDeclaredLicense", declared)
	return id
}

// licensed joins a component to an expression, or says that none is known.
func (w *spdx3Writer) licensed(id, relation, expression string) {
	if expression == "" {
		w.relate(id, relation, spdx3Unsure, spdx3NoLicense)
		return
	}
	w.relate(id, relation, spdx3Complete, w.expression(expression))
}

func (w *spdx3Writer) properties(c *component) []cdxProperty {
	all := properties("cityward:ecosystem", c.Ecosystem, "cityward:arch", c.Arch, "cityward:area", c.Area, "cityward:origin", c.Origin,
		"cityward:licence:freedom", c.Freedom, "cityward:licence:source", c.Terms)
	if c.Times > 1 {
		all = append(all, cdxProperty{"cityward:times", strconv.Itoa(c.Times)})
	}
	for _, program := range c.Programs {
		all = append(all, cdxProperty{"cityward:program", program})
	}
	for _, place := range c.Places {
		all = append(all, cdxProperty{"cityward:occurrence", place})
	}
	return all
}

// files lists those of a component. That which the component was delivered as is
// its distribution artifact; the others are contained.
func (w *spdx3Writer) files(c *component, id string) {
	var whole, parts []string
	for i := range c.Files {
		f := &c.Files[i]
		ref := w.put("File", f.Ref, func(e spdx3Element) any {
			// In the comment, the words that BSI TR-03183-2 asks for, section 8.2.
			e.Type, e.Name = "software_File", f.Name
			e.Comment = "software_additionalPurpose field is used to indicate the properties of BSI TR-03183-2"
			if f.SHA512 != "" {
				e.Verified = []spdx3Hash{{"Hash", "sha512", f.SHA512}}
			}
			return spdx3Artifact{spdx3Element: e, FileKind: "file", Purposes: f.purposes()}
		})
		if f.Whole {
			whole = append(whole, ref)
		} else {
			parts = append(parts, ref)
		}
	}
	w.relate(id, "hasDistributionArtifact", spdx3Complete, whole...)
	w.relate(id, "contains", incomplete, parts...)
}

// purposes is BSI's way to say executable, archive, structured and unstructured.
func (f *file) purposes() []string {
	var all []string
	if f.Executable {
		all = append(all, "executable")
	}
	if f.Archive {
		return append(all, "archive", "container")
	}
	return append(all, "firmware")
}

// expression gives the element of an expression.
func (w *spdx3Writer) expression(text string) string {
	return w.put("License", text, func(e spdx3Element) any {
		doc := spdx3Expression{spdx3Element: e, Expression: text}
		doc.Type = "simplelicensing_LicenseExpression"
		refs, _ := validExpression(text)
		slices.Sort(refs)
		for _, ref := range slices.Compact(refs) {
			doc.Custom = append(doc.Custom, spdx3Entry{"DictionaryEntry", ref, w.space + elementID("CustomLicense", ref)})
		}
		return doc
	})
}

// licences defines the ids that are not on SPDX's list.
func (w *spdx3Writer) licences() {
	for _, l := range w.terms.all {
		w.put("CustomLicense", l.ID, func(e spdx3Element) any {
			e.Type, e.Name = "expandedlicensing_CustomLicense", l.Name
			return spdx3License{e, l.Text}
		})
	}
}
