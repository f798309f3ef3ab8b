package storage

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
)

// leaf describes the device in a sysfs directory that has nothing below it.
// Why it is not understood, if it is not, is the second result.
func leaf(h *host.Host, dir string) (inventory.Disk, string) {
	d := inventory.Disk{Name: path.Base(dir)}
	removable, _ := h.ReadLine(dir + "/removable")
	d.Removable = removable == "1"
	vendor, _ := h.ReadLine(dir + "/device/vendor")
	model, _ := h.ReadLine(dir + "/device/model")

	named(&d)
	if d.Transport == "" {
		placed(h, dir, &d)
	}
	branded(vendor, model, &d)
	switch d.Transport {
	case "":
		return d, "the kind of device is not known"
	case "zvol":
		return d, "the disks of a ZFS pool show only to its own tools"
	case "nvme-loop", "dm", "md", "bcache", "loop":
		return d, "nothing is below it"
	}
	return d, ""
}

// named recognises devices by their driver's name for them.
func named(d *inventory.Disk) {
	if strings.HasPrefix(d.Name, "xvd") { // xvda, as sda
		d.Transport, d.Virtual = "xen", true
		return
	}
	for _, row := range []struct {
		prefix, transport string
		remote            bool
	}{
		{"nbd", "nbd", true},
		{"rbd", "rbd", true},
		{"drbd", "drbd", true},
		{"etherd", "aoe", true},
		{"zram", "memory", false},
		{"ram", "memory", false},
		{"pmem", "nvdimm", false},
		{"mtdblock", "mtd", false},
		{"zd", "zvol", false},
		{"dm-", "dm", false},
		{"md", "md", false},
		{"bcache", "bcache", false},
		{"loop", "loop", false},
	} {
		if rest, found := strings.CutPrefix(d.Name, row.prefix); found && (rest == "" || !letter(rest[0])) {
			d.Transport, d.Remote = row.transport, row.remote
			return
		}
	}
	if strings.HasPrefix(d.Name, "dasd") { // dasda, of a mainframe
		d.Transport = "dasd"
	}
}

func letter(c byte) bool { return 'a' <= c && c <= 'z' }

// placed recognises devices by the buses on their way in /sys/devices.
func placed(h *host.Host, dir string, d *inventory.Disk) {
	switch steps := strings.Split(dir, "/"); {
	case strings.HasPrefix(d.Name, "nvme"):
		nvme(h, path.Dir(dir), d)
	case strings.HasPrefix(d.Name, "mmcblk"):
		d.Transport = "mmc"
		card, _ := h.ReadLine(dir + "/device/type")
		d.Removable = d.Removable || card == "SD"
	case step(steps, "session") != "":
		d.Transport, d.Remote = "iscsi", true
		// Sessions have one connection, but for drivers that join several.
		connection := "/sys/class/iscsi_connection/connection" + strings.TrimPrefix(step(steps, "session"), "session") + ":0"
		d.Peer = peerAddress(h, connection+"/persistent_address", connection+"/address")
	case step(steps, "rport-") != "":
		d.Transport, d.Remote = "fc", true
	case step(steps, "usb") != "":
		d.Transport, d.Removable = "usb", true
	case step(steps, "fw") != "":
		d.Transport, d.Removable = "firewire", true
	case step(steps, "virtio") != "":
		d.Transport, d.Virtual = "virtio", true
	case step(steps, "vbd-") != "":
		d.Transport, d.Virtual = "xen", true
	case step(steps, "ata") != "":
		d.Transport = "sata"
	case step(steps, "end_device-") != "":
		d.Transport = "sas"
	case step(steps, "host") != "":
		scsi(h, step(steps, "host"), d)
	case step(steps, "pci") != "":
		d.Transport = "pci"
	}
}

// step gives the first directory of a sysfs path that is prefix and a number.
func step(steps []string, prefix string) string {
	for _, s := range steps {
		rest, found := strings.CutPrefix(s, prefix)
		if found && rest != "" && '0' <= rest[0] && rest[0] <= '9' {
			return s
		}
	}
	return ""
}

