package host

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A container may make devices, and opening some of them does things. inotify(7)
// tells of each opening, and says nothing of a descriptor that only names a file.
func TestOpensNoDeviceOfAnotherRoot(t *testing.T) {
	root := t.TempDir()
	if err := unix.Mkfifo(filepath.Join(root, "os-release"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "file"), []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	h, err := Open(root, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	watch, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(watch)
	if _, err := unix.InotifyAddWatch(watch, filepath.Join(root, "os-release"), unix.IN_OPEN); err != nil {
		t.Fatal(err)
	}
	if _, err := h.ReadFile("/os-release", 100); !errors.Is(err, ErrIrregular) {
		t.Errorf("a FIFO gives %v", err)
	}
	if n, err := unix.Read(watch, make([]byte, 4096)); !errors.Is(err, unix.EAGAIN) {
		t.Errorf("it was opened: %d bytes of events, %v", n, err)
	}
	if text, err := h.ReadFile("/file", 100); err != nil || string(text) != "text" {
		t.Errorf("a regular file gives %q, %v", text, err)
	}
}
