package host

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"
)

// Booted reads when the machine was started, to the second: btime of
// /proc/stat, proc(5).
func (h *Host) Booted() (time.Time, error) {
	data, err := h.ReadFile("/proc/stat", 8<<20) // the intr line grows with the machine
	if err != nil {
		return time.Time{}, fmt.Errorf("read boot time: %w", err)
	}
	return parseBooted(data)
}

func parseBooted(stat []byte) (time.Time, error) {
	for line := range bytes.Lines(stat) {
		if word, ok := bytes.CutPrefix(line, []byte("btime ")); ok {
			seconds, err := strconv.ParseUint(string(bytes.TrimSpace(word)), 10, 40)
			if err != nil {
				return time.Time{}, fmt.Errorf("read boot time: %w", err)
			}
			return time.Unix(int64(seconds), 0).UTC(), nil
		}
	}
	return time.Time{}, errors.New("read boot time: no btime in /proc/stat")
}
