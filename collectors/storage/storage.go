// Package storage finds on what hardware data stores lie. A declared directory
// is followed through the mount table to its file system, from there through
// sysfs to the disks below partitions, RAID, encryption, volumes and loop
// devices, and for file systems of other machines to the peer that the mount
// table names.
//
// Three decisions shape the room.
//
// It reads before it looks. stat(2) below a network or FUSE file system whose
// other end is gone never returns, so what can be told from the text of the
// mount table is told from there, and nothing below such a mount is touched.
// Directories on them therefore have no [inventory.FileID], and it is not known
// whether they exist.
//
// It takes the machine's mounts, not its own. A hardened service has a mount
// namespace of its own, in which /home may be empty and /srv read-only. The
// table of process 1 is what counts; paths are then resolved through its root.
//
// What cannot be followed is unknown, with a gap that says where the way ended:
// a file system or a device that this room does not know is never taken for
// local. A store that is declared by its services alone has a row whose medium
// is unknown, since nobody has said where its data lies. Symbolic links inside
// a store (PostgreSQL's tablespaces) are not followed: their targets need to be
// declared, and one on another file system is a gap until it is.
//
// Sources: proc_pid_mountinfo(5), Documentation/ABI/{stable,testing}/sysfs-* of
// the kernel, mount.nfs(8), mount.cifs(8), mount.ceph(8), cryptsetup's names for
// its device-mapper devices.
package storage

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
	"cityward/configs"
)

const (
	collector = "storage"

	maxHosts  = 1 << 20 // bytes of /etc/hosts
	maxMounts = 4096    // rows; a busy container host has some hundreds
	maxText   = 1024    // bytes of a path or a source
)

// Collector follows data stores down to hardware.
type Collector struct {
	host  *host.Host
	cfg   *configs.Config
	known map[string]links // by directory of a store
}

// New makes a collector for one machine and one policy.
func New(h *host.Host, cfg *configs.Config) *Collector {
	return &Collector{host: h, cfg: cfg, known: make(map[string]links)}
}

// Configure takes a new policy.
func (c *Collector) Configure(cfg *configs.Config) {
	c.cfg = cfg
	clear(c.known)
}

// round is the work of one Collect.
type round struct {
	*Collector
	facts     inventory.Facts
	machine   *view
	names     map[string]netip.Addr // of /etc/hosts
	addresses []string              // of this machine
}

// Collect lists the mounts that can hold data, a row for each declared store
// and, for each candidate that engines gave, the same row with its storage.
func (c *Collector) Collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error) {
	if err := ctx.Err(); err != nil {
		return inventory.Facts{}, err
	}
	r := &round{Collector: c}
	if seen.Machine != nil {
		r.addresses = seen.Machine.Addresses
	}
	if data, err := c.host.ReadFile("/etc/hosts", maxHosts); err == nil {
		r.names = parseHosts(data)
	}
	machine, closeView, err := r.openMachine()
	if err != nil {
		return inventory.Facts{}, err
	}
	defer closeView()
	r.machine = machine

	r.listMounts()
	for i := range c.cfg.Stores {
		if err := ctx.Err(); err != nil {
			return inventory.Facts{}, err
		}
		r.facts.Stores = append(r.facts.Stores, r.store(&c.cfg.Stores[i]))
	}
	for _, candidate := range seen.Candidates {
		if err := ctx.Err(); err != nil {
			return inventory.Facts{}, err
		}
		r.facts.Candidates = append(r.facts.Candidates, r.candidate(seen, candidate))
	}
	return r.facts, nil
}

func (r *round) gap(store, subject, reason string, lost int) {
	r.facts.Gaps = append(r.facts.Gaps, inventory.Gap{
		Collector: collector, Kind: inventory.KindStorage, Store: store,
		Subject: host.Text(subject, maxText), Reason: host.Text(reason, maxText), Lost: lost,
	})
}

// openMachine gives the view of the machine: that of process 1 where it can be
// had. The function it returns releases it.
func (r *round) openMachine() (*view, func(), error) {
	none := func() {}
	own, ownErr := r.readTable(r.host, "/proc/self/mountinfo")
	first, firstErr := r.readTable(r.host, "/proc/1/mountinfo")
	switch {
	case ownErr != nil && firstErr != nil:
		return nil, nil, fmt.Errorf("read mount table: %w", ownErr)
	case !r.host.Live():
		return &view{r.host, cmp.Or(first, own)}, none, nil
	case firstErr != nil:
		r.elsewhere("/proc/1/mountinfo", "the agent may have mounts of its own: "+host.Cause(firstErr))
		return &view{r.host, own}, none, nil
	case ownErr == nil && own.Shares(first):
		return &view{r.host, first}, none, nil
	}
	root, err := host.Open("/proc/1/root", r.host.Now)
	if err != nil {
		r.elsewhere("/proc/1/root", "the agent has mounts of its own and cannot see the machine's: "+host.Cause(err))
		return &view{r.host, cmp.Or(own, first)}, none, nil
	}
	return &view{root, first}, func() { _ = root.Close() }, nil
}

// elsewhere says that paths may lead to other directories than the machine's,
// so that their permissions, too, may be those of others.
func (r *round) elsewhere(subject, reason string) {
	for _, kind := range []string{inventory.KindStorage, inventory.KindAccess} {
		r.facts.Gaps = append(r.facts.Gaps, inventory.Gap{Collector: collector, Kind: kind, Subject: subject, Reason: reason})
	}
}

func (r *round) readTable(h *host.Host, file string) (*host.MountTable, error) {
	t, malformed, err := h.ReadMounts(file)
	if err != nil {
		return nil, err
	}
	if malformed > 0 {
		r.gap("", file, "lines that are no mounts", malformed)
	}
	return t, nil
}

