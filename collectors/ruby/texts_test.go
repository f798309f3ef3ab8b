package ruby

import (
	"os"
	"path/filepath"
	"testing"

	"cityward/collectors/internal/licence"
	"cityward/collectors/inventory"
)

// texts is for all tests, since to load patterns takes a second.
var texts = licence.New("")

// What the description does not say, the text beside the package says.
func TestText(t *testing.T) {
	root := t.TempDir()
	for file, text := range map[string]string{
		"usr/share/gems/specifications/acme-1.0.gemspec": `Gem::Specification.new do |s|
  s.name = "acme".freeze
  s.version = "1.0"
end
`,
		"usr/share/gems/gems/acme-1.0/LICENSE": isc,
	} {
		file = filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	facts := collect(t, at(t, root), &inventory.Facts{})
	want := inventory.Licence{Expression: "ISC", Source: licence.SourceText, Freedom: inventory.Free}
	if len(facts.Components) != 1 || facts.Components[0].Licence != want {
		t.Errorf("got %+v, %+v", facts.Components, facts.Gaps)
	}
}

const isc = `Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted, provided that the above copyright notice and this permission notice appear in all copies.
THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS SOFTWARE INCLUDING ALL IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT, INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE OR PERFORMANCE OF THIS SOFTWARE.
`
