package custody

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cityward/collectors/internal/host"
	"cityward/configs"
)

// A kernel that has FUSE, or does not say, makes the capture incomplete.
func TestServed(t *testing.T) {
	for name, test := range map[string]struct{ list, want string }{
		"loaded":   {"nodev\tsysfs\n\text4\nnodev\tfuse\n\tfuseblk\n", "(FUSE)"},
		"not":      {"nodev\tsysfs\n\text4\nnodev\tfusectl\n", ""},
		"not said": {"", "not known"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if test.list != "" {
				if err := os.Mkdir(filepath.Join(dir, "proc"), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, "proc", "filesystems"), []byte(test.list), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			h, err := host.Open(dir, noon)
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			r := &round{Collector: New(h, &configs.Config{}, nil)}
			if got := r.served(); !strings.Contains(got, test.want) || test.want == "" && got != "" {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
