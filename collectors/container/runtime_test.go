package container

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"cityward/collectors/internal/host"
)

// testdata/state is what Docker 20.10, Podman 4.3 and containerd 1.6 of Debian 12
// wrote down of containers made from an imported tree; containerd's annotations
// are those that its Kubernetes plugin gives.

const (
	ofDocker     = "a1370a597269a604f0bbda07ec40546833de82292de2a65e49018cc959862250"
	ofPodman     = "f92816496197f10f59a1a3d9423e8b096143417f82f069f03fd6f816ccb77420"
	ofContainerd = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
)

func TestRuntimesAreRead(t *testing.T) {
	h, err := host.Open("testdata/state", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	for _, want := range []image{
		{ofDocker, "docker", "dk1", "example.city/tiny:1.0", "sha256:6a86ef289a7404af315c871f6c46d05328b8a806fd518dbc32a0e564f3115f0d"},
		{podmanID(t), "podman", "pt1", "example.city/tiny:1.0", "sha256:aa3004e7b278dd4a0896628c5057018d4d2added8f577627d31eadb907ce9868"},
		{ofContainerd, "containerd", "web", "registry.example.city/tiny:1.0", ""},
		{id: strings.Repeat("0", 64)},
		{},
	} {
		if got := identify(h, 1, want.id); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
	}
	for _, id := range []string{"../../../etc/passwd", "web", strings.Repeat("/", 64)} {
		if got := identify(h, 1, id); got != (image{}) {
			t.Errorf("%q: %+v", id, got)
		}
	}
}

// podmanID is that of the container in the real state.
func podmanID(t *testing.T) string {
	t.Helper()
	data, err := os.ReadFile("testdata/state/var/lib/containers/storage/overlay-containers/containers.json")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(data), `"id":"`)
	return rest[:64]
}

func TestRuntimeDigests(t *testing.T) {
	fetched := image{digest: "sha256:1"}
	if err := fetched.parseRepositories([]byte(`{"Repositories":{"nginx":{"nginx:1.27":"sha256:1","nginx@sha256:9":"sha256:1","nginx@sha256:8":"sha256:2"}}}`)); err != nil || fetched.digest != "sha256:9" {
		t.Errorf("%+v, %v", fetched, err)
	}
	pod := image{id: "a", runtime: "podman"}
	id, err := pod.parseContainers([]byte(`[{"id":"a","names":["k8s_web"],"image":"b","metadata":"{\"pod-id\":\"p\",\"image-name\":\"city/web:2\"}"}]`))
	if want := (image{"a", "cri-o", "k8s_web", "city/web:2", ""}); err != nil || id != "b" || pod != want {
		t.Errorf("%+v, %q, %v", pod, id, err)
	}
}

func TestIDByMounts(t *testing.T) {
	for line, want := range map[string]string{
		"/var/lib/docker/containers/" + ofDocker + "/hostname /etc/hostname":                ofDocker,
		"/containers/storage/overlay-containers/" + ofPodman + "/userdata/hosts /etc/hosts": ofPodman,
		"/srv/" + ofDocker + "/hosts /etc/hosts":                                            "",
		"/var/lib/docker/containers/" + ofDocker + "/hostname /srv":                         "",
	} {
		mounts, malformed, err := host.ParseMounts(strings.NewReader("1 0 254:0 " + line + " rw - ext4 /dev/vda rw\n"))
		if err != nil || malformed > 0 {
			t.Fatal(malformed, err)
		}
		if got := mountedID(mounts); got != want {
			t.Errorf("%s: %q", line, got)
		}
	}
	mounts, _, err := host.ParseMounts(strings.NewReader("1 0 0:40 / / rw - overlay overlay rw,lowerdir=/l,upperdir=/data/graph/overlay/34/diff,workdir=/w\n"))
	if err != nil {
		t.Fatal(err)
	}
	if kind, dir := storageOf(mounts); kind != "overlay" || dir != "/data/graph" {
		t.Errorf("storage %s %s", kind, dir)
	}
}

