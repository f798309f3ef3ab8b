package kernel

import (
	"errors"
	"fmt"
	"os"
)

// files does one thing after another with files, as the generator.
func files(job []string) error {
	for len(job) > 0 {
		do, n := fileJob(job[0])
		if do == nil || len(job) <= n {
			return fmt.Errorf("no such job with files: %q", job)
		}
		if err := do(job[1 : 1+n]); err != nil {
			return fmt.Errorf("%s: %w", job[0], err)
		}
		job = job[1+n:]
	}
	return nil
}

// fileJob gives what is done by that name, and how many words it takes.
func fileJob(name string) (func([]string) error, int) {
	switch name {
	case "read":
		return func(p []string) error { _, err := os.ReadFile(p[0]); return err }, 1
	case "list":
		return func(p []string) error { _, err := os.ReadDir(p[0]); return err }, 1
	case "copy":
		return func(p []string) error {
			data, err := os.ReadFile(p[0])
			return errors.Join(err, os.WriteFile(p[1], data, 0o600))
		}, 2
	case "move":
		return func(p []string) error { return os.Rename(p[0], p[1]) }, 2
	case "link":
		return func(p []string) error { return os.Link(p[0], p[1]) }, 2
	case "write":
		return func(p []string) error { return os.WriteFile(p[0], []byte("nothing of anybody\n"), 0o600) }, 1
	}
	return nil, 0
}
