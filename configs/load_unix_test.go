//go:build unix

package configs

import (
	"path/filepath"
	"syscall"
	"testing"
)

// TestLoadFIFO: opening one would wait for a writer.
func TestLoadFIFO(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(fifo); err == nil {
		t.Error("a FIFO is read")
	}
}
