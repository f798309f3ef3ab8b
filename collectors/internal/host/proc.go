package host

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// PIDs lists the processes below /proc in ascending order of the directory.
func (h *Host) PIDs() ([]int, error) {
	f, err := h.OpenDir("/proc")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	pids := make([]int, 0, len(names))
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil && pid > 0 {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// Text makes hostile bytes fit to print: valid UTF-8, no control characters,
// at most limit bytes. What was replaced shows as U+FFFD.
func Text(raw string, limit int) string {
	clean := strings.Map(func(r rune) rune {
		if r < 0x20 || r == 0x7f || (r >= 0x80 && r < 0xa0) || r == 0x2028 || r == 0x2029 || (r >= 0x202a && r <= 0x202e) || (r >= 0x2066 && r <= 0x2069) {
			return utf8.RuneError
		}
		return r
	}, raw)
	clean = strings.ToValidUTF8(clean, string(utf8.RuneError))
	if len(clean) <= limit {
		return clean
	}
	cut := limit
	for cut > 0 && !utf8.RuneStart(clean[cut]) {
		cut--
	}
	return clean[:cut]
}