// scsi tells SCSI hosts without a transport class of their own apart by the
// driver's name: RAID controllers are local, some others are not.
func scsi(h *host.Host, hostN string, d *inventory.Disk) {
	d.Transport = "scsi"
	driver, _ := h.ReadLine("/sys/class/scsi_host/" + hostN + "/proc_name")
	switch driver {
	case "ib_srp":
		d.Transport, d.Remote = "srp", true
	case "fcoe", "bnx2fc", "zfcp", "qedf", "fnic":
		d.Transport, d.Remote = "fc", true
	case "storvsc", "storvsc_host_t", "hv_storvsc":
		d.Transport, d.Virtual = "hyperv", true
	case "vmw_pvscsi", "pvscsi", "ibmvscsi", "ibmvfc", "xen-scsifront", "Virtio SCSI HBA":
		d.Virtual = true
	}
}

// nvme reads the transport of the controllers of a name space: its parent
// directory is the controller or, with native multipath, the subsystem that
// holds links to all of its controllers. One remote path makes it remote.
func nvme(h *host.Host, parent string, d *inventory.Disk) {
	controllers := []string{parent}
	if _, err := h.Lstat(parent + "/transport"); err != nil {
		controllers = nil
		for _, name := range entries(h, parent) {
			if number, found := strings.CutPrefix(name, "nvme"); found && !strings.Contains(number, "n") {
				controllers = append(controllers, parent+"/"+name)
			}
		}
	}
	for _, controller := range controllers {
		transport, _ := h.ReadLine(controller + "/transport")
		switch transport {
		case "pcie", "apple-nvme":
			if d.Transport == "" {
				d.Transport = "nvme"
			}
		case "tcp", "rdma", "fc":
			d.Transport, d.Remote = "nvme-"+transport, true
			if d.Peer == "" {
				d.Peer = peerAddress(h, controller+"/address")
			}
		case "loop":
			d.Transport = "nvme-loop"
		}
		if model, _ := h.ReadLine(controller + "/model"); model != "" {
			branded("", model, d)
		}
	}
}

// peerAddress reads an address alone or as traddr=ADDRESS,… from the first file
// that has one.
func peerAddress(h *host.Host, files ...string) string {
	for _, file := range files {
		line, _ := h.ReadLine(file)
		for field := range strings.SplitSeq(line, ",") {
			if addr, err := netip.ParseAddr(strings.TrimPrefix(field, "traddr=")); err == nil {
				return addr.Unmap().WithZone("").String()
			}
		}
	}
	return ""
}

// branded recognises disks that a hypervisor gives by the names they bear, and
// those of clouds that are on another machine.
func branded(vendor, model string, d *inventory.Disk) {
	name := vendor + " " + model
	for _, brand := range []string{"QEMU", "VBOX", "VMware", "Msft", "XEN", "Nutanix", "NUTANIX", "Amazon EC2"} {
		d.Virtual = d.Virtual || strings.Contains(name, brand)
	}
	for _, brand := range []string{"Amazon Elastic Block Store", "PersistentDisk", "nvme_card-pd", "MSFT NVMe Accelerator"} {
		if strings.Contains(name, brand) {
			d.Virtual, d.Remote = true, true
		}
	}
}

// encrypts reports whether a device-mapper device encrypts what is above it.
// The identifier is CRYPT-TYPE-…; verity and integrity devices bear the prefix
// but only protect against change.
func encrypts(h *host.Host, dir string) bool {
	uuid, _ := h.ReadLine(dir + "/dm/uuid")
	kind, found := strings.CutPrefix(uuid, "CRYPT-")
	if !found {
		return false
	}
	kind, _, _ = strings.Cut(kind, "-")
	return slices.Contains([]string{"LUKS1", "LUKS2", "PLAIN", "LOOPAES", "TCRYPT", "BITLK", "FVAULT2", "TEMP"}, kind)
}

// sysLink follows one symbolic link of sysfs, such as /sys/dev/block/8:1, by
// its text: the device's place in the tree is what is wanted.
func sysLink(h *host.Host, link string) (string, error) {
	target, err := h.Readlink(link)
	if err != nil {
		return "", err
	}
	return path.Join(path.Dir(link), target), nil
}

// exists reports whether there is something at a path of sysfs.
func exists(h *host.Host, name string) bool {
	_, err := h.Lstat(name)
	return err == nil
}

// entries lists the names in a directory of sysfs in order, none if it is not
// there.
func entries(h *host.Host, dir string) []string {
	list, _ := h.ReadDir(dir)
	names := make([]string, 0, len(list))
	for _, e := range list {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names
}

// deviceName is how /sys/dev/block names a device.
func deviceName(dev uint64) string {
	return fmt.Sprintf("/sys/dev/block/%d:%d", unix.Major(dev), unix.Minor(dev))
}
