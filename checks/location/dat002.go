package location

import (
	"fmt"
	"strings"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// DAT002 demands that network file systems with declared data end on servers of
// the city.
func DAT002() finding.Rule {
	return finding.Rule{
		ID:        "DAT-002",
		Title:     "Network file systems that hold declared data end on city servers",
		Severity:  finding.Critical,
		Rationale: "A mounted share or bucket looks like a local folder, and every file written there is on another machine.",
		Decides: finding.Decides{
			finding.Pass:          "the server of every network file system below the store is in the city's networks",
			finding.Fail:          "a server is outside the city's networks, or the file system keeps its files in an object store or a cloud service",
			finding.Review:        "the policy names no network of the city, or the server is in the network of an approved transfer",
			finding.Unknown:       "the address of a server is not known, or what a FUSE file system keeps its files on; a directory is missing or none is declared",
			finding.NotApplicable: "the store has no directory on a network file system, or its data is public",
		},
		Remedy:   "Unmount the file system and bring the data to a server of the city. If the server is the city's, list its network ([city] networks).",
		Pitfalls: "FUSE file systems that only rearrange local files (mergerfs, gocryptfs) show no server and stay unknown. A share of the city behind a tunnel shows the tunnel's address.",
		Needs:    []string{inventory.KindStorage},
		Stores:   true,
		Maps:     finding.Maps{"eu_csf": {"SOV-3.3"}, "c3a": {"SOV-4-07"}, "gdpr": {"V_44"}},
	}
}

// JudgeDAT002 gives one finding a store.
func JudgeDAT002(s *inventory.Snapshot, p *configs.Policy) []finding.Finding {
	return eachStore(s, p, func(store *inventory.DataStore) finding.Finding {
		if len(store.Paths) == 0 {
			return finding.Finding{Reason: servicesAlone}
		}
		var parts []part
		for i := range store.Paths {
			path := &store.Paths[i]
			switch {
			case path.Medium == inventory.MediumMissing:
				parts = append(parts, part{finding.Unknown, path.Path + ": missing, perhaps not mounted"})
			case path.Mount.Network:
				verdict, text := judgeMount(path, p)
				parts = append(parts, part{verdict, fmt.Sprintf("%s: %s (%s from %s)", path.Path, text, path.Mount.Type, path.Mount.Source)})
			}
		}
		if len(parts) == 0 {
			return finding.Finding{Verdict: finding.NotApplicable, Reason: "the store is on no network file system"}
		}
		decisive := worst(parts)
		return finding.Finding{
			Verdict: decisive.verdict,
			Reason:  decisive.text,
			Facts:   map[string]any{"class": store.Class, "mounts": texts(parts), "peer": store.Peer},
		}
	})
}

func judgeMount(path *inventory.StorePath, p *configs.Policy) (finding.Verdict, string) {
	if objectStore(path.Mount.Type) {
		return finding.Fail, "kept in an object store or a cloud service"
	}
	return peerVerdict(path, p)
}

// objectStore reports whether a file system of this type keeps its files with a
// storage service, wherever that is.
func objectStore(kind string) bool {
	switch strings.TrimPrefix(kind, "fuse.") {
	case "rclone", "s3fs", "gcsfuse", "blobfuse", "blobfuse2", "goofys", "mountpoint-s3", "juicefs", "JuiceFS",
		"onedriver", "google-drive-ocamlfuse", "dropbox", "geesefs", "s3backer", "s3ql":
		return true
	}
	return false
}
