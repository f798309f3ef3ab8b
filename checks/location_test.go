package checks_test

import (
	"net/netip"
	"testing"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// bare is a physical machine.
func bare() *inventory.Machine {
	return &inventory.Machine{Virtualization: "none", Vendor: "Dell Inc.", Product: "PowerEdge R640", DMI: true}
}

// guest is a virtual machine of nobody in particular.
func guest() *inventory.Machine {
	return &inventory.Machine{Virtualization: "kvm", Vendor: "QEMU", Product: "Standard PC", DMI: true}
}

// cloud is a virtual machine of a provider.
func cloud() *inventory.Machine {
	m := guest()
	m.Platform, m.PlatformName, m.PlatformRule = "hetzner", "Hetzner Cloud", "sys_vendor = Hetzner"
	return m
}

// selfHosted is a virtual machine of cloud software that anybody may run.
func selfHosted() *inventory.Machine {
	m := guest()
	m.Platform, m.PlatformName, m.PlatformRule, m.SelfHosted = "openstack", "OpenStack", "product_name = OpenStack Nova", true
	return m
}

func registered(m *inventory.Machine) *inventory.Machine {
	m.LookedUp, m.Registered = true, true
	return m
}

// unlisted is a machine that was looked for in the register.
func unlisted(m *inventory.Machine) *inventory.Machine {
	m.LookedUp = true
	return m
}

// onDisk is a machine whose store ends on one disk.
func onDisk(m *inventory.Machine, medium string, disks ...inventory.Disk) inventory.Facts {
	return inventory.Facts{Machine: m, Stores: []inventory.DataStore{{
		ID: "registry", Class: "citizen", Medium: medium,
		Paths: []inventory.StorePath{{Path: "/srv/registry", Resolved: "/srv/registry", Medium: medium, Disks: disks}},
	}}}
}

// mounted is a machine whose store is on a network file system.
func mounted(kind, peer string, zone inventory.Zone) inventory.Facts {
	mount := inventory.Mount{Target: "/srv/registry", Type: kind, Source: "files:/registry", Network: true, Peer: peer, PeerZone: zone}
	if peer != "" {
		mount.PeerAddr = netip.MustParseAddr(peer)
	}
	return inventory.Facts{Machine: bare(), Stores: []inventory.DataStore{{
		ID: "registry", Class: "citizen", Medium: inventory.MediumNetwork,
		Paths: []inventory.StorePath{{Path: "/srv/registry", Mount: mount, Medium: inventory.MediumNetwork}},
	}}}
}

func plus(f inventory.Facts, more inventory.Facts) inventory.Facts {
	f.Append(&more)
	return f
}

func locationTrials() map[string][]trial {
	sata := inventory.Disk{Name: "sda", Transport: "sata"}
	virtio := inventory.Disk{Name: "vda", Transport: "virtio", Virtual: true}
	local := inventory.MediumLocal
	disk := onDisk(bare(), local, sata)
	return map[string][]trial{
		"DAT-001": {
			{"fixed disk of a physical machine", disk, city(), only("registry", finding.Pass), nil},
			{"fixed disk of a physical machine that is not in the register", onDisk(unlisted(bare()), local, sata), city(), only("registry", finding.Review), nil},
			{"virtual disk of a registered guest", onDisk(registered(guest()), local, virtio), city(), only("registry", finding.Pass), nil},
			{"virtual disk of some guest", onDisk(guest(), local, virtio), city(), only("registry", finding.Unknown), nil},
			{"passed-through disk of some guest", onDisk(guest(), local, sata), city(), only("registry", finding.Unknown), nil},
			{"disk of a cloud that looks local", onDisk(cloud(), local, inventory.Disk{Name: "nvme0n1", Transport: "nvme"}), city(), only("registry", finding.Fail), nil},
			{"disk of a registered cloud", onDisk(registered(cloud()), local, virtio), city(), only("registry", finding.Review), nil},
			{"disk of a guest of software that a city may run", onDisk(selfHosted(), local, virtio), city(), only("registry", finding.Unknown), nil},
			{"machine not known", onDisk(nil, local, sata), city(), only("registry", finding.Unknown), nil},
			{"firmware not readable", onDisk(&inventory.Machine{Virtualization: "none"}, local, sata), city(), only("registry", finding.Unknown), nil},
			{"removable disk", onDisk(bare(), inventory.MediumRemovable, inventory.Disk{Name: "sdb", Transport: "usb", Removable: true}), city(), only("registry", finding.Fail), nil},
			{"one of two disks removable", onDisk(bare(), local, sata, inventory.Disk{Name: "sdb", Removable: true}), city(), only("registry", finding.Fail), nil},
			{"remote disk", onDisk(bare(), inventory.MediumNetwork, inventory.Disk{Name: "sdc", Transport: "iscsi", Remote: true, Peer: "203.0.113.9"}), city(), only("registry", finding.Fail), nil},
			{"local medium without a disk", onDisk(bare(), local), city(), only("registry", finding.Unknown), nil},
			{"medium not known", onDisk(bare(), inventory.MediumUnknown), city(), only("registry", finding.Unknown), nil},
			{"city server", mounted("nfs4", "10.77.0.9", inventory.City), city(), only("registry", finding.Pass), nil},
			{"outside server", mounted("nfs4", "203.0.113.9", inventory.Outside), city(), only("registry", finding.Fail), nil},
			{"missing", onDisk(bare(), inventory.MediumMissing), city(), only("registry", finding.Unknown), nil},
			{
				"missing while its service listens",
				plus(onDisk(bare(), inventory.MediumMissing), inventory.Facts{
					Stores:    []inventory.DataStore{{ID: "registry", Services: []string{"tcp:5432"}}},
					Listeners: []inventory.Listener{{Protocol: "tcp", Local: netip.MustParseAddrPort("127.0.0.1:5432")}},
				}),
				city(), only("registry", finding.Fail), nil,
			},
			{"services alone", inventory.Facts{Machine: bare(), Stores: []inventory.DataStore{{ID: "registry"}}}, city(), only("registry", finding.Unknown), nil},
			{"no collector looked", inventory.Facts{Machine: bare()}, city(), only("registry", finding.Unknown), nil},
			{"public data", disk, public(), only("registry", finding.NotApplicable), nil},
			{"a gap in storage", plus(disk, inventory.Facts{Gaps: gap(inventory.KindStorage, "")}), city(), only("registry", finding.Unknown), func(t *testing.T, found []finding.Finding) {
				if gaps, _ := found[0].Facts["gaps"].([]string); len(gaps) != 1 || gaps[0] != "something: permission denied (3 in all)" {
					t.Errorf("gaps %q", found[0].Facts["gaps"])
				}
			}},
			{"a gap about another store", plus(disk, inventory.Facts{Gaps: gap(inventory.KindStorage, "taxes")}), city(), only("registry", finding.Pass), nil},
			{"a gap about other evidence", plus(disk, inventory.Facts{Gaps: gap(inventory.KindFlows, "")}), city(), only("registry", finding.Pass), nil},
			{"nothing declared", plus(disk, inventory.Facts{Candidates: []inventory.Candidate{{Engine: "PostgreSQL", Path: "/var/lib/postgresql/15/main"}}}), undeclared(), only("", finding.Unknown), func(t *testing.T, found []finding.Finding) {
				if candidates, _ := found[0].Facts["candidates"].([]string); len(candidates) != 1 || candidates[0] != "/var/lib/postgresql/15/main (PostgreSQL)" {
					t.Errorf("candidates %q", found[0].Facts["candidates"])
				}
			}},
			{"no citizen data", disk, with(undeclared(), func(p *configs.Policy) { p.City.NoCitizenData = true }), only("", finding.NotApplicable), nil},
			{
				"no citizen data, and a gap", plus(disk, inventory.Facts{Gaps: gap(inventory.KindStorage, "")}),
				with(undeclared(), func(p *configs.Policy) { p.City.NoCitizenData = true }), only("", finding.NotApplicable), nil,
			},
		},
		"DAT-002": {
			{"local disk", disk, city(), only("registry", finding.NotApplicable), nil},
			{"missing", onDisk(bare(), inventory.MediumMissing), city(), only("registry", finding.Unknown), nil},
			{"services alone", inventory.Facts{Machine: bare(), Stores: []inventory.DataStore{{ID: "registry"}}}, city(), only("registry", finding.Unknown), nil},
			{"local disk, and a gap", plus(disk, inventory.Facts{Gaps: gap(inventory.KindStorage, "registry")}), city(), only("registry", finding.Unknown), nil},
			{"city server", mounted("cifs", "10.77.0.9", inventory.City), city(), only("registry", finding.Pass), nil},
			{"outside server", mounted("nfs4", "203.0.113.9", inventory.Outside), city(), only("registry", finding.Fail), nil},
			{"outside server, no city network", mounted("nfs4", "203.0.113.9", inventory.Outside), nowhere(), only("registry", finding.Review), nil},
			{"server in an approved network", mounted("nfs4", "198.51.100.1", inventory.Approved), city(), only("registry", finding.Review), nil},
			{"bucket", mounted("fuse.s3fs", "", inventory.Outside), city(), only("registry", finding.Fail), nil},
			{"bucket on a city server", mounted("fuse.rclone", "10.77.0.9", inventory.City), city(), only("registry", finding.Fail), nil},
			{"some FUSE file system", mounted("fuse.gocryptfs", "", inventory.Outside), city(), only("registry", finding.Unknown), nil},
			{"this machine", mounted("nfs4", "127.0.0.1", inventory.Host), city(), only("registry", finding.Pass), nil},
			{"public data", mounted("fuse.s3fs", "", inventory.Outside), public(), only("registry", finding.NotApplicable), nil},
			{"nothing declared", disk, undeclared(), only("", finding.Unknown), nil},
			{"the worst of two", plus(inventory.Facts{Machine: bare()}, inventory.Facts{Stores: []inventory.DataStore{{ID: "registry", Paths: []inventory.StorePath{
				mounted("nfs4", "203.0.113.9", inventory.Outside).Stores[0].Paths[0],
				mounted("nfs4", "10.77.0.9", inventory.City).Stores[0].Paths[0],
			}}}}), city(), only("registry", finding.Fail), func(t *testing.T, found []finding.Finding) {
				if mounts, _ := found[0].Facts["mounts"].([]string); len(mounts) != 2 {
					t.Errorf("mounts %q", mounts)
				}
			}},
		},
	}
}
