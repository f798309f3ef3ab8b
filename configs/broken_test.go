package configs

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// today is the day of all tests.
func today() time.Time { return time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC) }

// TestBroken reads files with mistakes and compares what is said about them
// with the file of the same name that ends in .err.
func TestBroken(t *testing.T) {
	files, err := filepath.Glob("testdata/broken/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatal("no files", err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			cfg, waivers := (*Config)(nil), []Waiver(nil)
			if strings.HasPrefix(name, "waivers") {
				waivers, err = ParseWaivers(name, data, today())
			} else {
				cfg, err = Parse(name, data)
			}
			if cfg != nil || waivers != nil {
				t.Error("a broken file gives something")
			}
			var all Errors
			if !errors.As(err, &all) || len(all) == 0 {
				t.Fatalf("got %v, want Errors", err)
			}
			golden := strings.TrimSuffix(file, ".toml") + ".err"
			got := all.Error() + "\n"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("got\n%swant\n%s", got, want)
			}
			if one := (Error{}); !errors.As(err, &one) && !errors.As(error(all), &one) {
				t.Error("errors.As finds no Error")
			}
		})
	}
}
