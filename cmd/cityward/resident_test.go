package main

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestClean(t *testing.T) {
	const smaps = `00400000-00500000 r-xp 00000000 08:01 17 /usr/bin/cityward
Rss:                 900 kB
Anonymous:             0 kB
00500000-00600000 r--p 00100000 08:01 17 /usr/bin/cityward
Anonymous:             4 kB
00600000-00700000 rw-p 00200000 08:01 17 /usr/bin/cityward
Anonymous:             0 kB
00700000-00800000 r--p 00300000 08:01 17 /usr/bin/cityward
Anonymous:             0 kB
00800000-00900000 r-xp 00000000 08:01 18 /usr/lib/another
Anonymous:             0 kB
`
	got, err := clean(strings.NewReader(smaps), "/usr/bin/cityward")
	if want := []span{{0x400000, 0x500000}, {0x700000, 0x800000}}; err != nil || !slices.Equal(got, want) {
		t.Errorf("got %x, %v, want %x", got, err, want)
	}
}

// What is given back is less, and the program runs on.
func TestResident(t *testing.T) {
	r := &resident{}
	for rounds := range uint64(3) {
		for _, s := range r.own {
			if _, _, errno := unix.Syscall(unix.SYS_MADVISE, s.from, s.to-s.from, unix.MADV_POPULATE_READ); errno != 0 {
				t.Fatal(errno)
			}
		}
		before := residentFiles(t)
		if err := r.after(rounds+1, rounds == 2); err != nil {
			t.Fatal(err)
		}
		if after := residentFiles(t); after > before/2 {
			t.Errorf("round %d: %d kB of files are resident, before %d", rounds+1, after, before)
		}
	}
}

func residentFiles(t *testing.T) int {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "RssFile:")
	kB, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kB
}
