package sbom

import (
	"net/url"
	"strconv"
)

// Answers to "is that all", in CycloneDX's words.
const (
	incomplete = "incomplete"
	unsure     = "unknown"
)

// cdxWriter turns a bill into CycloneDX.
type cdxWriter struct {
	*bill
	spec   string
	serial string
	stores map[string]*store // by ref
}

func writeCycloneDX(b *bill, spec string) *cdxBOM {
	w := &cdxWriter{bill: b, spec: spec, serial: b.id(CycloneDX + "-" + spec), stores: make(map[string]*store)}
	for i := range b.Stores {
		w.stores[b.Stores[i].Ref] = &b.Stores[i]
	}
	doc := &cdxBOM{
		Schema: "http://cyclonedx.org/schema/bom-" + spec + ".schema.json", Format: "CycloneDX", Spec: spec,
		Serial: "urn:uuid:" + w.serial, Version: 1, Metadata: w.metadata(), Components: []cdxComponent{},
	}
	for i := range b.Components {
		doc.Components = append(doc.Components, w.component(&b.Components[i]))
	}
	for i := range b.Stores {
		doc.Components = append(doc.Components, w.store(&b.Stores[i]))
	}
	for i := range b.Services {
		doc.Services = append(doc.Services, w.service(&b.Services[i]))
	}
	doc.Dependencies, doc.Compositions = w.dependencies(), w.compositions()
	writer := cdxAnnotator{cdxComponent{Type: "application", Name: "cityward"}}
	for _, note := range b.Notes {
		doc.Annotations = append(doc.Annotations, cdxAnnotation{[]string{hostRef}, writer, b.created(), note})
	}
	return doc
}

func (w *cdxWriter) metadata() cdxMetadata {
	m := cdxMetadata{
		Timestamp: w.created(), Lifecycles: []cdxPhase{{"operations"}}, Tools: cdxTools{[]cdxComponent{w.tool()}},
		Manufacturer: entity(w.Creator),
		Component: cdxComponent{
			Type: "device", Ref: hostRef, Name: w.Host.Name,
			Properties: properties(
				"cityward:machine:os", w.Host.OS, "cityward:machine:os_name", w.Host.OSName, "cityward:machine:os_version", w.Host.OSVersion,
				"cityward:machine:kernel", w.Host.Kernel, "cityward:machine:arch", w.Host.Arch,
				"cityward:machine:virtualization", w.Host.Virtualization, "cityward:machine:platform", w.Host.Platform,
			),
		},
	}
	scope := "installed"
	if w.Running {
		scope = "running"
	}
	m.Properties = properties("cityward:scope", scope, "cityward:notes", strconv.Itoa(len(w.Notes)))
	return m
}

func (w *cdxWriter) tool() cdxComponent {
	return cdxComponent{Type: "application", Name: "cityward", Version: w.Tool}
}

// entity gives nil for a party of whom nothing is known.
func entity(p party) *cdxEntity {
	if p == (party{}) {
		return nil
	}
	e := &cdxEntity{Name: p.Name}
	if p.URL != "" {
		e.URL = []string{p.URL}
	}
	if p.Email != "" {
		e.Contact = []cdxContact{{Email: p.Email}}
	}
	return e
}

// properties takes names and values in turn; those without a value are left out.
func properties(pairs ...string) []cdxProperty {
	var all []cdxProperty
	for ; len(pairs) >= 2; pairs = pairs[2:] {
		if pairs[1] != "" {
			all = append(all, cdxProperty{pairs[0], pairs[1]})
		}
	}
	return all
}

