package main

import (
	"io"

	"github.com/schollz/progressbar/v3"
)

// progress is a bar on a terminal, and nothing elsewhere.
type progress struct{ bar *progressbar.ProgressBar }

func newProgress(w io.Writer) *progress {
	if !terminal(w) {
		return &progress{}
	}
	return &progress{progressbar.NewOptions(1,
		progressbar.OptionSetWriter(w), progressbar.OptionSetWidth(30), progressbar.OptionClearOnFinish(),
		progressbar.OptionSetDescription("looking"),
	)}
}

// show is called before each step; a bar that cannot be drawn is no reason to
// stop.
func (p *progress) show(name string, done, total int) {
	if p.bar == nil {
		return
	}
	p.bar.ChangeMax(total + 1) // the last step is not the end: clearing is
	p.bar.Describe(name)
	_ = p.bar.Set(done)
}

func (p *progress) close() {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
}