func FuzzRuntimeState(f *testing.F) {
	for _, pattern := range []string{"testdata/state/*/*/*/*.json", "testdata/state/*/*/*/*/*.json", "testdata/state/*/*/*/*/*/*.json"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			data, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		i := image{id: "a", digest: "sha256:1"}
		_ = i.parseDocker(data)
		_ = i.parseRepositories(data)
		if id, err := i.parseContainers(data); err == nil {
			_ = i.parseImages(data, id)
		}
		_ = i.parseBundle(data)
		for _, text := range []string{i.image, i.name, i.digest} {
			if len(text) > shownLength || !utf8.ValidString(text) || strings.ContainsAny(text, "\n\x1b\x00") {
				t.Fatalf("text %q", text)
			}
		}
	})
}

// Containers of a real Podman, with its files where it was told to have them.
func TestPodman(t *testing.T) {
	needRoot(t)
	tree := debian(t)
	dir := t.TempDir()
	podman := func(args ...string) string {
		return output(t, "podman", append([]string{
			"--root", dir + "/graph", "--runroot", dir + "/run", "--tmpdir", dir + "/tmp", "--events-backend", "none", "--cgroup-manager", "cgroupfs", "--runtime", "runc",
		}, args...)...)
	}
	t.Cleanup(func() {
		// Where a container has ended its monitor starts podman once more, which mounts again.
		eventuallyGone(t, dir)
		for range 8 { // mounts of podman's own, which outlive its containers
			if unix.Unmount(dir+"/graph/overlay", unix.MNT_DETACH) != nil {
				break
			}
		}
	})
	output(t, "tar", "-C", tree, "-cf", dir+"/tree.tar", ".")
	podman("import", "--quiet", dir+"/tree.tar", "example.city/tiny:1.0")
	var pids []int
	for _, container := range []string{"web", "worker"} {
		podman("run", "--detach", "--network", "none", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000", "--name", container,
			"example.city/tiny:1.0", busybox, "sleep", "600")
		defer podman("rm", "--force", "--time", "0", container)
		pids = append(pids, number(t, podman("inspect", "--format", "{{.State.Pid}}", container)))
	}
	digest := podman("image", "inspect", "--format", "{{.Digest}}", "example.city/tiny:1.0")
	c := collector(t)
	s := collect(t, c, seen(t, pids...))
	if len(s.Containers) != 2 || len(c.sets) != 1 || len(s.Components) != 1 {
		t.Fatalf("containers %+v, %d databases, %d components; gaps %s", s.Containers, len(c.sets), len(s.Components), gapsOf(s))
	}
	names := make(map[string]bool)
	for i := range s.Containers {
		got := &s.Containers[i]
		names[got.Name] = true
		if got.Runtime != "podman" || got.Image != "example.city/tiny:1.0" || got.Digest != digest || !hash(got.ID) || got.System != "debian 12" {
			t.Errorf("container %+v", got)
		}
	}
	if !names["web"] || !names["worker"] {
		t.Errorf("names %v", names)
	}
	for _, pid := range pids {
		owner, owned := s.Owner(processOf(t, s, pid))
		if !owned || owner.Name != "busybox-static" || len(owner.Images) != 1 || owner.Images[0] != "example.city/tiny:1.0" {
			t.Errorf("owner %+v", owner)
		}
	}
}

// eventuallyGone waits until no program runs that was told of a directory.
func eventuallyGone(t *testing.T, dir string) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		files, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(files, func(file string) bool {
			words, err := os.ReadFile(file)
			return err == nil && strings.Contains(string(words), dir+"/")
		}) {
			return
		}
	}
	t.Errorf("programs still run with %s", dir)
}

func number(t *testing.T, text string) int {
	t.Helper()
	n := 0
	for _, c := range text {
		if c < '0' || c > '9' {
			t.Fatalf("%q is no number", text)
		}
		n = 10*n + int(c-'0')
	}
	return n
}
