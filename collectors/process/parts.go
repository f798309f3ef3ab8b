package process

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

// executable follows /proc/PID/exe. The kernel appends " (deleted)" to the text
// of a link whose file has lost that name; a file may also really be called so,
// which only a look at the path tells apart.
func (r *round) executable(p *inventory.Process, from int) error {
	link, err := r.proc.Readlink(from, "exe")
	if err != nil {
		return err
	}
	path := string(link)
	at, err := r.proc.Describe(from, "exe") // which waits for no server
	if err == nil {
		p.File = inventory.FileID{Device: at.Device, Inode: at.Inode}
	}
	if bare, marked := strings.CutSuffix(path, " (deleted)"); marked && !r.leadsTo(from, path, p.File) {
		path = bare
		// No file system can hold this name: memfd_create(2) makes it up.
		p.Memory = strings.HasPrefix(path, "/memfd:")
		p.Deleted = !p.Memory
	}
	p.Executable = host.Text(path, pathLimit)
	return err
}

// root notes the directory that is / to a process, but of one that has locked itself
// up since it started: its program is of the tree that it came from.
func (r *round) root(p *inventory.Process, from int) error {
	if !r.host.Live() { // a tree keeps no such links
		return nil
	}
	at, err := r.proc.Describe(from, "root")
	if err != nil {
		return err
	}
	root := inventory.FileID{Device: at.Device, Inode: at.Inode}
	if home, err := r.host.Find("/"); (err != nil || home.Device != root.Device || home.Inode != root.Inode) && !p.Memory && p.Executable != "" {
		link, err := r.proc.Readlink(from, "root")
		if err != nil || !host.Within(p.Executable, string(link)) {
			return err
		}
	}
	p.Root = root
	return nil
}

// leadsTo reports whether a path, seen from a process's own root, is a file.
func (r *round) leadsTo(pid int, path string, file inventory.FileID) bool {
	st, err := r.proc.Stat(pid, "root"+path)
	return err == nil && file == inventory.FileID{Device: st.Dev, Inode: st.Ino}
}

// credentials reads /proc/PID/status for the effective user and the groups.
func (r *round) credentials(p *inventory.Process, from int) error {
	p.UID = -1
	data, err := r.proc.Read(from, "status", 1<<16)
	if err != nil {
		return err
	}
	ids, err := parseCredentials(data)
	if err != nil {
		return err
	}
	p.UID = ids.user
	p.User, p.Group = r.users.of(ids.user), r.groups.of(ids.group)
	for _, id := range ids.groups {
		p.Groups = append(p.Groups, r.groups.of(id))
	}
	return nil
}

type credentials struct {
	user, group int // effective
	groups      []int
}

// parseCredentials reads the Uid, Gid and Groups lines of /proc/PID/status. The
// kernel escapes newlines in the Name line before them.
func parseCredentials(data []byte) (credentials, error) {
	c := credentials{user: -1, group: -1}
	for line := range bytes.Lines(data) {
		key, rest, _ := bytes.Cut(line, []byte(":"))
		var into *int
		switch string(key) {
		case "Uid":
			into = &c.user
		case "Gid":
			into = &c.group
		case "Groups":
			for word := range bytes.FieldsSeq(rest) {
				id, err := strconv.ParseUint(string(word), 10, 32)
				if err != nil {
					return c, fmt.Errorf("parse status: groups: %w", err)
				}
				c.groups = append(c.groups, int(id))
			}
			return c, missing(c)
		default:
			continue
		}
		words := bytes.Fields(rest) // real, effective, saved, file system
		if len(words) != 4 {
			return c, fmt.Errorf("parse status: %q", line)
		}
		id, err := strconv.ParseUint(string(words[1]), 10, 32)
		if err != nil {
			return c, fmt.Errorf("parse status: %w", err)
		}
		*into = int(id)
	}
	return c, missing(c)
}

func missing(c credentials) error {
	if c.user < 0 || c.group < 0 {
		return errors.New("parse status: no Uid and Gid")
	}
	return nil
}

// namespaces reads the inode numbers of the links in /proc/PID/ns.
func (r *round) namespaces(p *inventory.Process, from int) error {
	var denied error
	for _, ns := range []struct {
		kind string
		into *uint64
	}{{"mnt", &p.MountNS}, {"net", &p.NetNS}, {"pid", &p.PIDNS}, {"user", &p.UserNS}} {
		id, err := r.proc.NamespaceID(from, ns.kind)
		if err != nil {
			denied = err
			continue
		}
		*ns.into = id
	}
	return denied
}

// completeNetworks tells network namespaces apart where ns/net may not be read:
// the files in /proc/PID/net are the namespace's own, so one inode number means
// one namespace, and anybody may look at it.
func (r *round) completeNetworks(processes []inventory.Process) {
	byFile := make(map[uint64]uint64) // inode of net/tcp → namespace
	known := make(map[uint64]bool)
	var unknown []*inventory.Process
	for i := range processes {
		p := &processes[i]
		switch {
		case p.Kernel || known[p.NetNS]:
		case p.NetNS == 0:
			unknown = append(unknown, p)
		default:
			if st, err := r.proc.Stat(p.ID.PID, "net/tcp"); err == nil {
				byFile[st.Ino] = p.NetNS
				known[p.NetNS] = true
			}
		}
	}
	for _, p := range unknown {
		if st, err := r.proc.Stat(p.ID.PID, "net/tcp"); err == nil {
			p.NetNS = byFile[st.Ino]
		}
	}
}

// markForeign finds the programs whose path is not to be believed. Whoever has a
// user namespace of his own, which any user may make, may mount his program over
// any other, and the kernel gives the path as it is in there.
func (r *round) markForeign(processes []inventory.Process) {
	var home uint64
	for i := range processes {
		p := &processes[i]
		if p.ID.PID == 1 {
			home = p.UserNS
		}
		if p.Kernel || p.Executable == "" || p.UserNS != 0 && p.UserNS == home {
			continue
		}
		st, err := r.host.Stat(p.Executable)
		p.Foreign = err != nil || p.File != inventory.FileID{Device: st.Dev, Inode: st.Ino}
	}
}