func (w *cdxWriter) component(c *component) cdxComponent {
	doc := cdxComponent{
		Type: c.Kind, Ref: c.Ref, Supplier: entity(c.Supplier), Name: c.Name, Version: c.Version, PURL: c.PURL,
		Properties: properties(
			"cityward:ecosystem", c.Ecosystem, "cityward:arch", c.Arch, "cityward:source", c.Source, "cityward:area", c.Area, "cityward:origin", c.Origin,
			"cityward:licence:freedom", c.Freedom, "cityward:licence:source", c.Terms,
		),
	}
	if c.Supplier.Email != "" || c.Supplier.URL != "" {
		doc.Manufacturer = doc.Supplier // BSI TR-03183-2, section 5.2.2: who maintains it, by an address
	}
	if !w.Public {
		doc.Properties = append(doc.Properties, cdxProperty{"cityward:running", strconv.FormatBool(c.Running)})
	}
	for _, program := range c.Programs {
		doc.Properties = append(doc.Properties, cdxProperty{"cityward:program", program})
	}
	if c.Times > 1 {
		doc.Properties = append(doc.Properties, cdxProperty{"cityward:times", strconv.Itoa(c.Times)})
	}
	doc.Evidence = evidence(c)
	w.licences(&doc, c)
	for i := range c.Files {
		if f := &c.Files[i]; f.Whole && len(c.Files) == 1 {
			doc.Properties = append(doc.Properties, f.properties()...)
			doc.References = f.references()
		} else {
			doc.Components = append(doc.Components, cdxComponent{
				Type: "file", Ref: f.Ref, Name: f.Name, Version: f.Modified, Properties: f.properties(), References: f.references(),
			})
		}
	}
	return doc
}

// properties are those of BSI's taxonomy.
func (f *file) properties() []cdxProperty {
	yes := func(is bool, yes, no string) string {
		if is {
			return yes
		}
		return no
	}
	return properties(
		"bsi:component:filename", f.Name,
		"bsi:component:executable", yes(f.Executable, "executable", "non-executable"),
		"bsi:component:archive", yes(f.Archive, "archive", "no archive"),
		"bsi:component:structured", yes(f.Archive, "structured", "unstructured"),
	)
}

func (f *file) references() []cdxReference {
	r := cdxReference{URL: fileURI(f.Path), Type: "distribution"}
	if f.SHA512 != "" {
		r.Hashes = []cdxHash{{"SHA-512", f.SHA512}}
	}
	return []cdxReference{r}
}

// evidence says by what the component was known, and where it lies.
func evidence(c *component) *cdxEvidence {
	e := &cdxEvidence{}
	if c.PURL != "" {
		technique := "manifest-analysis"
		if c.Ecosystem == "gobinary" {
			technique = "binary-analysis"
		}
		// Read where the package system wrote it, not guessed.
		e.Identity = []cdxIdentity{{"purl", 1, c.PURL, []cdxMethod{{technique, 1, c.Ecosystem}}}}
	}
	for _, place := range c.Places {
		e.Occurrences = append(e.Occurrences, cdxOccurrence{place})
	}
	if e.Identity == nil && e.Occurrences == nil {
		return nil
	}
	return e
}

// licences tells what was concluded from what the maker wrote. In 1.6 an
// expression stands alone, so the maker's words move to the evidence.
func (w *cdxWriter) licences(doc *cdxComponent, c *component) {
	var declared []cdxLicense
	if c.Declared != "" {
		declared = []cdxLicense{{License: &cdxNamed{c.Declared, "declared"}}}
		if _, ok := validExpression(c.Declared); ok && w.spec != "1.6" && c.Declared == c.Expression {
			declared = []cdxLicense{{Expression: c.Declared, Acknowledgement: "declared"}}
		}
	}
	switch {
	case c.Expression == "":
		doc.Licenses = declared
	case w.spec == "1.6":
		doc.Licenses = []cdxLicense{{Expression: c.Expression, Acknowledgement: "concluded"}}
		if declared != nil {
			if doc.Evidence == nil {
				doc.Evidence = &cdxEvidence{}
			}
			doc.Evidence.Licenses = declared
		}
	default:
		doc.Licenses = append([]cdxLicense{{Expression: c.Expression, Acknowledgement: "concluded"}}, declared...)
	}
}

func (w *cdxWriter) store(s *store) cdxComponent {
	return cdxComponent{
		Type: "data", Ref: s.Ref, Name: s.ID,
		Data:       []cdxData{{"dataset", s.ID, s.Class, s.governance()}},
		Properties: properties("cityward:store:medium", s.Medium, "cityward:store:encrypted", s.Encrypted),
	}
}

