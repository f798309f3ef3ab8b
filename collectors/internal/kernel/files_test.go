package kernel

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// files does one thing after another with files, as the generator.
func files(job []string) error {
	for len(job) > 0 {
		do, ok := fileJobs()[job[0]]
		if !ok || len(job) <= do.words {
			return fmt.Errorf("no such job with files: %q", job)
		}
		if err := do.do(job[1 : 1+do.words]); err != nil {
			return fmt.Errorf("%s: %w", job[0], err)
		}
		job = job[1+do.words:]
	}
	return nil
}

type fileJob struct {
	words int
	do    func([]string) error
}

func fileJobs() map[string]fileJob {
	return map[string]fileJob{
		"read":     {1, func(p []string) error { _, err := os.ReadFile(p[0]); return err }},
		"list":     {1, func(p []string) error { _, err := os.ReadDir(p[0]); return err }},
		"write":    {1, func(p []string) error { return os.WriteFile(p[0], []byte("of nobody\n"), 0o600) }},
		"move":     {2, func(p []string) error { return os.Rename(p[0], p[1]) }},
		"link":     {2, func(p []string) error { return os.Link(p[0], p[1]) }},
		"bind":     {2, func(p []string) error { return unix.Mount(p[0], p[1], "", unix.MS_BIND, "") }},
		"map":      {1, func(p []string) error { return mapFile(p[0], unix.PROT_READ, nil) }},
		"copy":     {2, copied},
		"overlay":  {4, overlaid},
		"raw":      {1, readRaw},
		"early":    {2, writeEarly},
		"peek":     {1, peek},
		"append":   {2, appended},
		"stat":     {1, func(p []string) error { _, err := os.Stat(p[0]); return err }},
		"mode":     {1, func(p []string) error { return os.Chmod(p[0], 0o640) }},
		"make":     {1, func(p []string) error { return os.WriteFile(p[0], nil, 0o600) }},
		"pause":    {0, func([]string) error { time.Sleep(20 * time.Millisecond); return nil }}, // two ticks of the kernel
		"map-late": {2, func(p []string) error { return mapFile(p[0], unix.PROT_READ|unix.PROT_WRITE, &p[1]) }},
		"passed": {0, func([]string) error {
			_, err := io.Copy(io.Discard, os.NewFile(3, "passed"))
			return err
		}},
		"give": {1, func(p []string) error {
			data, err := os.ReadFile(p[0])
			if err != nil {
				return err
			}
			_, err = os.NewFile(3, "passed").Write(data)
			return err
		}},
		"wait": {0, func([]string) error {
			_, err := os.NewFile(3, "opened before").Stat()
			fmt.Println("ready")
			_, _ = io.Copy(io.Discard, os.Stdin)
			return err
		}},
		"child": {1, func(p []string) error { // a job of one word
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = environment("files " + p[0])
			cmd.Stdout = os.Stderr
			return cmd.Run()
		}},
		"become": {0, func([]string) error {
			if err := os.Setenv(generatorVariable, "files nothing"); err != nil {
				return err
			}
			return unix.Exec("/proc/self/exe", []string{"become"}, os.Environ())
		}},
		"many":    {2, readOften},
		"storm":   {2, storm},
		"nothing": {0, func([]string) error { return nil }},
	}
}

func copied(p []string) error {
	data, err := os.ReadFile(p[0])
	return errors.Join(err, os.WriteFile(p[1], data, 0o600))
}

func appended(p []string) error {
	data, err := os.ReadFile(p[0])
	if err != nil {
		return err
	}
	f, err := os.OpenFile(p[1], os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

// peek reads without asking how much there is.
func peek(p []string) error {
	fd, err := unix.Open(p[0], unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = unix.Read(fd, make([]byte, 64))
	return errors.Join(err, unix.Close(fd))
}

func overlaid(p []string) error {
	return unix.Mount("overlay", p[3], "overlay", 0, fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", p[0], p[1], p[2]))
}

// readRaw reads past the page cache.
func readRaw(p []string) error {
	fd, err := unix.Open(p[0], unix.O_RDONLY|unix.O_DIRECT, 0)
	if err != nil {
		return err
	}
	page, err := unix.Mmap(-1, 0, 1<<16, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return err
	}
	_, err = unix.Read(fd, page)
	return errors.Join(err, unix.Close(fd))
}

// writeEarly opens a file before it reads another, and writes to it after.
func writeEarly(p []string) error {
	f, err := os.Create(p[0])
	if err != nil {
		return err
	}
	if _, err := f.WriteString("of nobody\n"); err != nil {
		return err
	}
	data, err := os.ReadFile(p[1])
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	return errors.Join(err, f.Close())
}

// mapFile touches a file by a mapping, after it has read another one if there is one.
func mapFile(path string, access int, first *string) error {
	flags := os.O_RDONLY
	if access&unix.PROT_WRITE != 0 {
		flags = os.O_RDWR
	}
	f, err := os.OpenFile(path, flags, 0)
	if err != nil {
		return err
	}
	data, err := unix.Mmap(int(f.Fd()), 0, 4, access, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	if first != nil {
		if _, err := os.ReadFile(*first); err != nil {
			return err
		}
		copy(data, "data")
	}
	fmt.Fprintln(io.Discard, data[0])
	return errors.Join(unix.Munmap(data), f.Close())
}

// readOften opens and reads a file so many times.
func readOften(p []string) error {
	for range arguments(p).number(0) {
		if _, err := os.ReadFile(p[1]); err != nil {
			return err
		}
	}
	return nil
}

// storm starts so many programs, some at once, that each do one job of one word.
func storm(p []string) error {
	together := make(chan struct{}, 16)
	errs := make(chan error, arguments(p).number(0))
	for range arguments(p).number(0) {
		together <- struct{}{}
		go func() {
			cmd := exec.Command("/proc/self/exe")
			cmd.Env = environment("files " + p[1])
			errs <- cmd.Run()
			<-together
		}()
	}
	for range arguments(p).number(0) {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}
