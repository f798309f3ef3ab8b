package loaded

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What a program has mounted over a path is not the machine's script there, and a
// unit with mounts of its own elsewhere runs the machine's.
func TestScriptUnderItsOwnMount(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may mount")
	}
	dir := t.TempDir()
	owned, other := filepath.Join(dir, "owned.pl"), filepath.Join(dir, "other.pl")
	const ready = "$| = 1; print \"ready\\n\"; <STDIN>;\n"
	if err := errors.Join(os.WriteFile(owned, []byte(ready), 0o644), os.WriteFile(other, []byte(ready), 0o644)); err != nil {
		t.Fatal(err)
	}
	h, proc := machine(t, time.Now)
	for from, found := range map[string]int{owned: 1, other: 0} {
		p := child(t, "/", "unshare", "-m", "sh", "-c", `mount --bind "$0" "$1"; exec perl "$1"`, from, owned)
		p.MountNS, p.Arguments = 2, []string{"perl", owned}
		f := read(t, &Reader{}, h, proc, p)
		if len(f.Scripts) != found || found == 1 && !f.Scripts[0].Guarded {
			t.Errorf("%s mounted: scripts %+v", from, f.Scripts)
		}
		if gaps := f.Unknown.Gap(nil, "", ""); len(gaps) != 1-found {
			t.Errorf("%s mounted: gaps %+v", from, gaps)
		}
	}
}
