package kernel

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"
)

// manyFiles opens files that lie six directories deep, and gives a reading of one
// byte of each in turn.
func manyFiles(tb testing.TB, dir string, n int) operation {
	tb.Helper()
	dir = filepath.Join(dir, "a", "b", "c", "d")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		tb.Fatal(err)
	}
	fds := make([]int, n)
	for i := range fds {
		f, err := os.Create(filepath.Join(dir, strconv.Itoa(i)))
		if err != nil {
			tb.Fatal(err)
		}
		if _, err := f.WriteString("content"); err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { _ = f.Close() })
		fds[i] = int(f.Fd())
	}
	buffer, next := make([]byte, 1), 0
	return operation{chunk: 200, do: func() error {
		next = (next + 1) % n
		_, err := unix.Pread(fds[next], buffer, 0)
		return err
	}}
}

func openAgain(tb testing.TB, dir string) operation {
	tb.Helper()
	file := filepath.Join(dir, "opened")
	if err := os.WriteFile(file, []byte("content"), 0o600); err != nil {
		tb.Fatal(err)
	}
	return operation{chunk: 100, do: func() error {
		fd, err := unix.Open(file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		return errors.Join(err, unix.Close(fd))
	}}
}

// useOf gives what programs do with a file that they have open.
func useOf(tb testing.TB, dir, use string) operation {
	tb.Helper()
	f, err := os.Create(filepath.Join(dir, "used"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = f.Close() })
	fd, content := int(f.Fd()), []byte("content")
	var st unix.Stat_t
	return operation{chunk: 200, do: func() error {
		switch use {
		case "stat":
			return unix.Fstat(fd, &st)
		case "read":
			_, err := unix.Pread(fd, content, 0)
			return err
		}
		_, err := unix.Pwrite(fd, content, 0)
		return err
	}}
}

// memoryCases are what is done with files in memory and, by their times, elsewhere.
func memoryCases(tb testing.TB) map[string]func() (operation, []StoreDir) {
	tb.Helper()
	all := make(map[string]func() (operation, []StoreDir))
	for _, use := range []string{"open", "stat", "read", "write"} {
		do := func(dir string) operation {
			if use == "open" {
				return openAgain(tb, dir)
			}
			return useOf(tb, dir, use)
		}
		elsewhere := []StoreDir{{Device: unix.Mkdev(4000, 1), Inode: 1}}
		all[use+"-on-disk"] = func() (operation, []StoreDir) { return do(tb.TempDir()), elsewhere }
		all[use+"-in-memory"] = func() (operation, []StoreDir) { return do(memoryDir(tb)), elsewhere }
		all[use+"-in-memory-beside"] = func() (operation, []StoreDir) {
			dir := memoryDir(tb)
			store := filepath.Join(dir, "store")
			if err := os.Mkdir(store, 0o700); err != nil {
				tb.Fatal(err)
			}
			return do(dir), []StoreDir{storeDir(tb, 0, store)}
		}
	}
	return all
}

// roundOfFiles is [comparison.round] with stores, seen as another process would be.
func (c *comparison) roundOfFiles(tb testing.TB, o operation, stores []StoreDir) {
	tb.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c.without = append(c.without, o.measure(tb)...)
	k, err := Open(Options{})
	if err != nil {
		tb.Fatal(err)
	}
	if err := errors.Join(k.SetStores(stores), k.maps[flowsMapReader].Put(uint32(0), uint64(0))); err != nil {
		tb.Fatal(err)
	}
	c.with = append(c.with, o.measure(tb)...)
	if err := k.Close(); err != nil {
		tb.Fatal(err)
	}
}

// fileCases are what a read or an open may meet.
func fileCases(tb testing.TB) map[string]func() (operation, []StoreDir) {
	tb.Helper()
	elsewhere := StoreDir{Device: unix.Mkdev(4000, 1), Inode: 1}
	return map[string]func() (operation, []StoreDir){
		"read-elsewhere": func() (operation, []StoreDir) { return manyFiles(tb, tb.TempDir(), 64), []StoreDir{elsewhere} },
		"open-elsewhere": func() (operation, []StoreDir) { return openAgain(tb, tb.TempDir()), []StoreDir{elsewhere} },
		"read-beside": func() (operation, []StoreDir) {
			return manyFiles(tb, tb.TempDir(), 64), []StoreDir{storeDir(tb, 0, tb.TempDir())}
		},
		"read-beside-again": func() (operation, []StoreDir) {
			return manyFiles(tb, tb.TempDir(), 1), []StoreDir{storeDir(tb, 0, tb.TempDir())}
		},
		"read-store": func() (operation, []StoreDir) {
			dir := tb.TempDir()
			return manyFiles(tb, dir, 64), []StoreDir{storeDir(tb, 0, dir)}
		},
	}
}

// BenchmarkFiles is what the capture adds to reading and opening files.
func BenchmarkFiles(b *testing.B) {
	privileged(b)
	cases := fileCases(b)
	maps.Copy(cases, memoryCases(b))
	for name, make := range cases {
		b.Run(name, func(b *testing.B) {
			o, stores := make()
			var c comparison
			for b.Loop() {
				c.roundOfFiles(b, o, stores)
			}
			b.ReportMetric(quantile(c.without, 4), "us-without")
			b.ReportMetric(quantile(c.with, 4), "us-with")
			b.ReportMetric(quantile(c.with, 4)-quantile(c.without, 4), "us-added")
			b.ReportMetric(0, "ns/op")
		})
	}
}
