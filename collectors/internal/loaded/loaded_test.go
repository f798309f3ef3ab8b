package loaded

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

func TestWhichArgumentIsTheScript(t *testing.T) {
	for line, want := range map[string]string{
		"python3.11 /srv/a.py --token x":                    "/srv/a.py",
		"python3 -Eu -W ignore -X dev a.py":                 "a.py",
		"python3 -Wignore a.py":                             "a.py",
		"python3 -c print(1) a.py":                          "",
		"python3 -uc print(1) a.py":                         "",
		"python3 -m http.server 80":                         "module http.server",
		"python3 -Em pip install":                           "module pip",
		"python3":                                           "cut",
		"python3 - a.py":                                    "",
		"perl -w -I lib /usr/bin/a x":                       "/usr/bin/a",
		"perl -ne print /etc/passwd":                        "",
		"ruby -rjson -I lib a.rb":                           "a.rb",
		"ruby -e 1 a.rb":                                    "",
		"node --inspect=0 -r dotenv/config app.js x":        "app.js",
		"node --title secret app.js":                        "secret app.js",
		"node -e 1":                                         "",
		"php -d a=b -f x.php -- y":                          "x.php",
		"php -S 127.0.0.1:80 -t /srv":                       "",
		"php8.2 artisan queue":                              "artisan",
		"bash -eu -o pipefail run.sh secret":                "run.sh",
		"bash -euo pipefail run.sh":                         "run.sh",
		"bash --rcfile x run.sh":                            "run.sh",
		"sh -c id run.sh":                                   "",
		"bash -lc id":                                       "",
		"dash -- run.sh":                                    "run.sh",
		"java -Xmx1g -cp a.jar:b.jar -jar /opt/x.jar -p s3": "/opt/x.jar",
		"java -cp a.jar org.example.Main secret.java":       "",
		"java --source 17 Main.java":                        "Main.java",
	} {
		arguments := strings.Split(line, " ")
		l, ok := languageOf("/usr/bin/" + arguments[0])
		if !ok {
			t.Errorf("%s: no interpreter", arguments[0])
			continue
		}
		w := l.read(arguments)
		got := strings.Join(w.files, " ")
		switch {
		case w.module != "":
			got = "module " + w.module
		case w.cut:
			got = "cut"
		}
		if got != want {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
	for _, other := range []string{"/usr/bin/postgres", "/usr/sbin/php-fpm8.2", "/usr/bin/ssh", ""} {
		if _, ok := languageOf(other); ok {
			t.Errorf("%s is an interpreter", other)
		}
	}
}

// What a virtual machine runs by another name than a file's is not passed over.
func TestMainClassIsUnknown(t *testing.T) {
	java, _ := languageOf("java")
	for line, want := range map[string]bool{
		"java -cp a.jar org.example.Main x.java": true,
		"java -p lib -m org.example/Main":        true,
		"java -jar x.jar":                        false,
		"java Main.java":                         false,
		"java -version":                          false,
	} {
		if w := java.read(strings.Split(line, " ")); w.class != want {
			t.Errorf("%s: %+v", line, w)
		}
	}
}

func FuzzArguments(f *testing.F) {
	for _, seed := range []string{"python3\x00-m\x00x", "bash\x00-euo\x00pipefail\x00x", "java\x00-jar", "node\x00--a\x00b\x00c", "sh\x00+o\x00-\x00--"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, joined string) {
		arguments := strings.Split(joined, "\x00")
		for _, name := range []string{"python3", "perl", "ruby", "node", "php", "bash", "java"} {
			l, _ := languageOf(name)
			w := l.read(arguments)
			if len(w.files) > most {
				t.Fatalf("%d files", len(w.files))
			}
			moduleFiles(w.module, "/", "/usr/bin/python3.11", arguments[0])
		}
	})
}

// child runs a program until the test ends, and describes it as the room for
// processes does.
func child(t testing.TB, dir, name string, args ...string) *inventory.Process {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "ready\n" {
		t.Fatalf("said %q (%v)", line, err)
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	return &inventory.Process{
		ID: inventory.Execution{PID: cmd.Process.Pid, Start: 1}, Executable: exe, Arguments: cmd.Args, MountNS: 1, Started: time.Now(),
	}
}

func machine(t testing.TB, now func() time.Time) (*host.Host, *host.Proc) {
	t.Helper()
	h, err := host.Open("/", now)
	if err != nil {
		t.Fatal(err)
	}
	proc, err := h.OpenProc()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = proc.Close() })
	return h, proc
}

