package flow

import (
	"context"
	"errors"
	"io/fs"
	"strconv"
	"time"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

// holders finds the programs behind sockets by the descriptors in /proc/PID/fd.
//
// Several executions may hold one socket: a parent and the child it forked, or
// both sides of a passed descriptor. The youngest of them when the socket is
// first seen counts (a server's worker rather than the server, a service rather
// than the manager that opened its socket), for as long as it holds it.
//
// A descriptor that was found once is looked at again directly; all processes
// are gone through only when some socket has no known holder.
type holders struct {
	host   *host.Host
	known  map[uint64]holder // by inode
	unheld map[uint64]absence
	denied int  // processes whose descriptors could not be listed in the last pass
	doubt  bool // and any of them but the first could serve a listener of another
}

// holder is one descriptor of one execution.
type holder struct {
	id     inventory.Execution
	fd     string // PID/fd/N
	shared bool   // others held the socket, too, or may have, when it was found
}

// first is the process that starts services. It keeps listeners that it has given
// to one, see systemd.socket(5), but does not serve them itself then.
const first = 1

// absence remembers a socket that nobody was found to hold. Kernel services
// (NFS) and processes that cannot be read own such, so after the second pass
// (the first may have come just before the descriptor) it starts none for a time.
type absence struct {
	passes int
	last   time.Time
}

const absenceLife = time.Minute

// resolve finds the holders of the wanted sockets. started gives the processes
// of this round.
func (h *holders) resolve(ctx context.Context, want map[uint64]bool, processes []inventory.Process) error {
	proc, err := h.host.OpenProc()
	if err != nil {
		return err
	}
	defer proc.Close()
	now := h.host.Now()
	started := make(map[int]*inventory.Process, len(processes))
	for i := range processes {
		started[processes[i].ID.PID] = &processes[i]
	}
	known := make(map[uint64]holder, len(want))
	unheld := make(map[uint64]absence)
	search := false
	for inode := range want {
		if old, ok := h.known[inode]; ok && started[old.id.PID] != nil && started[old.id.PID].ID == old.id && leadsTo(proc, old, inode) {
			known[inode] = old
			continue
		}
		missing := h.unheld[inode]
		if missing.passes < 2 || now.Sub(missing.last) > absenceLife {
			search = true
		}
		unheld[inode] = missing
	}
	h.known, h.unheld = known, unheld
	if !search {
		return nil
	}
	if err := h.search(ctx, proc, started); err != nil {
		return err
	}
	for inode, missing := range h.unheld {
		if found, held := h.known[inode]; held {
			found.shared = found.shared || h.doubt
			h.known[inode] = found
			delete(h.unheld, inode)
			continue
		}
		h.unheld[inode] = absence{missing.passes + 1, now}
	}
	return nil
}

func leadsTo(proc *host.Proc, h holder, inode uint64) bool {
	link, err := proc.ReadlinkAt(h.fd)
	if err != nil {
		return false
	}
	got, err := host.ParseMagic(link, "socket")
	return err == nil && got == inode
}

// search goes through the descriptors of all processes for those still unheld.
func (h *holders) search(ctx context.Context, proc *host.Proc, started map[int]*inventory.Process) error {
	pids, err := h.host.PIDs()
	if err != nil {
		return err
	}
	h.denied, h.doubt = 0, false
	var fds []int
	for _, pid := range pids {
		if err := ctx.Err(); err != nil {
			return err
		}
		if p := started[pid]; p != nil && p.Kernel {
			continue
		}
		from := pid
		fds, err = proc.Numbers(pid, "fd", fds[:0])
		if len(fds) == 0 && err == nil {
			if from = proc.LiveThread(pid); from != pid {
				fds, err = proc.Numbers(from, "fd", fds[:0])
			}
		}
		if err == nil {
			err = h.claim(proc, pid, from, fds)
		}
		if errors.Is(err, fs.ErrPermission) {
			h.denied++
			h.doubt = h.doubt || pid != first
		}
	}
	return nil
}

// claim notes the sockets among the descriptors of one process. Where one may
// not be read, none may.
func (h *holders) claim(proc *host.Proc, pid, from int, fds []int) error {
	var id inventory.Execution
	prefix := strconv.Itoa(from) + "/fd/"
	for _, fd := range fds {
		name := prefix + strconv.Itoa(fd)
		link, err := proc.ReadlinkAt(name)
		if errors.Is(err, fs.ErrPermission) {
			return err
		}
		if err != nil || len(link) == 0 || link[0] != 's' {
			continue
		}
		inode, err := host.ParseMagic(link, "socket")
		if err != nil {
			continue
		}
		if _, wanted := h.unheld[inode]; !wanted {
			continue
		}
		if id.PID == 0 { // after the descriptors, so that the id is theirs
			stat, err := proc.ReadStat(pid)
			if err != nil {
				return err
			}
			id = inventory.Execution{PID: pid, Start: stat.Start}
		}
		old, held := h.known[inode]
		found := holder{id: id, fd: name}
		if held {
			found.shared = old.shared || old.id != id && old.id.PID != first && pid != first
		}
		if held && !younger(id, old.id) {
			found.id, found.fd = old.id, old.fd
		}
		h.known[inode] = found
	}
	return nil
}

func younger(a, b inventory.Execution) bool {
	return a.Start > b.Start || a.Start == b.Start && a.PID > b.PID
}

// of gives the execution that holds a socket; zero if none was found.
func (h *holders) of(inode uint64) inventory.Execution { return h.known[inode].id }

// sole gives the execution that holds a socket if it alone did when it was found.
func (h *holders) sole(inode uint64) (inventory.Execution, bool) {
	found, held := h.known[inode]
	return found.id, held && !found.shared
}

// forget makes the next pass go through all processes again.
func (h *holders) forget() { clear(h.known) }
