package storage

import (
	"strings"

	"golang.org/x/sys/unix"

	"cityward/collectors/internal/host"
)

// kind is where a file system keeps its data.
type kind uint8

const (
	kindUnknown kind = iota // not known to this table: never taken for local
	kindPseudo              // of the kernel, holds no data of anyone
	kindBlock               // on the block device st_dev names
	kindPool                // on block devices that st_dev does not name: btrfs, bcachefs
	kindZFS                 // in a pool that only its own tools show
	kindMemory              // in memory, gone at restart
	kindUnion               // overlayfs: in its upper directory
	kindStacked             // in the directory that is its source
	kindVault               // likewise, encrypted
	kindNetwork             // on another machine
	kindGuest               // on the hypervisor's machine: 9p, virtiofs
	kindAuto                // nothing yet: looking below would mount something
)

// kindOf knows the file systems of current kernels and the FUSE ones that
// servers use; a FUSE type is "fuse." and its program's name. What is not
// listed and has no block device is unknown.
func kindOf(m *host.Mount) kind {
	switch m.Type {
	case "proc", "sysfs", "devtmpfs", "devpts", "cgroup", "cgroup2", "mqueue", "debugfs", "tracefs", "securityfs",
		"bpf", "pstore", "configfs", "hugetlbfs", "fusectl", "binfmt_misc", "efivarfs", "rpc_pipefs", "nsfs", "nfsd",
		"selinuxfs", "smackfs", "resctrl", "cpuset", "pidfs", "sockfs", "pipefs", "fuse.lxcfs", "fuse.gvfsd-fuse", "fuse.portal":
		return kindPseudo
	case "tmpfs", "ramfs":
		return kindMemory
	case "overlay", "aufs", "fuse.fuse-overlayfs":
		return kindUnion
	case "btrfs", "bcachefs":
		return kindPool
	case "zfs":
		return kindZFS
	case "autofs":
		return kindAuto
	case "9p", "virtiofs", "vboxsf", "vmhgfs", "fuse.vmhgfs-fuse", "prl_fs":
		return kindGuest
	case "ecryptfs", "fuse.gocryptfs", "fuse.encfs", "fuse.cryfs", "fuse.securefs":
		return kindVault
	case "fuse.bindfs":
		return kindStacked
	}
	if networked(m) {
		return kindNetwork
	}
	if unix.Major(m.Device) != 0 {
		return kindBlock
	}
	return kindUnknown
}

// networked knows the file systems whose data is on another machine: those of
// the kernel, and clients of SSH, WebDAV, FTP, cluster and object storage.
func networked(m *host.Mount) bool {
	name := strings.TrimPrefix(m.Type, "fuse.")
	switch name {
	case "nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "ceph", "lustre", "beegfs", "beegfs_nodev", "gpfs", "panfs", "afs",
		"orangefs", "pvfs2", "coda", "glusterfs", "davfs",
		"ceph-fuse", "mfs", "moosefs", "lizardfs", "saunafs", "quobyte", "weka", "wekafs",
		"sshfs", "curlftpfs", "davfs2", "webdavfs", "smbnetfs", "rclone", "restic", "borgfs",
		"s3fs", "s3ql", "goofys", "mount-s3", "mountpoint-s3", "gcsfuse", "blobfuse", "blobfuse2", "geesefs",
		"juicefs", "JuiceFS", "seaweedfs", "cvmfs2", "hdfs", "fuse_dfs", "onedriver", "google-drive-ocamlfuse", "ossfs", "cosfs", "obsfs":
		return true
	}
	// davfs2 and curlftpfs may give the bare type and the address as source.
	return m.Type == "fuse" && strings.Contains(m.Source, "://")
}
