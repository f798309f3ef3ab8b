package host

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"testing"
	"time"
)

// Nothing of a process that ends while it is read may look denied: denied is a
// gap, ended is not.
func TestEndedIsNotDenied(t *testing.T) {
	h, err := Open("/", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	proc, err := h.OpenProc()
	if err != nil {
		t.Fatal(err)
	}
	defer proc.Close()
	reads, gone := 0, 0
	for range 150 {
		child := exec.Command("/bin/true")
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		reaped := make(chan error, 1)
		go func() { reaped <- child.Wait() }()
		for ended := false; !ended; {
			for _, name := range []string{"ns/net", "fd/0", "exe"} {
				_, err := proc.Readlink(child.Process.Pid, name)
				reads++
				if errors.Is(err, fs.ErrPermission) && os.Geteuid() == 0 {
					t.Fatalf("%v of a process that ends", err)
				}
				if Gone(err) {
					gone++
				}
			}
			select {
			case err := <-reaped:
				if ended = true; err != nil {
					t.Fatal(err)
				}
			default:
			}
		}
	}
	if gone == 0 || gone == reads {
		t.Errorf("of %d reads %d found nothing: the end was not tried", reads, gone)
	}
}

func TestExiting(t *testing.T) {
	for flags, want := range map[uint64]bool{0x400100: false, 0x40010c: true} { // PF_EXITING is 4; 8 is PF_POSTCOREDUMP
		if s := (Stat{Flags: flags}); s.Exiting() != want {
			t.Errorf("flags %#x: exiting %v", flags, s.Exiting())
		}
	}
}
