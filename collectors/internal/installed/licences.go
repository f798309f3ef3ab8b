package installed

import (
	"path"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/licence"
)

// Licences gives the files of a directory that have the terms of what lies there,
// few and not too long.
func Licences(h *host.Host, dir string) [][]byte {
	const most = 4
	names, err := list(h, dir)
	if err != nil {
		return nil
	}
	var texts [][]byte
	for _, name := range names {
		if !licence.File(name) {
			continue
		}
		text, err := h.ReadFile(path.Join(dir, name), licence.MostText)
		if err == nil && len(text) > 0 {
			texts = append(texts, text)
		}
		if len(texts) == most {
			break
		}
	}
	return texts
}
