// Package access judges who may open the files of declared data.
package access

import (
	"fmt"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// ACC002 demands that a store's files are not open to every local user.
func ACC002() finding.Rule {
	return finding.Rule{
		ID:        "ACC-002",
		Title:     "No file of a declared data store is open to everybody",
		Severity:  finding.Critical,
		Rationale: "What every account on the machine may read, every program that is broken into may carry away.",
		Decides: finding.Decides{
			finding.Pass:    "no file or directory of the store that was examined may be read or written by others",
			finding.Fail:    "others may read or write one; of a public store, write one",
			finding.Unknown: "the store's permissions could not all be read, or it is declared by its services alone",
		},
		Remedy:   "Take the permissions from others: chmod -R o-rwx on the directory, and a group or an access control list for those who need it.",
		Pitfalls: "A file is reported although a directory above the store keeps others out. Network exports and web servers that serve the directory, other mounts of it and targets of symbolic links are not looked at.",
		Needs:    []string{inventory.KindAccess},
		Stores:   true,
		Maps:     finding.Maps{"gdpr": {"IV_32.1.b"}, "nis2": {"21.2.i"}},
	}
}

// JudgeACC002 gives one finding a store.
func JudgeACC002(s *inventory.Snapshot, p *configs.Policy) []finding.Finding {
	var found []finding.Finding
	for i := range p.Stores {
		f := judgeStore(s, &p.Stores[i])
		f.Subject, f.Store = p.Stores[i].ID, p.Stores[i].ID
		found = append(found, f)
	}
	return found
}

func judgeStore(s *inventory.Snapshot, declared *configs.DataStore) finding.Finding {
	if len(declared.Paths) == 0 {
		return finding.Finding{Method: finding.Declared, Reason: "the store is declared by its services alone: where its files lie is not known"}
	}
	store, seen := s.DataStore(declared.ID)
	if !seen || store.Examined == 0 && len(store.Exposed) == 0 {
		return finding.Finding{Reason: "no permissions of the store's files were read"}
	}
	exposed := exposures(store, declared.Class == configs.ClassPublic)
	f := finding.Finding{Facts: map[string]any{"examined": store.Examined, "exposed": len(exposed)}}
	if len(exposed) == 0 {
		f.Verdict, f.Reason = finding.Pass, fmt.Sprintf("none of %d files and directories is open to others", store.Examined)
		return f
	}
	f.Verdict = finding.Fail
	f.Reason = fmt.Sprintf("%d of %d files and directories are open to others, %s among them", len(exposed), store.Examined, exposed[0])
	f.Facts["paths"] = exposed[:min(len(exposed), listed)]
	return f
}

// listed is how many exposed paths a finding names.
const listed = 20

// exposures lists what others may use and should not: that they read public data
// is what it is for.
func exposures(store *inventory.DataStore, public bool) []string {
	var paths []string
	for _, e := range store.Exposed {
		switch {
		case e.Writable:
			paths = append(paths, fmt.Sprintf("%s (%04o, writable)", e.Path, e.Mode))
		case !public:
			paths = append(paths, fmt.Sprintf("%s (%04o)", e.Path, e.Mode))
		}
	}
	return paths
}
