package process

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"cityward/collectors/internal/host"
)

// names gives names to the numbers of users or groups, from passwd(5) or
// group(5) of the machine's root. Name services (LDAP, sssd) are not asked:
// they may answer from elsewhere, and an agent that judges must not wait for
// them. A number without a name stays a number.
type names struct {
	path  string
	stamp stamp
	byID  map[int]string
}

// stamp tells whether a file is still the one that was read.
type stamp struct {
	inode uint64
	size  int64
	mtime unix.Timespec
}

const namesLimit = 16 << 20

// refresh reads the file again if it changed. A file that does not exist gives
// no names; one that cannot be read is an error, and the old names stay.
func (n *names) refresh(h *host.Host) error {
	st, err := h.Stat(n.path)
	if errors.Is(err, fs.ErrNotExist) {
		n.byID, n.stamp = nil, stamp{}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read names: %w", err)
	}
	now := stamp{st.Ino, st.Size, st.Mtim}
	if now == n.stamp {
		return nil
	}
	data, err := h.ReadFile(n.path, namesLimit)
	if err != nil {
		return fmt.Errorf("read names: %w", err)
	}
	n.byID, n.stamp = parseNames(data), now
	return nil
}

// of gives the name of a number, or the number itself.
func (n *names) of(id int) string {
	if name, ok := n.byID[id]; ok {
		return name
	}
	return strconv.Itoa(id)
}

// parseNames reads NAME:x:NUMBER:… lines, which passwd(5) and group(5) share.
// The first of several names for a number counts, as it does for getpwuid(3).
func parseNames(data []byte) map[int]string {
	byID := make(map[int]string)
	for line := range strings.Lines(string(data)) {
		fields := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 4)
		if len(fields) < 3 || fields[0] == "" || strings.ContainsAny(fields[0][:1], "#+-") {
			continue
		}
		id, err := strconv.ParseUint(fields[2], 10, 32)
		if err != nil {
			continue
		}
		if _, taken := byID[int(id)]; !taken {
			byID[int(id)] = host.Text(fields[0], 256)
		}
	}
	return byID
}
