package custody

import (
	"context"
	"os"
	"slices"
	"strconv"
	"syscall"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

// direct looks into every program but this one.
func (r *round) direct(ctx context.Context) error {
	r.gap("", inventory.CaptureOpens, sampled, 0)
	proc, err := r.host.OpenProc()
	if err != nil {
		return err
	}
	defer proc.Close()
	r.files = r.newFiles(proc)
	if len(r.files.places) == 0 {
		return nil
	}
	if r.self != 0 {
		if deaf := canary(proc, r.self); deaf != "" {
			r.gap("", "the agent's own file", deaf, 0)
		}
	}
	for i := range r.seen.Processes {
		if err := ctx.Err(); err != nil {
			return err
		}
		p := &r.seen.Processes[i]
		if p.Kernel || p.ID.PID == r.self || !p.Ended.IsZero() {
			continue
		}
		r.files.look(p)
	}
	r.files.report()
	return nil
}

// canary opens a file of this process and looks for it as for those of others; it
// says what is wrong if it is not found.
func canary(proc *host.Proc, pid int) string {
	own, err := os.Open("/proc/self/exe")
	if err != nil {
		return err.Error()
	}
	defer own.Close()
	info, err := own.Stat()
	if err != nil {
		return err.Error()
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "its number is not known"
	}
	fds, err := proc.Numbers(pid, "fd", nil)
	if err != nil {
		return err.Error()
	}
	if fd := int(own.Fd()); slices.Contains(fds, fd) {
		file, err := proc.Describe(pid, "fd/"+strconv.Itoa(fd))
		if err == nil && file.Device == st.Dev && file.Inode == st.Ino {
			return ""
		}
	}
	return "it is open and was not found, so open files of others may not be either"
}
