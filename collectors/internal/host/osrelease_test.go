package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseOSRelease(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want OSRelease
	}{
		"nothing":   {"", OSRelease{"linux", "", "Linux"}},
		"unquoted":  {"ID=alpine\nVERSION_ID=3.21.0\n", OSRelease{"alpine", "3.21.0", "Linux"}},
		"quoted":    {"# comment\nID='rocky'\nPRETTY_NAME=\"Rocky \\\"9\\\" \\$x\"\n", OSRelease{"rocky", "", `Rocky "9" $x`}},
		"no break":  {"ID=debian", OSRelease{"debian", "", "Linux"}},
		"half open": {"ID=\"debian\nID\n=x\n", OSRelease{`"debian`, "", "Linux"}},
		"control":   {"PRETTY_NAME=\"a\x1b[31m\"\n", OSRelease{"linux", "", "a\uFFFD[31m"}},
	} {
		if got := ParseOSRelease([]byte(test.text)); got != test.want {
			t.Errorf("%s: got %+v, want %+v", name, got, test.want)
		}
	}
}

func FuzzOSRelease(f *testing.F) {
	files, err := filepath.Glob("../../machine/testdata/*/usr/lib/os-release")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		release := ParseOSRelease(data)
		for _, text := range []string{release.ID, release.VersionID, release.PrettyName} {
			if len(text) > 256 || strings.ToValidUTF8(text, "") != text || strings.ContainsAny(text, "\n\x00\x1b") {
				t.Errorf("%q is not fit to show", text)
			}
		}
	})
}
