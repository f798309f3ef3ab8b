package host

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A unit with RestrictSUIDSGID= is refused openat2(2), by such a filter. The gap
// names what an operator can change.
func TestRefusedOpenat2NamesTheDirective(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := Open(dir, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Stat("/file"); err != nil {
		t.Fatal(err)
	}
	failed := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its filter
		if err := refuse(unix.SYS_OPENAT2); err != nil {
			t.Error(err)
		}
		_, err := h.Stat("/file")
		failed <- err
	}()
	if err := <-failed; !errors.Is(err, unix.ENOSYS) || !strings.Contains(Cause(err), "RestrictSUIDSGID") {
		t.Errorf("error %v", err)
	}
}

// refuse installs a filter, seccomp(2), by which a call is as if the kernel did not
// have it, for this thread.
func refuse(call uint32) error {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // the call's number
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: call, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ERRNO | uint32(unix.ENOSYS)},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, 0, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return errno
	}
	return nil
}
