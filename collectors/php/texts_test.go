package php

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"cityward/collectors/internal/licence"
	"cityward/collectors/inventory"
)

// texts is for all tests, since to load patterns takes a second.
var texts = licence.New("")

func lay(t *testing.T, root, file, text string) {
	t.Helper()
	file = filepath.Join(root, file)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// What the description does not say, the text beside the package says.
func TestText(t *testing.T) {
	root := t.TempDir()
	for file, text := range map[string]string{
		"usr/share/acme/vendor/composer/installed.json": `{"packages":[{"name":"city/acme","version":"1.0"}]}`,
		"usr/share/acme/vendor/city/acme/LICENSE":       isc,
	} {
		lay(t, root, file, text)
	}
	facts := collect(t, at(t, root), &inventory.Facts{})
	want := inventory.Licence{Expression: "ISC", Source: licence.SourceText, Freedom: inventory.Free}
	if len(facts.Components) != 1 || facts.Components[0].Licence != want {
		t.Errorf("got %+v, %+v", facts.Components, facts.Gaps)
	}
}

// What the description says does not stand against the text beside the package.
func TestTextAgainstIt(t *testing.T) {
	const clause = "\"Commons Clause\" License Condition v1.0\n\nThe Software is provided to you by the Licensor under the License, as defined below, subject to the following condition.\n"
	root := t.TempDir()
	const vendor = "usr/share/acme/vendor/"
	for file, text := range map[string]string{
		vendor + "composer/installed.json": `{"packages":[{"name":"city/either","version":"1.0","license":["MIT","Apache-2.0"]},
			{"name":"city/offered","version":"1.0","license":["MIT"]},{"name":"city/plain","version":"1.0","license":["MIT"]}]}`,
		vendor + "city/either/LICENSE":  clause,
		vendor + "city/offered/LICENSE": isc,
		vendor + "city/plain/LICENSE":   clause,
	} {
		lay(t, root, file, text)
	}
	facts := collect(t, at(t, root), &inventory.Facts{})
	free := make(map[string]inventory.Freedom)
	for _, c := range facts.Components {
		free[c.Name] = c.Licence.Freedom
	}
	want := map[string]inventory.Freedom{"city/either": inventory.FreedomUnknown, "city/offered": inventory.Free, "city/plain": inventory.FreedomUnknown}
	if !maps.Equal(free, want) {
		t.Errorf("got %+v, %+v", facts.Components, facts.Gaps)
	}
}

const isc = `Permission to use, copy, modify, and/or distribute this software for any purpose with or without fee is hereby granted, provided that the above copyright notice and this permission notice appear in all copies.
THE SOFTWARE IS PROVIDED "AS IS" AND THE AUTHOR DISCLAIMS ALL WARRANTIES WITH REGARD TO THIS SOFTWARE INCLUDING ALL IMPLIED WARRANTIES OF MERCHANTABILITY AND FITNESS. IN NO EVENT SHALL THE AUTHOR BE LIABLE FOR ANY SPECIAL, DIRECT, INDIRECT, OR CONSEQUENTIAL DAMAGES OR ANY DAMAGES WHATSOEVER RESULTING FROM LOSS OF USE, DATA OR PROFITS, WHETHER IN AN ACTION OF CONTRACT, NEGLIGENCE OR OTHER TORTIOUS ACTION, ARISING OUT OF OR IN CONNECTION WITH THE USE OR PERFORMANCE OF THIS SOFTWARE.
`
