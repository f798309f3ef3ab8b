package sbom

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/mail"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/dlclark/regexp2"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// ecma is a regular expression with look-ahead, as the schema of SPDX 3.0.1 has
// them.
type ecma struct{ *regexp2.Regexp }

func (e ecma) MatchString(text string) bool {
	ok, err := e.Regexp.MatchString(text)
	return err == nil && ok
}

func compileECMA(text string) (jsonschema.Regexp, error) {
	e, err := regexp2.Compile(text, regexp2.ECMAScript)
	return ecma{e}, err
}

// compiled has each schema once: those of CycloneDX are large.
var compiled = struct {
	sync.Mutex
	known map[string]*jsonschema.Schema
}{known: make(map[string]*jsonschema.Schema)}

// schema gives the official schema of a format.
func schema(t testing.TB, format string) *jsonschema.Schema {
	t.Helper()
	compiled.Lock()
	defer compiled.Unlock()
	if s, ok := compiled.known[format]; ok {
		return s
	}
	c := jsonschema.NewCompiler()
	c.UseRegexpEngine(compileECMA)
	c.AssertFormat()
	c.RegisterFormat(&jsonschema.Format{Name: "iri-reference", Validate: func(v any) error {
		text, ok := v.(string)
		if !ok {
			return nil
		}
		if strings.ContainsAny(text, " \"<>\\^`{|}") {
			return errors.New("a character that no IRI has")
		}
		_, err := url.Parse(text)
		return err
	}})
	c.RegisterFormat(&jsonschema.Format{Name: "idn-email", Validate: func(v any) error {
		text, ok := v.(string)
		if !ok {
			return nil
		}
		_, err := mail.ParseAddress(text)
		return err
	}})
	add := func(address, file string) {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.AddResource(address, doc); err != nil {
			t.Fatal(err)
		}
	}
	const cyclonedx = "http://cyclonedx.org/schema/"
	var address string
	switch format {
	case CycloneDX16, CycloneDX17:
		dir := filepath.Join(module(t, "github.com/CycloneDX/cyclonedx-go"), "schema")
		address = cyclonedx + strings.Replace(format, "cyclonedx-", "bom-", 1) + ".schema.json"
		add(address, filepath.Join(dir, filepath.Base(address)))
		add(cyclonedx+"spdx.schema.json", filepath.Join(dir, "spdx.schema.json"))
		add(cyclonedx+"jsf-0.82.schema.json", filepath.Join(dir, "jsf-0.82.schemax.json"))
		add(cyclonedx+"cryptography-defs.schema.json", "testdata/schema/cryptography-defs.schema.json")
	default:
		address = "http://localhost/" + format
		add(address, "testdata/schema/"+format+".schema.json")
	}
	s, err := c.Compile(address)
	if err != nil {
		t.Fatal(err)
	}
	compiled.known[format] = s
	return s
}

// module is where the Go toolchain keeps a module.
func module(t testing.TB, path string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", path).Output()
	if err != nil {
		t.Fatalf("go list %s: %v", path, err)
	}
	return strings.TrimSpace(string(out))
}

// validate demands that a document is valid, and gives it.
func validate(t testing.TB, format string, document []byte) map[string]any {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema(t, format).Validate(doc); err != nil {
		text := err.Error()
		t.Fatalf("%s is not valid: %s", format, text[:min(len(text), 4000)])
	}
	var plain map[string]any
	if err := json.Unmarshal(document, &plain); err != nil {
		t.Fatal(err)
	}
	return plain
}

// The validator is no rubber stamp: each schema refuses what it must.
func TestSchemasRefuse(t *testing.T) {
	for format, document := range map[string]string{
		CycloneDX16: `{"bomFormat":"CycloneDX","specVersion":"1.6","components":[{"type":"spaceship","name":"x"}]}`,
		CycloneDX17: `{"bomFormat":"CycloneDX","specVersion":"1.7","services":[{"name":"x","endpoints":["a b"]}]}`,
		SPDX23:      `{"spdxVersion":"SPDX-2.3"}`,
		SPDX301:     `{"@context":"https://spdx.org/rdf/3.0.1/spdx-context.jsonld","@graph":[{"type":"Tool","spdxId":"_:blank","creationInfo":"_:c"}]}`,
	} {
		doc, err := jsonschema.UnmarshalJSON(strings.NewReader(document))
		if err != nil {
			t.Fatal(err)
		}
		if schema(t, format).Validate(doc) == nil {
			t.Errorf("%s accepts %s", format, document)
		}
	}
}
