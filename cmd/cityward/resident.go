package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// garbagePercent lets the heap grow by a third between two collections: it is small
// and rounds are far apart, so memory counts, and a collection takes milliseconds.
// GOGC in the environment overrules it.
const garbagePercent = 30

// settleEvery so many full rounds, an hour of them by default, the program settles
// anew.
const settleEvery = 240

func limitHeap() {
	runtime.MemProfileRate = 0 // nobody asks for profiles
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
}

// resident keeps small what the program has in memory while it waits.
type resident struct {
	own []span // of the program's file
}

// span is a mapping.
type span struct{ from, to uintptr }

// settle gives back what was used once, to start and to read everything for the
// first time: memory that is free, and the pages of the program's own file.
func (r *resident) settle() error {
	debug.FreeOSMemory()
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	f, err := os.Open("/proc/self/smaps")
	if err != nil {
		return err
	}
	defer f.Close()
	if r.own, err = clean(f, program); err != nil {
		return fmt.Errorf("read /proc/self/smaps: %w", err)
	}
	return r.rest()
}

// rest gives back the pages of the program's own file. They come back from the page
// cache when they are used, sixteen at a time whether all of them are or not: after a
// round more than twice as many are mapped as it used, and the next is seconds away.
func (r *resident) rest() error {
	for _, s := range r.own {
		if _, _, errno := unix.Syscall(unix.SYS_MADVISE, s.from, s.to-s.from, unix.MADV_DONTNEED); errno != 0 {
			return fmt.Errorf("madvise the program: %w", errno)
		}
	}
	return nil
}

// after is called at the end of each round, short or not, with how many full ones there were.
func (r *resident) after(rounds uint64, short bool) error {
	if !short && rounds%settleEvery == 1 {
		return r.settle()
	}
	return r.rest()
}

// clean lists the mappings of a file, as proc_pid_smaps(5) has them, of which the
// process has no pages of its own: what a loader changed and then protected has.
func clean(smaps io.Reader, file string) (spans []span, err error) {
	var last span
	for in := bufio.NewScanner(smaps); ; {
		if !in.Scan() {
			return spans, in.Err()
		}
		fields := strings.Fields(in.Text())
		switch {
		case len(fields) >= 6 && strings.Contains(fields[0], "-"):
			last = span{}
			if fields[1][1] == '-' && strings.HasSuffix(in.Text(), " "+file) {
				from, to, _ := strings.Cut(fields[0], "-")
				if last.from, err = address(from); err == nil {
					last.to, err = address(to)
				}
				if err != nil {
					return nil, err
				}
			}
		case len(fields) == 3 && fields[0] == "Anonymous:" && fields[1] == "0" && last.to > last.from:
			spans = append(spans, last)
		}
	}
}

func address(text string) (uintptr, error) {
	n, err := strconv.ParseUint(text, 16, 8*int(unsafe.Sizeof(uintptr(0))))
	return uintptr(n), err
}
