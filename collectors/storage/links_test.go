package storage

import (
	"strings"
	"testing"
)

// A tablespace or a moved log is a symbolic link to another disk.
func TestLinksOutOfStore(t *testing.T) {
	tree := []files{
		mounts("40 22 0:52 / /mnt/cloud rw - nfs4 203.0.113.5:/x rw,addr=203.0.113.5"), rootDisk(),
		{
			"/srv/registry/pg_wal":           "-> /data/wal",
			"/srv/registry/gone":             "-> /nowhere",
			"/srv/registry/circle":           "-> circle",
			"/srv/registry/pg_tblspc/":       "",
			"/data/wal/":                     "",
			"/mnt/cloud/":                    "",
			"/srv/registry/pg_tblspc/16385":  "-> /mnt/cloud/two",
			"/srv/registry/pg_tblspc/inside": "-> ../pg_wal",
		},
	}
	gaps := func(paths ...string) []string {
		var found []string
		_, facts := collect(t, plant(t, tree...), paths...)
		for _, g := range facts.Gaps {
			if g.Store == "registry" && strings.Contains(g.Reason, "symbolic links") {
				found = append(found, g.Subject)
			}
		}
		return found
	}
	if got := gaps("/srv/registry"); len(got) != 1 || got[0] != "/srv/registry/pg_tblspc/16385 → /mnt/cloud/two" {
		t.Errorf("gaps about %q, want the one link to the other file system", got)
	}
	if got := gaps("/srv/registry", "/mnt/cloud/two"); len(got) != 0 {
		t.Errorf("gaps about %q, though the target is declared", got)
	}
}
