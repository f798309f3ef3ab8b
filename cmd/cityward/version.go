package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"cityward/collectors"
)

// build is what the Go toolchain stamped into the binary.
type build struct{ version, revision, goVersion string }

func buildInfo() build {
	b := build{version: "unknown", revision: "unknown", goVersion: "unknown"}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.version, b.goVersion = cmp.Or(info.Main.Version, b.version), info.GoVersion
	modified := ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.revision = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				modified = "+modified"
			}
		}
	}
	b.revision += modified
	return b
}

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show version, revision and Go version",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b := buildInfo()
			tier := "BPF tier not compiled in"
			if collectors.KernelTier() {
				tier = "BPF tier for " + runtime.GOARCH
			}
			_, err := fmt.Fprintf(p.stdout, "cityward %s (revision %s, %s, %s)\n", b.version, b.revision, b.goVersion, tier)
			return err
		},
	}
}
