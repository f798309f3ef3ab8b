package storage

import (
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// files is a file tree: a path and its content. A path that ends in a slash is
// a directory, content that begins with an arrow a symbolic link.
type files map[string]string

// plant makes the tree below a new directory and opens it as a machine.
func plant(t *testing.T, trees ...files) *host.Host {
	t.Helper()
	root := t.TempDir()
	for _, tree := range trees {
		for name, content := range tree {
			full := filepath.Join(root, name)
			if strings.HasSuffix(name, "/") {
				mkdir(t, full)
				continue
			}
			mkdir(t, filepath.Dir(full))
			var err error
			if target, link := strings.CutPrefix(content, "-> "); link {
				err = os.Symlink(target, full)
			} else {
				err = os.WriteFile(full, []byte(content), 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	h, err := host.Open(root, func() time.Time { return time.Unix(1_700_000_000, 0) })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Close() })
	return h
}

func mkdir(t *testing.T, dir string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
}

// block gives the sysfs files of one block device, as the kernel lays them out.
// dir is its place below /sys/devices, number its MAJOR:MINOR, slaves the names
// and places of what it is made of.
func block(dir, number string, slaves ...string) files {
	name := filepath.Base(dir)
	full := "/sys/devices/" + dir
	up := strings.Repeat("../", strings.Count(full, "/"))
	tree := files{
		full + "/removable":             "0\n",
		full + "/dev":                   number + "\n",
		full + "/slaves/":               "",
		"/sys/class/block/" + name:      "-> ../../devices/" + dir,
		"/sys/dev/block/" + number:      "-> ../../devices/" + dir,
		"/sys/block/" + name + "/.keep": "",
	}
	delete(tree, "/sys/block/"+name+"/.keep")
	for _, slave := range slaves {
		tree[full+"/slaves/"+filepath.Base(slave)] = "-> " + up + "devices/" + slave
	}
	return tree
}

// partition turns the device into a partition of the one above it.
func (f files) partition(dir string) files {
	f["/sys/devices/"+dir+"/partition"] = "1\n"
	return f
}

// with adds a file of the device's directory.
func (f files) with(dir, name, content string) files {
	f["/sys/devices/"+dir+"/"+name] = content + "\n"
	return f
}

// mounts gives the mount table with a root file system on 8:2.
func mounts(lines ...string) files {
	table := "22 1 8:2 / / rw,relatime shared:1 - ext4 /dev/sda2 rw,errors=remount-ro\n" +
		"23 22 0:21 / /proc rw - proc proc rw\n24 22 0:22 / /sys rw - sysfs sysfs rw\n"
	return files{"/proc/self/mountinfo": table + strings.Join(append(lines, ""), "\n")}
}

func rootDisk() files {
	disk := "pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda"
	tree := block(disk, "8:0")
	maps.Copy(tree, block(disk+"/sda2", "8:2").partition(disk+"/sda2"))
	return tree
}

// collect declares the paths as one store and gives its row and the gaps.
func collect(t *testing.T, h *host.Host, paths ...string) (inventory.DataStore, inventory.Facts) {
	t.Helper()
	cfg := &configs.Config{}
	cfg.City.Networks = prefixes("10.20.0.0/16", "2001:db8:c1::/48")
	cfg.Stores = []configs.DataStore{{ID: "registry", Class: configs.ClassCitizen, Paths: paths}}
	facts, err := New(h, cfg).Collect(t.Context(), &inventory.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	if len(facts.Stores) != 1 {
		t.Fatalf("%d stores, want 1", len(facts.Stores))
	}
	return facts.Stores[0], facts
}
