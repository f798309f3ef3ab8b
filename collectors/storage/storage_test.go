package storage

import (
	"context"
	"errors"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"cityward/collectors/inventory"
	"cityward/configs"
)

func prefixes(texts ...string) []netip.Prefix {
	var list []netip.Prefix
	for _, text := range texts {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

const (
	nvme0 = "pci0000:00/0000:00:1d.0/0000:03:00.0/nvme/nvme0/nvme0n1"
	nvme1 = "pci0000:00/0000:00:1d.4/0000:04:00.0/nvme/nvme1/nvme1n1"
	virt  = "virtual/block/"
)

// Each case is a machine; all have the root file system of mounts.
func TestStore(t *testing.T) {
	sata := inventory.Disk{Name: "sda", Transport: "sata"}
	for _, test := range []struct {
		name      string
		trees     []files
		path      string
		medium    string
		encrypted string
		chain     []string
		disks     []inventory.Disk
		zone      inventory.Zone
		peer      string
		root      string // MountRoot
		gap       string // part of the reason
	}{
		{
			name: "directory on the root disk", trees: []files{mounts(), {"/srv/registry/": ""}}, path: "/srv/registry",
			medium: "local", encrypted: "no", chain: []string{"sda2", "sda"}, disks: []inventory.Disk{sata},
			zone: inventory.Host, root: "/srv/registry",
		},
		{
			name: "absolute symbolic link", trees: []files{mounts(), {"/srv/registry": "-> /data/r", "/data/r/": ""}}, path: "/srv/registry",
			medium: "local", encrypted: "no", chain: []string{"sda2", "sda"}, disks: []inventory.Disk{sata},
			zone: inventory.Host, root: "/data/r",
		},
		{
			name: "missing", trees: []files{mounts()}, path: "/srv/registry", medium: "missing", encrypted: "unknown",
		},
		{
			name: "circle of links", trees: []files{mounts(), {"/srv/a": "-> b", "/srv/b": "-> a"}}, path: "/srv/a",
			medium: "unknown", encrypted: "unknown", gap: "too many levels of symbolic links",
		},
		{
			name: "volume on LUKS on RAID 1 of two NVMe partitions",
			trees: []files{
				mounts("40 22 253:1 / /srv rw - xfs /dev/mapper/vg-data rw"),
				block(virt+"dm-1", "253:1", virt+"dm-0").with(virt+"dm-1", "dm/uuid", "LVM-abc"),
				block(virt+"dm-0", "253:0", virt+"md127").with(virt+"dm-0", "dm/uuid", "CRYPT-LUKS2-0123-luks"),
				block(virt+"md127", "9:127", nvme0+"/nvme0n1p3", nvme1+"/nvme1n1p3"),
				block(nvme0+"/nvme0n1p3", "259:3").partition(nvme0 + "/nvme0n1p3"),
				block(nvme1+"/nvme1n1p3", "259:7").partition(nvme1 + "/nvme1n1p3"),
				block(nvme0, "259:0"), block(nvme1, "259:4"),
				{"/sys/devices/" + nvme0 + "/../transport": "pcie\n", "/sys/devices/" + nvme1 + "/../transport": "pcie\n"},
				{"/srv/registry/": ""},
			},
			path: "/srv/registry", medium: "local", encrypted: "yes",
			chain: []string{"dm-1", "dm-0", "md127", "nvme0n1p3", "nvme0n1", "nvme1n1p3", "nvme1n1"},
			disks: []inventory.Disk{{Name: "nvme0n1", Transport: "nvme"}, {Name: "nvme1n1", Transport: "nvme"}},
			zone:  inventory.Host, root: "/registry",
		},
		{
			name: "verity is no encryption",
			trees: []files{
				mounts("40 22 253:1 / /srv ro - ext4 /dev/dm-1 ro"),
				block(virt+"dm-1", "253:1", nvme0).with(virt+"dm-1", "dm/uuid", "CRYPT-VERITY-0123-root"),
				block(nvme0, "259:0"),
				{"/sys/devices/" + nvme0 + "/../transport": "pcie\n", "/srv/": ""},
			},
			path: "/srv", medium: "local", encrypted: "no", chain: []string{"dm-1", "nvme0n1"},
			disks: []inventory.Disk{{Name: "nvme0n1", Transport: "nvme"}}, zone: inventory.Host, root: "/",
		},
		{
			name: "half of a mirror in the clear",
			trees: []files{
				mounts("40 22 9:0 / /srv rw - ext4 /dev/md0 rw"),
				block(virt+"md0", "9:0", virt+"dm-0", nvme1),
				block(virt+"dm-0", "253:0", nvme0).with(virt+"dm-0", "dm/uuid", "CRYPT-PLAIN-x"),
				block(nvme0, "259:0"), block(nvme1, "259:4"),
				{"/sys/devices/" + nvme0 + "/../transport": "pcie\n", "/sys/devices/" + nvme1 + "/../transport": "pcie\n", "/srv/": ""},
			},
			path: "/srv", medium: "local", encrypted: "no", chain: []string{"md0", "dm-0", "nvme0n1", "nvme1n1"},
			disks: []inventory.Disk{{Name: "nvme0n1", Transport: "nvme"}, {Name: "nvme1n1", Transport: "nvme"}},
			zone:  inventory.Host, root: "/",
		},
		{
			name: "iSCSI disk in the city",
			trees: []files{
				mounts("40 22 8:16 / /srv rw - ext4 /dev/sdb rw"),
				block("platform/host3/session1/target3:0:0/3:0:0:0/block/sdb", "8:16"),
				{"/sys/class/iscsi_connection/connection1:0/persistent_address": "10.20.1.2\n", "/srv/": ""},
			},
			path: "/srv", medium: "network", encrypted: "unknown", chain: []string{"sdb"},
			disks: []inventory.Disk{{Name: "sdb", Transport: "iscsi", Remote: true, Peer: "10.20.1.2"}},
			zone:  inventory.City, peer: "10.20.1.2", root: "/",
		},
		{
			name: "NVMe over TCP, multipath",
			trees: []files{
				mounts("40 22 259:9 / /srv rw - ext4 /dev/nvme2n1 rw"),
				block("virtual/nvme-subsystem/nvme-subsys2/nvme2n1", "259:9"),
				{
					"/sys/devices/virtual/nvme-subsystem/nvme-subsys2/nvme2":     "-> ../../nvme-fabrics/ctl/nvme2",
					"/sys/devices/virtual/nvme-subsystem/nvme-subsys2/nvme2c2n1": "",
					"/sys/devices/virtual/nvme-fabrics/ctl/nvme2/transport":      "tcp\n",
					"/sys/devices/virtual/nvme-fabrics/ctl/nvme2/address":        "traddr=203.0.113.9,trsvcid=4420\n", "/srv/": "",
				},
			},
			path: "/srv", medium: "network", encrypted: "unknown", chain: []string{"nvme2n1"},
			disks: []inventory.Disk{{Name: "nvme2n1", Transport: "nvme-tcp", Remote: true, Peer: "203.0.113.9"}},
			zone:  inventory.Outside, peer: "203.0.113.9", root: "/",
		},
		{
			name: "disk of a cloud behind an NVMe controller",
			trees: []files{
				mounts("40 22 259:0 / /srv rw - ext4 /dev/nvme0n1 rw"), block(nvme0, "259:0"),
				{
					"/sys/devices/" + nvme0 + "/../transport": "pcie\n",
					"/sys/devices/" + nvme0 + "/../model":     "Amazon Elastic Block Store              \n", "/srv/": "",
				},
			},
			path: "/srv", medium: "network", encrypted: "unknown", chain: []string{"nvme0n1"},
			disks: []inventory.Disk{{Name: "nvme0n1", Transport: "nvme", Remote: true, Virtual: true}}, root: "/",
		},
		{
			name: "USB disk",
			trees: []files{
				mounts("40 22 8:33 / /srv rw - ext4 /dev/sdc1 rw"),
				block("pci0000:00/0000:00:14.0/usb2/2-1/2-1:1.0/host4/target4:0:0/4:0:0:0/block/sdc", "8:32"),
				block("pci0000:00/0000:00:14.0/usb2/2-1/2-1:1.0/host4/target4:0:0/4:0:0:0/block/sdc/sdc1", "8:33").
					partition("pci0000:00/0000:00:14.0/usb2/2-1/2-1:1.0/host4/target4:0:0/4:0:0:0/block/sdc/sdc1"),
				{"/srv/": ""},
			},
			path: "/srv", medium: "removable", encrypted: "no", chain: []string{"sdc1", "sdc"},
			disks: []inventory.Disk{{Name: "sdc", Transport: "usb", Removable: true}}, zone: inventory.Host, root: "/",
		},
		{
			name: "virtio disk",
			trees: []files{
				mounts("40 22 254:0 / /srv rw - ext4 /dev/vda rw"),
				block("pci0000:00/0000:00:02.0/virtio1/block/vda", "254:0"),
				{"/srv/": ""},
			},
			path: "/srv", medium: "local", encrypted: "unknown", chain: []string{"vda"},
			disks: []inventory.Disk{{Name: "vda", Transport: "virtio", Virtual: true}}, zone: inventory.Host, root: "/",
		},
		{
			name: "hardware RAID",
			trees: []files{
				mounts("40 22 8:16 / /srv rw - ext4 /dev/sdb rw"),
				block("pci0000:00/0000:00:03.0/0000:01:00.0/host5/target5:2:0/5:2:0:0/block/sdb", "8:16"),
				{"/sys/class/scsi_host/host5/proc_name": "megaraid_sas\n", "/srv/": ""},
			},
			path: "/srv", medium: "local", encrypted: "no", chain: []string{"sdb"},
			disks: []inventory.Disk{{Name: "sdb", Transport: "scsi"}}, zone: inventory.Host, root: "/",
		},
		{
			name: "loop device on a file",
			trees: []files{
				mounts("40 22 7:0 / /srv rw - ext4 /dev/loop0 rw"),
				block(virt+"loop0", "7:0").with(virt+"loop0", "loop/backing_file", "/var/disk.img"),
				{"/var/disk.img": "", "/srv/": ""},
			},
			path: "/srv", medium: "local", encrypted: "no", chain: []string{"loop0", "sda2", "sda"},
			disks: []inventory.Disk{sata}, zone: inventory.Host, root: "/",
		},
		{
			name: "loop device on a deleted file",
			trees: []files{
				mounts("40 22 7:0 / /srv rw - ext4 /dev/loop0 rw"),
				block(virt+"loop0", "7:0").with(virt+"loop0", "loop/backing_file", "/var/disk.img (deleted)"),
				{"/srv/": ""},
			},
			path: "/srv", medium: "unknown", encrypted: "unknown", chain: []string{"loop0"}, root: "/", gap: "no such file",
		},
		{
			name: "loop device that backs itself",
			trees: []files{
				mounts("40 22 7:0 / /srv rw - ext4 /dev/loop0 rw"),
				block(virt+"loop0", "7:0").with(virt+"loop0", "loop/backing_file", "/srv/disk.img"),
				{"/srv/disk.img": ""},
			},
			path: "/srv", medium: "unknown", encrypted: "unknown", chain: []string{"loop0"}, root: "/",
		},
		{
			name: "btrfs on two disks", trees: []files{
				mounts("40 22 0:40 /@srv /srv rw - btrfs /dev/mapper/crypt rw,subvol=/@srv"),
				block(virt+"dm-0", "253:0", nvme0).with(virt+"dm-0", "dm/uuid", "CRYPT-LUKS1-x").with(virt+"dm-0", "dm/name", "crypt"),
				block(nvme0, "259:0"), block(nvme1, "259:4"),
				{
					"/sys/devices/" + nvme0 + "/../transport": "pcie\n", "/sys/devices/" + nvme1 + "/../transport": "pcie\n",
					"/sys/fs/btrfs/features/x": "", "/sys/fs/btrfs/0-1/devices/dm-0": "", "/sys/fs/btrfs/0-1/devices/nvme1n1": "",
					"/srv/registry/": "",
				},
			},
			path: "/srv/registry", medium: "local", encrypted: "no", chain: []string{"dm-0", "nvme0n1", "nvme1n1"},
			disks: []inventory.Disk{{Name: "nvme0n1", Transport: "nvme"}, {Name: "nvme1n1", Transport: "nvme"}},
			zone:  inventory.Host, root: "/@srv/registry",
		},
		{
			name: "ZFS", trees: []files{mounts("40 22 0:50 / /srv rw - zfs tank/srv rw"), {"/srv/": ""}}, path: "/srv",
			medium: "unknown", encrypted: "unknown", root: "/", gap: "ZFS",
		},
		{
			name: "file system nobody knows", trees: []files{mounts("40 22 0:50 / /srv rw - newfs x rw"), {"/srv/": ""}}, path: "/srv",
			medium: "unknown", encrypted: "unknown", root: "/", gap: "type newfs",
		},
		{
			name: "overlay", trees: []files{
				mounts("40 22 0:51 / /srv rw - overlay overlay rw,lowerdir=/l,upperdir=/var/up,workdir=/var/w"),
				{"/var/up/": "", "/srv/registry/": ""},
			},
			path: "/srv/registry", medium: "local", encrypted: "no", chain: []string{"sda2", "sda"},
			disks: []inventory.Disk{sata}, zone: inventory.Host, root: "/registry",
		},
		{
			name: "gocryptfs on NFS", trees: []files{
				mounts("40 22 0:52 / /mnt rw - nfs4 10.20.0.5:/export rw,addr=10.20.0.5",
					"41 22 0:53 / /srv rw - fuse.gocryptfs /mnt/cipher rw,user_id=0"),
			},
			path: "/srv", medium: "network", encrypted: "yes", zone: inventory.City, peer: "10.20.0.5", root: "/",
		},
		{
			name: "NFS outside", trees: []files{mounts("40 22 0:52 / /srv rw - nfs4 files.example:/export rw,vers=4.2,addr=203.0.113.5")},
			path: "/srv/registry", medium: "network", encrypted: "unknown", peer: "203.0.113.5", root: "/registry",
		},
		{
			name: "sshfs by a name of /etc/hosts", trees: []files{
				mounts("40 22 0:52 / /srv rw - fuse.sshfs backup@Store.city.example:/data rw,user_id=0"),
				{"/etc/hosts": "# ours\n10.20.0.9 store.city.example store\n"},
			},
			path: "/srv", medium: "network", encrypted: "unknown", zone: inventory.City, peer: "store.city.example", root: "/",
		},
		{
			name: "automount at rest", trees: []files{mounts("40 22 0:52 / /srv rw - autofs systemd-1 rw,fd=40,direct"), {"/srv/": ""}},
			path: "/srv/registry", medium: "unknown", encrypted: "unknown", root: "/registry", gap: "automount",
		},
		{
			name: "memory", trees: []files{mounts("40 22 0:52 / /srv rw - tmpfs tmpfs rw"), {"/srv/": ""}}, path: "/srv",
			medium: "local", encrypted: "unknown", disks: []inventory.Disk{{Name: "tmpfs", Transport: "memory"}},
			zone: inventory.Host, root: "/",
		},
		{
			name: "hidden below a later mount", trees: []files{
				mounts("40 22 0:52 / /srv/registry rw - nfs4 203.0.113.5:/x rw", "41 22 8:2 /var /srv rw - ext4 /dev/sda2 rw"),
				{"/srv/registry/": ""},
			},
			path: "/srv/registry", medium: "local", encrypted: "no", chain: []string{"sda2", "sda"}, disks: []inventory.Disk{sata},
			zone: inventory.Host, root: "/var/registry",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			row, facts := collect(t, plant(t, append(test.trees, rootDisk())...), test.path)
			p := row.Paths[0]
			if row.Medium != test.medium || p.Medium != test.medium || row.Encrypted != test.encrypted {
				t.Errorf("medium %q, encrypted %q, want %q, %q", row.Medium, row.Encrypted, test.medium, test.encrypted)
			}
			if !slices.Equal(p.Chain, test.chain) {
				t.Errorf("chain %q, want %q", p.Chain, test.chain)
			}
			if !slices.Equal(p.Disks, test.disks) {
				t.Errorf("disks %+v, want %+v", p.Disks, test.disks)
			}
			if row.MediumZone != test.zone || row.Peer != test.peer {
				t.Errorf("zone %v, peer %q, want %v, %q", row.MediumZone, row.Peer, test.zone, test.peer)
			}
			if p.MountRoot != test.root {
				t.Errorf("root %q, want %q", p.MountRoot, test.root)
			}
			switch {
			case test.gap == "" && test.medium != "unknown" && len(facts.Gaps) > 0:
				t.Errorf("gaps %+v, want none", facts.Gaps)
			case test.medium == "unknown" && (len(facts.Gaps) != 1 || facts.Gaps[0].Store != "registry" ||
				!strings.Contains(facts.Gaps[0].Reason, test.gap)):
				t.Errorf("gaps %+v, want one with %q", facts.Gaps, test.gap)
			}
		})
	}
}

func TestMountsBelowStore(t *testing.T) {
	h := plant(t, mounts("40 22 0:52 / /srv/registry/archive rw - nfs4 203.0.113.5:/x rw,addr=203.0.113.5",
		"41 22 0:21 / /srv/registry/proc rw - proc proc rw"), rootDisk(), files{"/srv/registry/archive/": ""})
	row, _ := collect(t, h, "/srv/registry")
	if row.Medium != inventory.MediumNetwork || row.Peer != "203.0.113.5" {
		t.Errorf("medium %q, peer %q: the mount inside the store was missed", row.Medium, row.Peer)
	}
	if len(row.Paths) != 2 || row.Paths[1].Path != "/srv/registry/archive" {
		t.Errorf("paths %+v, want the store and its archive", row.Paths)
	}
}

func TestServicesAlone(t *testing.T) {
	cfg := &configs.Config{}
	cfg.Stores = []configs.DataStore{{ID: "db", Services: []configs.Service{
		{Protocol: "tcp", Port: 5432}, {Protocol: "unix", Path: "/run/s"},
	}}}
	facts, err := New(plant(t, mounts(), rootDisk()), cfg).Collect(t.Context(), &inventory.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	want := inventory.DataStore{
		ID: "db", Services: []string{"tcp:5432", "unix:/run/s"},
		Medium: inventory.MediumUnknown, Encrypted: inventory.EncryptedUnknown,
	}
	if !reflect.DeepEqual(facts.Stores[0], want) {
		t.Errorf("row %+v, want %+v", facts.Stores[0], want)
	}
}

func TestListedMounts(t *testing.T) {
	h := plant(t, mounts("40 22 0:52 / /mnt rw - cifs //user:pw@files/share rw,username=u,password=p,addr=10.20.0.7",
		"41 22 0:53 / /run rw - tmpfs tmpfs rw", "42 22 0:54 / /dav rw - fuse https://u:secret@dav.example/x?token=1 rw"),
		rootDisk())
	_, facts := collect(t, h, "/")
	var listed []string
	for _, m := range facts.Mounts {
		listed = append(listed, m.Target)
		if strings.Contains(m.Source, "pw") || strings.Contains(m.Source, "secret") || strings.Contains(m.Source, "token") {
			t.Errorf("source %q tells a secret", m.Source)
		}
	}
	if want := []string{"/", "/dav", "/mnt"}; !slices.Equal(listed, want) {
		t.Errorf("listed %q, want %q", listed, want)
	}
	share := facts.Mounts[2]
	if !share.Network || share.PeerAddr != netip.MustParseAddr("10.20.0.7") || share.PeerZone != inventory.City {
		t.Errorf("share %+v, want a peer in the city", share)
	}
}

// A candidate in a container is followed through the container's own root.
func TestCandidate(t *testing.T) {
	h := plant(t, mounts(), rootDisk(), files{
		"/proc/77/mountinfo": "90 1 0:60 / / rw - overlay overlay rw,upperdir=/var/up\n91 90 8:2 /var/vol /data rw - ext4 /dev/sda2 rw\n",
		"/proc/77/root/data": "", "/var/lib/db/": "",
	})
	inside, outside := inventory.Execution{PID: 77, Start: 5}, inventory.Execution{PID: 78, Start: 6}
	seen := &inventory.Facts{
		Processes:  []inventory.Process{{ID: inside, Container: "c0ffee"}, {ID: outside}},
		Candidates: []inventory.Candidate{{Engine: "A", Path: "/data", Process: inside}, {Engine: "B", Path: "/var/lib/db", Process: outside}},
	}
	facts, err := New(h, &configs.Config{}).Collect(t.Context(), seen)
	if err != nil {
		t.Fatal(err)
	}
	var roots []string
	for _, c := range facts.Candidates {
		roots = append(roots, c.Storage.Medium+" "+c.Storage.MountRoot)
	}
	if want := []string{"local /var/vol", "local /var/lib/db"}; !slices.Equal(roots, want) {
		t.Errorf("storage %q, want %q", roots, want)
	}
}

func TestBlindness(t *testing.T) {
	if _, err := New(plant(t), &configs.Config{}).Collect(t.Context(), &inventory.Facts{}); err == nil {
		t.Error("a machine without a mount table gave no error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := New(plant(t, mounts()), &configs.Config{}).Collect(ctx, &inventory.Facts{}); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want %v", err, context.Canceled)
	}
	// Mounts, but no sysfs.
	row, facts := collect(t, plant(t, mounts()), "/")
	if row.Medium != inventory.MediumUnknown || len(facts.Gaps) != 1 {
		t.Errorf("medium %q with gaps %+v, want unknown with one", row.Medium, facts.Gaps)
	}
	// A line that is no mount.
	_, facts = collect(t, plant(t, files{"/proc/self/mountinfo": "nonsense\n" + mounts()["/proc/self/mountinfo"]}, rootDisk()), "/")
	if len(facts.Gaps) != 1 || facts.Gaps[0].Lost != 1 {
		t.Errorf("gaps %+v, want one that lost one line", facts.Gaps)
	}
}

func TestSameTwice(t *testing.T) {
	h := plant(t, mounts("40 22 0:52 / /mnt rw - nfs 10.20.0.7:/x rw"), rootDisk())
	_, first := collect(t, h, "/", "/mnt")
	_, second := collect(t, h, "/", "/mnt")
	if !reflect.DeepEqual(first, second) {
		t.Errorf("first %+v, second %+v", first, second)
	}
}
