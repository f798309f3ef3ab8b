package flow

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"net/netip"
	"os"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

// namespace is a network namespace, see network_namespaces(7), and the ways
// into it.
type namespace struct {
	id    uint64   // inode number
	own   bool     // the agent is in it
	pids  []int    // its processes
	paths []string // where it is mounted
}

// errVanished says that the last process of a namespace has ended.
var errVanished = errors.New("network namespace vanished")

func (n *namespace) String() string { return fmt.Sprintf("network namespace %d", n.id) }

// view is what was read in one network namespace.
type view struct {
	id        uint64
	sockets   []socket
	locals    []localSocket
	addresses map[netip.Addr]bool
	fromProc  bool          // without byte counts and peers of Unix sockets
	covered   bool          // the ends of its sockets were told since before the last round
	ended     map[ends]bool // where not yet covered: what ended since it began to be told
}

// ends are the two ends of a connection in one namespace.
type ends struct {
	protocol      uint8
	local, remote netip.AddrPort
}

// namespaces finds those of the processes seen, those that are mounted (ip
// netns, container runtimes) and the agent's own, in ascending order. One that
// is kept only by a descriptor, or by a thread that left its process's
// namespace, is not found.
func namespaces(h *host.Host, seen *inventory.Facts) ([]*namespace, error) {
	own, err := ownNamespace(h)
	if err != nil {
		return nil, err
	}
	all := map[uint64]*namespace{own: {id: own, own: true}}
	get := func(id uint64) *namespace {
		if all[id] == nil {
			all[id] = &namespace{id: id}
		}
		return all[id]
	}
	for i := range seen.Processes {
		p := &seen.Processes[i]
		if p.NetNS == 0 {
			continue
		}
		n := get(p.NetNS)
		n.pids = append(n.pids, p.ID.PID)
	}
	mounts, _, err := h.ReadMounts("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("find network namespaces: %w", err)
	}
	for id, path := range mounted(mounts) {
		n := get(id)
		n.paths = append(n.paths, path)
	}
	sorted := make([]*namespace, 0, len(all))
	for _, n := range all {
		sorted = append(sorted, n)
	}
	slices.SortFunc(sorted, func(a, b *namespace) int { return cmp.Compare(a.id, b.id) })
	return sorted, nil
}

func ownNamespace(h *host.Host) (uint64, error) {
	link, err := h.Readlink("/proc/self/ns/net")
	if err != nil {
		return 0, fmt.Errorf("find own network namespace: %w", err)
	}
	id, err := host.ParseMagic([]byte(link), "net")
	if err != nil {
		return 0, fmt.Errorf("find own network namespace: %w", err)
	}
	return id, nil
}

// mounted finds the network namespaces in a mount table by inode number: the
// root of such a mount is net:[INODE], its type nsfs.
func mounted(table *host.MountTable) iter.Seq2[uint64, string] {
	return func(yield func(uint64, string) bool) {
		for i := range table.Mounts {
			m := &table.Mounts[i]
			if m.Type != "nsfs" {
				continue
			}
			if id, err := host.ParseMagic([]byte(m.Root), "net"); err == nil && !yield(id, m.Target) {
				return
			}
		}
	}
}

// open gives a descriptor of the namespace, made sure by its inode number, since
// a process may have ended and a mount may have moved.
func (n *namespace) open() (int, error) {
	denied := errVanished
	for path := range n.doors() {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
		if err == nil {
			var st unix.Stat_t
			if err = unix.Fstat(fd, &st); err == nil && st.Ino == n.id {
				return fd, nil
			}
			unix.Close(fd)
			continue
		}
		if !host.Gone(err) {
			denied = err
		}
	}
	return -1, fmt.Errorf("enter %s: %w", n, denied)
}

// doors gives the paths that lead, or led, into the namespace.
func (n *namespace) doors() iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, path := range n.paths {
			if !yield(path) {
				return
			}
		}
		for _, pid := range n.pids {
			if !yield(fmt.Sprintf("/proc/%d/ns/net", pid)) {
				return
			}
		}
	}
}

// read reads the namespace, in which the calling thread is.
func (n *namespace) read(ctx context.Context, buf []byte, enter func(*namespace, *view)) (view, error) {
	var extra view
	if enter != nil {
		enter(n, &extra)
	}
	v, err := readHere(ctx, buf)
	v.covered = extra.covered
	return v, err
}

// readHere reads the namespace of the calling thread.
func readHere(ctx context.Context, buf []byte) (view, error) {
	var v view
	err := withLink(unix.NETLINK_SOCK_DIAG, buf, func(l *link) (err error) {
		if v.sockets, err = dumpInet(ctx, l); err != nil {
			return err
		}
		v.locals, err = dumpUnix(ctx, l)
		return err
	})
	if err != nil {
		return view{}, err
	}
	err = withLink(unix.NETLINK_ROUTE, buf, func(l *link) (err error) {
		v.addresses, err = dumpAddresses(ctx, l)
		return err
	})
	return v, err
}

// withLink dials for each attempt, so that nothing is left of one that was
// broken off.
func withLink(protocol int, buf []byte, use func(*link) error) error {
	var err error
	for range 3 {
		var l *link
		if l, err = dial(protocol, buf); err != nil {
			return err
		}
		err = use(l)
		l.close()
		if !errors.Is(err, errInterrupted) {
			return err
		}
	}
	return err
}

// readForeign reads namespaces on a thread of its own. Its netlink sockets are
// opened anew in each round: kept open they would keep the namespace of a
// container alive, with its interfaces, after the container's end, and entering
// costs microseconds.
func readForeign(ctx context.Context, spaces []*namespace, buf []byte, enter func(*namespace, *view), done func(*namespace, view, error)) (err error) {
	onSpareThread(func() (clean bool) {
		var home int
		if home, err = unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0); err != nil {
			err = fmt.Errorf("open own network namespace: %w", err)
			return true
		}
		defer unix.Close(home)
		for _, n := range spaces {
			v, err := n.visit(ctx, buf, enter)
			done(n, v, err)
		}
		return unix.Setns(home, unix.CLONE_NEWNET) == nil
	})
	return err
}

// onSpareThread runs work on a thread that nothing else uses meanwhile. One that
// comes back unclean stays locked, and so ends with its goroutine. The main
// thread is never taken: it cannot end, and /proc/self shows its namespaces.
func onSpareThread(work func() (clean bool)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == os.Getpid() {
			onSpareThread(work) // elsewhere, since this goroutine keeps the main thread
			runtime.UnlockOSThread()
			return
		}
		if work() {
			runtime.UnlockOSThread()
		}
	}()
	<-done
}

// visit enters the namespace on the calling thread and reads it.
func (n *namespace) visit(ctx context.Context, buf []byte, enter func(*namespace, *view)) (view, error) {
	fd, err := n.open()
	if err != nil {
		return view{}, err
	}
	defer unix.Close(fd)
	if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
		return view{}, fmt.Errorf("enter %s: %w", n, err)
	}
	return n.read(ctx, buf, enter)
}