func (s *store) governance() *cdxGovernance {
	parties := func(names []string) []cdxResponsible {
		var all []cdxResponsible
		for _, name := range names {
			all = append(all, cdxResponsible{cdxEntity{Name: name}})
		}
		return all
	}
	return &cdxGovernance{parties(s.Custodians), parties(s.Stewards), parties(s.Owners)}
}

func (w *cdxWriter) service(s *service) cdxService {
	doc := cdxService{Ref: s.Ref, Provider: entity(w.Creator), Name: s.Name, Endpoints: s.Endpoints, Crosses: s.Crosses}
	for _, zone := range s.Zones {
		doc.Properties = append(doc.Properties, cdxProperty{"cityward:flow:zone", zone})
	}
	for _, program := range s.Programs {
		doc.Properties = append(doc.Properties, cdxProperty{"cityward:program", program})
	}
	for i := range s.Data {
		t := &s.Data[i]
		d := cdxTraffic{Flow: t.Flow, Classification: t.Class, Name: t.Name, Description: t.Description, Source: t.Sources, Destination: t.Places}
		if from := w.stores[t.Store]; from != nil {
			d.Governance = from.governance()
			d.Source = append([]string{w.link(from.Ref)}, d.Source...)
		}
		doc.Data = append(doc.Data, d)
	}
	return doc
}

// link is a BOM-Link to an element of this bill.
func (w *cdxWriter) link(ref string) string {
	return "urn:cdx:" + w.serial + "/1#" + url.PathEscape(ref)
}

// dependencies lists each component, also those of which nothing is known: the
// compositions tell the difference.
func (w *cdxWriter) dependencies() []cdxDependency {
	root := cdxDependency{Ref: hostRef}
	var all []cdxDependency
	for i := range w.Components {
		c := &w.Components[i]
		root.DependsOn = append(root.DependsOn, c.Ref)
		d := cdxDependency{Ref: c.Ref, DependsOn: append([]string(nil), c.Depends...)}
		for j := range c.Files {
			if f := &c.Files[j]; !f.Whole || len(c.Files) > 1 {
				d.DependsOn = append(d.DependsOn, f.Ref) // contained, which is the same list: BSI TR-03183-2, section 5.2.2
				all = append(all, cdxDependency{Ref: f.Ref})
			}
		}
		all = append(all, d)
	}
	for i := range w.Stores {
		all = append(all, cdxDependency{Ref: w.Stores[i].Ref})
	}
	for i := range w.Services {
		all = append(all, cdxDependency{w.Services[i].Ref, w.Services[i].Uses})
	}
	return append([]cdxDependency{root}, all...)
}

// compositions say how complete each list is. Nothing is ever called complete:
// software that no package system knows may lie anywhere, what a package says it
// needs leaves out what every system has (Debian Policy, section 3.5), and of a
// package's files only those that run are listed.
func (w *cdxWriter) compositions() []cdxComposition {
	machine := cdxComposition{Aggregate: unsure, Assemblies: []string{hostRef}, Dependencies: []string{hostRef}}
	if w.Incomplete || w.Running {
		machine.Aggregate = incomplete
	}
	stated, silent := cdxComposition{Aggregate: incomplete}, cdxComposition{Aggregate: unsure}
	parts := cdxComposition{Aggregate: incomplete}
	for i := range w.Components {
		c := &w.Components[i]
		list := &silent
		if c.Stated {
			list = &stated
		}
		list.Dependencies = append(list.Dependencies, c.Ref)
		if len(c.Files) > 0 {
			parts.Assemblies = append(parts.Assemblies, c.Ref)
		}
	}
	services := cdxComposition{Aggregate: unsure}
	if w.Blind {
		services.Aggregate = incomplete
	}
	for i := range w.Services {
		services.Assemblies = append(services.Assemblies, w.Services[i].Ref)
		services.Dependencies = append(services.Dependencies, w.Services[i].Ref)
	}
	all := []cdxComposition{machine}
	for _, c := range []cdxComposition{stated, silent, parts, services} {
		if len(c.Assemblies)+len(c.Dependencies) > 0 {
			all = append(all, c)
		}
	}
	return all
}