// listMounts lists what can hold data for longer than until a restart: no file
// systems of the kernel, no tmpfs, of which every service has some.
func (r *round) listMounts() {
	skipped := 0
	for i := range r.machine.mounts.Mounts {
		m := &r.machine.mounts.Mounts[i]
		switch kindOf(m) {
		case kindPseudo, kindMemory, kindAuto:
			continue
		default:
		}
		if len(r.facts.Mounts) == maxMounts {
			skipped++
			continue
		}
		r.facts.Mounts = append(r.facts.Mounts, r.describe(m))
	}
	if skipped > 0 {
		r.gap("", "mount table", "more mounts than are listed", skipped)
	}
	slices.SortStableFunc(r.facts.Mounts, func(a, b inventory.Mount) int { return cmp.Compare(a.Target, b.Target) })
}

// store makes the row of a declared store.
func (r *round) store(declared *configs.DataStore) inventory.DataStore {
	row := inventory.DataStore{ID: declared.ID, Class: declared.Class}
	for _, service := range declared.Services {
		row.Services = append(row.Services, service.String())
	}
	for _, p := range declared.Paths {
		found, nested := r.follow(r.machine, declared.ID, p)
		row.Paths = append(row.Paths, found)
		for _, m := range nested {
			if kindOf(m) != kindPseudo {
				row.Paths = append(row.Paths, r.followMount(r.machine, declared.ID, m))
			}
		}
	}
	r.astray(declared.ID, row.Paths)
	var media, answers []string
	for i := range row.Paths {
		media, answers = append(media, row.Paths[i].Medium), append(answers, row.Paths[i].Encrypted)
	}
	row.Medium = worst(media, badMedia())
	row.Encrypted = worst(answers, badAnswers())
	r.place(&row)
	return row
}

// follow follows one directory of a store. The mounts below it are part of the
// store, too, and are returned.
func (r *round) follow(v *view, store, declared string) (inventory.StorePath, []*host.Mount) {
	found := inventory.StorePath{
		Path: host.Text(declared, maxText), Medium: inventory.MediumUnknown, Encrypted: inventory.EncryptedUnknown,
	}
	at := v.locate(declared)
	if at.mount != nil {
		found.Mount = r.describe(at.mount)
	}
	if at.err != nil {
		if errors.Is(at.err, fs.ErrNotExist) || errors.Is(at.err, unix.ENOTDIR) {
			found.Medium = inventory.MediumMissing
		} else {
			r.gap(store, declared, host.Cause(at.err), 0)
		}
		return found, nil
	}
	found.Resolved = host.Text(at.path, maxText)
	found.File = at.file
	found.MountRoot = host.Text(at.mount.Inside(at.path), unix.PathMax)
	r.descend(v, store, at.mount, &found)
	if found.Encrypted != inventory.EncryptedYes {
		found.Encrypted = cmp.Or(directoryEncrypted(v.files, at), found.Encrypted)
	}
	return found, v.mounts.Below(at.path)
}

// directoryEncrypted asks a file system that can encrypt single directories
// (Documentation/filesystems/fscrypt.rst) whether this one is, by statx(2). It
// is empty where that adds nothing to what the layers below said.
func directoryEncrypted(h *host.Host, at place) string {
	switch at.mount.Type {
	case "ext4", "f2fs", "ubifs", "btrfs":
	default:
		return ""
	}
	f, err := h.OpenDir(at.path)
	if errors.Is(err, unix.ENOTDIR) {
		f, err = h.Open(at.path)
	}
	if err != nil {
		return inventory.EncryptedUnknown
	}
	defer f.Close()
	var st unix.Statx_t
	if err := unix.Statx(int(f.Fd()), "", unix.AT_EMPTY_PATH, unix.STATX_TYPE, &st); err != nil {
		return inventory.EncryptedUnknown
	}
	if st.Attributes&unix.STATX_ATTR_ENCRYPTED != 0 {
		return inventory.EncryptedYes
	}
	return ""
}

// followMount follows a file system mounted below a store.
func (r *round) followMount(v *view, store string, m *host.Mount) inventory.StorePath {
	found := inventory.StorePath{
		Path: host.Text(m.Target, maxText), Resolved: host.Text(m.Target, maxText), MountRoot: host.Text(m.Inside(m.Target), unix.PathMax),
		Mount: r.describe(m), Medium: inventory.MediumUnknown, Encrypted: inventory.EncryptedUnknown,
	}
	if !m.Waits() {
		if st, err := v.files.Stat(m.Target); err == nil {
			found.File = inventory.FileID{Device: st.Dev, Inode: st.Ino}
		}
	}
	r.descend(v, store, m, &found)
	return found
}

// descend fills what lies below a mount.
func (r *round) descend(v *view, store string, m *host.Mount, found *inventory.StorePath) {
	t := &trail{host: r.machine, visited: make(map[string]bool)}
	t.mount(v, m, false, 0)
	if len(t.media) == 0 {
		t.lost("the devices go in a circle", false)
	}
	found.Chain, found.Disks = t.chain, t.disks
	found.Medium, found.Encrypted = t.medium(), t.encrypted()
	if t.served != nil && t.served != m {
		below := r.describe(t.served)
		found.Mount.Network = true
		found.Mount.Peer, found.Mount.PeerAddr, found.Mount.PeerZone = below.Peer, below.PeerAddr, below.PeerZone
	}
	if len(t.dead) > 0 {
		r.gap(store, found.Path, strings.Join(t.dead[:min(len(t.dead), 3)], "; "), len(t.dead))
	}
}
