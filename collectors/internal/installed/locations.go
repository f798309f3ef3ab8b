package installed

import (
	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

const sizeLocation = 4096

// Resolved gives a path without symbolic links, as the kernel names what runs
// there; the path itself where it leads nowhere.
func Resolved(h *host.Host, path string) string {
	if at, err := h.Find(path); err == nil {
		return at.Path
	}
	return path
}

// Recorded is a file or a directory that an installer's records give to a package.
// It is spelled as [inventory.Script] spells paths.
func Recorded(h *host.Host, path string) []inventory.Location {
	return []inventory.Location{{Path: host.Text(Resolved(h, path), sizeLocation), Recorded: true}}
}
