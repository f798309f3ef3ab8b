package sbom

// The parts of CycloneDX 1.6 and 1.7 (ECMA-424) that are used, in the order of
// the specification.
type (
	cdxBOM struct {
		Schema       string           `json:"$schema"`
		Format       string           `json:"bomFormat"`
		Spec         string           `json:"specVersion"`
		Serial       string           `json:"serialNumber"`
		Version      int              `json:"version"`
		Metadata     cdxMetadata      `json:"metadata"`
		Components   []cdxComponent   `json:"components"`
		Services     []cdxService     `json:"services,omitempty"`
		Dependencies []cdxDependency  `json:"dependencies"`
		Compositions []cdxComposition `json:"compositions"`
		Annotations  []cdxAnnotation  `json:"annotations,omitempty"`
	}
	cdxMetadata struct {
		Timestamp    string        `json:"timestamp"`
		Lifecycles   []cdxPhase    `json:"lifecycles"`
		Tools        cdxTools      `json:"tools"`
		Manufacturer *cdxEntity    `json:"manufacturer,omitempty"`
		Component    cdxComponent  `json:"component"`
		Properties   []cdxProperty `json:"properties,omitempty"`
	}
	cdxPhase struct {
		Phase string `json:"phase"`
	}
	cdxTools struct {
		Components []cdxComponent `json:"components"`
	}
	cdxEntity struct {
		Name    string       `json:"name,omitempty"`
		URL     []string     `json:"url,omitempty"`
		Contact []cdxContact `json:"contact,omitempty"`
	}
	cdxContact struct {
		Name  string `json:"name,omitempty"`
		Email string `json:"email,omitempty"`
	}
	cdxComponent struct {
		Type         string         `json:"type"`
		Ref          string         `json:"bom-ref,omitempty"`
		Supplier     *cdxEntity     `json:"supplier,omitempty"`
		Manufacturer *cdxEntity     `json:"manufacturer,omitempty"`
		Name         string         `json:"name"`
		Version      string         `json:"version,omitempty"`
		Licenses     []cdxLicense   `json:"licenses,omitempty"`
		PURL         string         `json:"purl,omitempty"`
		References   []cdxReference `json:"externalReferences,omitempty"`
		Components   []cdxComponent `json:"components,omitempty"`
		Evidence     *cdxEvidence   `json:"evidence,omitempty"`
		Data         []cdxData      `json:"data,omitempty"`
		Properties   []cdxProperty  `json:"properties,omitempty"`
	}
	cdxLicense struct {
		License         *cdxNamed `json:"license,omitempty"`
		Expression      string    `json:"expression,omitempty"`
		Acknowledgement string    `json:"acknowledgement,omitempty"`
	}
	cdxNamed struct {
		Name            string `json:"name"`
		Acknowledgement string `json:"acknowledgement"`
	}
	cdxReference struct {
		URL    string    `json:"url"`
		Type   string    `json:"type"`
		Hashes []cdxHash `json:"hashes,omitempty"`
	}
	cdxHash struct {
		Algorithm string `json:"alg"`
		Content   string `json:"content"`
	}
	cdxEvidence struct {
		Identity    []cdxIdentity   `json:"identity,omitempty"`
		Occurrences []cdxOccurrence `json:"occurrences,omitempty"`
		Licenses    []cdxLicense    `json:"licenses,omitempty"`
	}
	cdxIdentity struct {
		Field      string      `json:"field"`
		Confidence float64     `json:"confidence"`
		Value      string      `json:"concludedValue"`
		Methods    []cdxMethod `json:"methods"`
	}
	cdxMethod struct {
		Technique  string  `json:"technique"`
		Confidence float64 `json:"confidence"`
		Value      string  `json:"value"`
	}
	cdxOccurrence struct {
		Location string `json:"location"`
	}
	cdxData struct {
		Type           string         `json:"type"`
		Name           string         `json:"name"`
		Classification string         `json:"classification"`
		Governance     *cdxGovernance `json:"governance,omitempty"`
	}
	cdxGovernance struct {
		Custodians []cdxResponsible `json:"custodians,omitempty"`
		Stewards   []cdxResponsible `json:"stewards,omitempty"`
		Owners     []cdxResponsible `json:"owners,omitempty"`
	}
	cdxResponsible struct {
		Organization cdxEntity `json:"organization"`
	}
	cdxProperty struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	cdxService struct {
		Ref        string        `json:"bom-ref"`
		Provider   *cdxEntity    `json:"provider,omitempty"`
		Name       string        `json:"name"`
		Endpoints  []string      `json:"endpoints,omitempty"`
		Crosses    *bool         `json:"x-trust-boundary,omitempty"`
		Data       []cdxTraffic  `json:"data,omitempty"`
		Properties []cdxProperty `json:"properties,omitempty"`
	}
	cdxTraffic struct {
		Flow           string         `json:"flow"`
		Classification string         `json:"classification"`
		Name           string         `json:"name"`
		Description    string         `json:"description,omitempty"`
		Governance     *cdxGovernance `json:"governance,omitempty"`
		Source         []string       `json:"source,omitempty"`
		Destination    []string       `json:"destination,omitempty"`
	}
	cdxDependency struct {
		Ref       string   `json:"ref"`
		DependsOn []string `json:"dependsOn,omitempty"`
	}
	cdxComposition struct {
		Aggregate    string   `json:"aggregate"`
		Assemblies   []string `json:"assemblies,omitempty"`
		Dependencies []string `json:"dependencies,omitempty"`
	}
	cdxAnnotation struct {
		Subjects  []string     `json:"subjects"`
		Annotator cdxAnnotator `json:"annotator"`
		Timestamp string       `json:"timestamp"`
		Text      string       `json:"text"`
	}
	cdxAnnotator struct {
		Component cdxComponent `json:"component"`
	}
)
