package dpkg

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"cityward/collectors/internal/licence"
)

// BenchmarkLicences reads this machine's packages with their licences: cold, after
// a restart, when what texts say is kept, and beside that the mere reading of the
// files as the baseline. Other work on the machine does not count in cpu-ms.
func BenchmarkLicences(b *testing.B) {
	cpu := func() float64 {
		var use unix.Rusage
		if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
			b.Fatal(err)
		}
		return float64(use.Utime.Nano()+use.Stime.Nano()) / 1e6
	}
	measure := func(name string, work func(b *testing.B)) {
		b.Run(name, func(b *testing.B) {
			before := cpu()
			for b.Loop() {
				work(b)
			}
			b.ReportMetric((cpu()-before)/float64(b.N), "cpu-ms/op")
		})
	}
	h := open(b, "/")
	dir := b.TempDir()
	measure("baseline", func(b *testing.B) {
		files, err := filepath.Glob(dirDoc + "/*/copyright")
		if err != nil {
			b.Fatal(err)
		}
		for _, file := range files {
			f, err := os.Open(file)
			if err != nil {
				continue // a link to what is not installed
			}
			if _, err := io.Copy(io.Discard, f); err != nil {
				b.Fatal(err)
			}
			_ = f.Close()
		}
	})
	measure("cold", func(b *testing.B) {
		texts := licence.New("")
		facts := collect(b, New(h, texts), debian())
		if err := texts.Rest(); err != nil {
			b.Fatal(err)
		}
		with := 0
		for i := range facts.Components {
			if facts.Components[i].Licence.Expression != "" {
				with++
			}
		}
		b.ReportMetric(100*float64(with)/float64(max(len(facts.Components), 1)), "%-with-expression")
	})
	kept := licence.New(dir)
	collect(b, New(h, kept), debian())
	if err := kept.Rest(); err != nil {
		b.Fatal(err)
	}
	measure("restart", func(b *testing.B) { collect(b, New(h, licence.New(dir)), debian()) })
}
