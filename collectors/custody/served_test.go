package custody

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/kernel"
	"cityward/configs"
)

// A kernel that has FUSE, or does not say, makes the capture incomplete where nobody
// follows it, and one that serves mounts by io_uring where somebody does.
func TestServed(t *testing.T) {
	const list, switched = "proc/filesystems", "sys/module/fuse/parameters/enable_uring"
	for name, test := range map[string]struct {
		file, content, want string
		say                 func(*round) string
	}{
		"loaded":         {list, "nodev\tsysfs\n\text4\nnodev\tfuse\n\tfuseblk\n", "(FUSE)", (*round).served},
		"not":            {list, "nodev\tsysfs\n\text4\nnodev\tfusectl\n", "", (*round).served},
		"not said":       {"", "", "not known", (*round).served},
		"by io_uring":    {switched, "Y\n", "io_uring", (*round).servedByRing},
		"by calls":       {switched, "N\n", "", (*round).servedByRing},
		"older":          {"", "", "", (*round).servedByRing},
		"not to be told": {switched + "/is/a/directory", "", "not known", (*round).servedByRing},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if test.file != "" {
				file := filepath.Join(dir, test.file)
				if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(file, []byte(test.content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			h, err := host.Open(dir, noon)
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			r := &round{Collector: New(h, &configs.Config{}, kernel.Refused(errors.New("nobody follows")))}
			if got := test.say(r); !strings.Contains(got, test.want) || test.want == "" && got != "" {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