func read(t testing.TB, r *Reader, h *host.Host, proc *host.Proc, processes ...*inventory.Process) *Facts {
	t.Helper()
	f, err := r.Read(t.Context(), h, proc, 1, processes)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestRealInterpreters(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"run.py": "import sys\nprint('ready', flush=True)\nsys.stdin.read()\n",
		"run.sh": "echo ready\nread x\n",
		"run.pl": "$| = 1; print \"ready\\n\"; <STDIN>;\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("run.py", filepath.Join(dir, "link.py")); err != nil {
		t.Fatal(err)
	}
	h, proc := machine(t, time.Now)
	const secret = "password-of-the-registry"
	for _, test := range []struct{ dir, name, args, want string }{
		{"/", "python3", dir + "/run.py " + secret, dir + "/run.py"},
		{dir, "python3", "-u link.py", dir + "/run.py"},
		{dir, "python3", "-m run", dir + "/run.py"},
		{dir, "sh", "run.sh " + secret, dir + "/run.sh"},
		{dir, "bash", "-e ./run.sh", dir + "/run.sh"},
		{dir, "perl", "run.pl", dir + "/run.pl"},
	} {
		p := child(t, test.dir, test.name, strings.Fields(test.args)...)
		f := read(t, &Reader{}, h, proc, p)
		if len(f.Scripts) != 1 || f.Scripts[0].Path != test.want || f.Scripts[0].Process != p.ID || f.Scripts[0].File.Inode == 0 {
			t.Errorf("%s %s: scripts %+v, want %s", test.name, test.args, f.Scripts, test.want)
		}
	}
	// A word that is no file is not shown, and neither is what this program's own
	// descriptors lead to.
	p := child(t, dir, "python3", "run.py")
	for _, word := range []string{secret, "/dev/fd/0", "/dev/stdin", "/proc/self/exe", "/proc/self/maps"} {
		p.Arguments = []string{"python3", word}
		if f := read(t, &Reader{}, h, proc, p); len(f.Scripts) > 0 || strings.Contains(fmt.Sprint(f), secret) {
			t.Errorf("%s: %+v", word, f)
		}
	}
}

// An interpreter that has blanked its arguments runs something, and nobody knows what.
func TestBlankedArgumentsAreUnknown(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "run.pl"), []byte("$0 = ''; $| = 1; print \"ready\\n\"; <STDIN>;\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h, proc := machine(t, time.Now)
	p := child(t, dir, "perl", "run.pl")
	shown, err := proc.Read(p.ID.PID, "cmdline", sizePath)
	if err != nil || strings.Trim(string(shown), "\x00") != "" {
		t.Fatalf("shows %q, %v", shown, err)
	}
	p.Arguments = nil
	r := &Reader{}
	if f := read(t, r, h, proc, p); len(f.Unknown.Gap(nil, "", "")) != 1 || len(f.Scripts) > 0 {
		t.Errorf("blanked: %+v", f)
	}
	p.Arguments = []string{"perl", "run.pl"}
	if f := read(t, r, h, proc, p); len(f.Unknown.Gap(nil, "", "")) != 0 || len(f.Scripts) != 1 {
		t.Errorf("shown later: %+v", f)
	}
}

// A library that is replaced while a program has it mapped, as an upgrade does, and
// one that is removed.
func TestReplacedLibraries(t *testing.T) {
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "ldconfig", "-p").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(out), "libz.so.1 ")
	_, source, _ := strings.Cut(strings.SplitN(rest, "\n", 2)[0], "=> ")
	data, err := os.ReadFile(source)
	if err != nil {
		t.Fatal(err)
	}
	paths := []string{filepath.Join(dir, "libone.so.1"), filepath.Join(dir, "libtwo.so.1")}
	for _, path := range append(paths, filepath.Join(dir, "new")) {
		if err := os.WriteFile(path, data, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	p := child(t, dir, "python3", "-c", "import ctypes,sys\nfor p in sys.argv[1:]: ctypes.CDLL(p)\nprint('ready',flush=True)\nsys.stdin.read()", paths[0], paths[1])
	now := time.Now()
	h, proc := machine(t, func() time.Time { return now })
	r := &Reader{}
	of := func(f *Facts, path string) *inventory.Library {
		i := slices.IndexFunc(f.Libraries, func(l inventory.Library) bool { return l.Path == path })
		if i < 0 {
			t.Fatalf("%s is not among the libraries", path)
		}
		return &f.Libraries[i]
	}
	before := read(t, r, h, proc, p)
	for _, path := range paths {
		if l := of(before, path); l.Replaced || len(l.Users) > 0 {
			t.Errorf("before: %+v", l)
		}
	}
	if err := os.Rename(filepath.Join(dir, "new"), paths[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(paths[1]); err != nil {
		t.Fatal(err)
	}
	if l := of(read(t, r, h, proc, p), paths[0]); l.Replaced {
		t.Errorf("files are looked at too often: %+v", l)
	}
	now = now.Add(every)
	fresh := read(t, &Reader{}, h, proc, p)
	after := read(t, r, h, proc, p)
	for _, facts := range []*Facts{after, fresh} {
		for _, path := range paths {
			if l := of(facts, path); !l.Replaced || !slices.Equal(l.Users, []inventory.Execution{p.ID}) {
				t.Errorf("after: %+v", l)
			}
		}
	}
	if f := read(t, r, h, proc); len(f.Libraries)+len(r.libraries)+len(r.known) > 0 {
		t.Errorf("after its end: %+v", f)
	}
}

// BenchmarkRound is a round of 300 programs of which nothing is new, beside the
// first one, which reads all mappings.
func BenchmarkRound(b *testing.B) {
	var processes []*inventory.Process
	p := child(b, "/", "python3", "-c", "print('ready',flush=True)\nimport sys\nsys.stdin.read()")
	for i := range 300 {
		q := *p
		q.ID.Start = uint64(i)
		processes = append(processes, &q)
	}
	now := time.Now()
	h, proc := machine(b, func() time.Time { return now })
	b.Run("first", func(b *testing.B) {
		for range b.N {
			read(b, &Reader{}, h, proc, processes...)
		}
	})
	b.Run("quiet", func(b *testing.B) {
		r := &Reader{}
		read(b, r, h, proc, processes...)
		b.ResetTimer()
		for range b.N {
			read(b, r, h, proc, processes...)
		}
	})
}
