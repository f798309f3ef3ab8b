package machine

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
	"cityward/configs"
)

func open(t testing.TB, root string) *host.Host {
	t.Helper()
	h, err := host.Open(root, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

func collect(t *testing.T, root, register string) inventory.Facts {
	t.Helper()
	cfg := &configs.Config{Policy: configs.Policy{City: configs.City{Hardware: register}}}
	facts, err := New(open(t, root), cfg).Collect(t.Context(), &inventory.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

func TestMachines(t *testing.T) {
	for _, test := range []struct {
		tree                      string
		virtualization, container string
		platform, rule            string
		dmi, bare, registered     bool
	}{
		{tree: "dell", virtualization: "none", dmi: true, bare: true, registered: true},
		{tree: "ec2", virtualization: "vm", platform: "aws", rule: "sys_vendor = Amazon EC2", dmi: true},
		{tree: "ec2-xen", virtualization: "xen", platform: "aws", rule: "product_uuid of Xen with its bytes swapped", dmi: true},
		{tree: "hetzner", virtualization: "vm", platform: "hetzner", rule: "sys_vendor = Hetzner", dmi: true},
		{tree: "qemu", virtualization: "qemu", dmi: true},
		{tree: "openstack", virtualization: "kvm", platform: "openstack", rule: "product_name = OpenStack Nova", dmi: true, registered: true},
		{tree: "cloud-init", virtualization: "qemu", platform: "upcloud", rule: "cloud-id = upcloud", dmi: true},
		{tree: "no-dmi", virtualization: "vm", container: "docker"},
		{tree: "container", virtualization: "podman", container: "podman", dmi: true, bare: true, registered: true},
		{tree: "board", virtualization: "none", dmi: true},
		{tree: "dom0", virtualization: "none", dmi: true, bare: true}, // in the register, but retired
	} {
		t.Run(test.tree, func(t *testing.T) {
			facts := collect(t, filepath.Join("testdata", test.tree), "testdata/assets.csv")
			m := facts.Machine
			if m.Virtualization != test.virtualization || m.Container != test.container {
				t.Errorf("virtualization %q, container %q", m.Virtualization, m.Container)
			}
			if m.Platform != test.platform || m.PlatformRule != test.rule || m.SelfHosted != (test.platform == "openstack") {
				t.Errorf("platform %q by %q, self-hosted %t", m.Platform, m.PlatformRule, m.SelfHosted)
			}
			if m.DMI != test.dmi || m.Bare() != test.bare || !m.LookedUp || m.Registered != test.registered {
				t.Errorf("tables %t, bare %t, looked up %t, registered %t", m.DMI, m.Bare(), m.LookedUp, m.Registered)
			}
			if blind := len(facts.Gaps) > 0; blind == test.dmi {
				t.Errorf("gaps %+v", facts.Gaps)
			}
		})
	}
}

func TestSystem(t *testing.T) {
	m := collect(t, "testdata/dell", "").Machine
	got := inventory.Machine{
		Hostname: m.Hostname, OS: m.OS, OSVersion: m.OSVersion, OSName: m.OSName, Kernel: m.Kernel, BootID: m.BootID, Vendor: m.Vendor, Product: m.Product,
	}
	want := inventory.Machine{
		Hostname: "dell", OS: "debian", OSVersion: "13", OSName: "Debian GNU/Linux 13 (trixie)", Kernel: "6.12.0-12-amd64",
		BootID: "4e9a1bb6-5cd8-4a0b-9d1f-0f6f3c1f2b11", Vendor: "Dell Inc.", Product: "PowerEdge R640",
	}
	if !reflect.DeepEqual(got, want) || !m.Booted.Equal(time.Unix(1767225600, 0)) {
		t.Errorf("got  %+v, booted %v\nwant %+v", got, m.Booted, want)
	}
	if m.Arch != "" || m.CPUs != 0 || len(m.Addresses) > 0 {
		t.Errorf("another machine's tree has the running kernel's %q, %d processors, %v", m.Arch, m.CPUs, m.Addresses)
	}
}

func TestRunningMachine(t *testing.T) {
	facts := collect(t, "/", "")
	m := facts.Machine
	if m.Arch == "" || m.CPUs < 1 || m.MemoryBytes < 1<<20 || m.Kernel == "" || m.BootID == "" || m.Booted.IsZero() {
		t.Errorf("%+v", m)
	}
	if !slices.Contains(m.Addresses, "127.0.0.1") || !slices.Contains(m.Networks, "127.0.0.1/8") {
		t.Errorf("addresses %v", m.Addresses)
	}
	if len(facts.Tables) != 1 || facts.Tables[0].Name != "clouds" || facts.Tables[0].Date.IsZero() {
		t.Errorf("tables %+v", facts.Tables)
	}
}

func TestRegister(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "assets.csv")
	if err := os.WriteFile(broken, []byte("number,place\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{"missing": "testdata/none.csv", "broken": broken, "FIFO": fifo} {
		t.Run(name, func(t *testing.T) {
			facts := collect(t, "testdata/dell", path)
			if facts.Machine.LookedUp || facts.Machine.Registered || len(facts.Gaps) != 1 || facts.Gaps[0].Subject != "asset register" {
				t.Errorf("looked up %t, gaps %+v", facts.Machine.LookedUp, facts.Gaps)
			}
		})
	}
}

// A machine is retired while the agent runs.
func TestRegisterIsReadAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "assets.csv")
	write := func(status string) {
		if err := os.WriteFile(path, []byte("serial,status\n7XK3QW2,"+status+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := New(open(t, "testdata/dell"), &configs.Config{Policy: configs.Policy{City: configs.City{Hardware: path}}})
	for _, status := range []string{"active", "active", "retired"} {
		write(status)
		facts, err := c.Collect(t.Context(), &inventory.Facts{})
		if err != nil || facts.Machine.Registered != (status == "active") {
			t.Errorf("%s: registered %t, %v", status, facts.Machine.Registered, err)
		}
	}
}

// The serial number is for root only. Who may not read it cannot say that the
// machine is not in the register.
func TestSerialNotReadable(t *testing.T) {
	root := t.TempDir()
	if err := os.CopyFS(root, os.DirFS("testdata/dell")); err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"product_serial", "product_uuid"} {
		if err := os.Chmod(filepath.Join(root, "sys/devices/virtual/dmi/id", field), 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(filepath.Dir(root), 0o755); err != nil { // which TempDir keeps to its owner
		t.Fatal(err)
	}
	asNobody(t)
	facts := collect(t, root, "testdata/assets.csv")
	if facts.Machine.LookedUp || facts.Machine.Registered || len(facts.Gaps) != 1 || !strings.Contains(facts.Gaps[0].Reason, "permission denied") {
		t.Errorf("registered %t, gaps %+v", facts.Machine.Registered, facts.Gaps)
	}
	if facts := collect(t, root, ""); len(facts.Gaps) != 0 {
		t.Errorf("no register, and yet gaps %+v", facts.Gaps)
	}
}

// asNobody takes from root, for the rest of the test, the right to read every
// file: the file system user of this thread becomes nobody.
func asNobody(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	runtime.LockOSThread()
	if _, err := unix.SetfsuidRetUid(65534); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := unix.SetfsuidRetUid(0); err != nil {
			t.Error(err)
		}
		runtime.UnlockOSThread()
	})
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := New(open(t, "testdata/dell"), &configs.Config{}).Collect(ctx, &inventory.Facts{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestSwappedEC2(t *testing.T) {
	for _, test := range []struct {
		vendor, uuid string
		want         bool
	}{
		{"Xen", "452a2eec-9c11-4f7e-a6d4-1f2c3b4a5d6e", true},
		{"Xen", "EC2A1B2C-3D4E-5F60-7182-93A4B5C6D7E8", true},
		{"Xen", "452a3eec-9c11-4f7e-a6d4-1f2c3b4a5d6e", false},
		{"Dell Inc.", "452a2eec-9c11-4f7e-a6d4-1f2c3b4a5d6e", false},
		{"Xen", "2eec", false},
		{"Xen", "", false},
	} {
		f := firmware{fields: map[string]string{"sys_vendor": test.vendor, "product_uuid": test.uuid}}
		if got := swappedEC2(f); got != test.want {
			t.Errorf("%s %s: %t", test.vendor, test.uuid, got)
		}
	}
}

func TestParseProcessor(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want processorKind
	}{
		"native":      {"processor\t: 0\nflags\t\t: fpu vme\n", nativeProcessor},
		"guest":       {"flags\t\t: fpu hypervisor lahf_lm\n", guestProcessor},
		"other":       {"flags\t: fpu hypervisors\n", nativeProcessor},
		"arm":         {"processor\t: 0\nFeatures\t: fp asimd\n", silentProcessor},
		"cut in half": {"flags\t\t: fpu vme de ps", silentProcessor},
		"cut, shown":  {"flags\t\t: fpu hypervisor", guestProcessor},
		"empty":       {"", silentProcessor},
	} {
		if got := parseProcessor(strings.NewReader(test.text)); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
}

func TestParseContainer(t *testing.T) {
	for text, want := range map[string]string{
		"PATH=/bin\x00container=lxc\x00": "lxc", "container=": "", "mycontainer=x": "", "": "", "container=a\nb": "a\uFFFDb",
	} {
		if got := parseContainer([]byte(text)); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func FuzzProcessor(f *testing.F) {
	f.Add([]byte("processor\t: 0\nflags\t\t: fpu hypervisor\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if kind := parseProcessor(bytes.NewReader(data)); kind == guestProcessor && !bytes.Contains(data, []byte("hypervisor")) {
			t.Error("a hypervisor from nowhere")
		}
	})
}

func BenchmarkCollect(b *testing.B) {
	c := New(open(b, "/"), &configs.Config{})
	for b.Loop() {
		if _, err := c.Collect(b.Context(), &inventory.Facts{}); err != nil {
			b.Fatal(err)
		}
	}
}
