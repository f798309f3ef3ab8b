package installed

import (
	"errors"
	"path"

	"cityward/collectors/internal/host"
	"cityward/collectors/internal/licence"
)

// Licences gives the files of a directory that have the terms of what lies there. One
// that cannot be read, is too long or one too many gives an empty text, from which
// nothing is concluded: it may say anything.
func Licences(h *host.Host, dir string) [][]byte {
	const most = 4
	names, err := list(h, dir)
	if err != nil && !errors.Is(err, ErrTooMany) {
		return nil
	}
	var texts [][]byte
	for _, name := range names {
		if !licence.File(name) {
			continue
		}
		at := path.Join(dir, name)
		if st, err := h.Stat(at); err != nil && host.Gone(err) || err == nil && st.Mode&0o170000 == 0o040000 {
			continue // a directory of that name
		}
		if len(texts) == most {
			return append(texts, nil)
		}
		text, err := h.ReadFile(at, licence.MostText)
		if err != nil {
			text = nil
		}
		texts = append(texts, text)
	}
	if errors.Is(err, ErrTooMany) && len(texts) > 0 {
		texts = append(texts, nil)
	}
	return texts
}
