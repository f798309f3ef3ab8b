package installed

import (
	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

// Resolved gives a path without symbolic links, as the kernel names what runs
// there; the path itself where it leads nowhere.
func Resolved(h *host.Host, path string) string {
	if at, err := h.Find(path); err == nil {
		return at.Path
	}
	return path
}

// Recorded is a file or a directory that an installer's records give to a package.
func Recorded(h *host.Host, path string) []inventory.Location {
	return []inventory.Location{{Path: Resolved(h, path), Recorded: true}}
}
