package flows

import (
	"path"
	"slices"
	"strings"

	"cityward/checks/finding"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// DAT008 demands that backups stay on the city's hardware.
func DAT008() finding.Rule {
	return finding.Rule{
		ID:        "DAT-008",
		Title:     "Backup programs carry no declared data beyond the city",
		Severity:  finding.Critical,
		Rationale: "A backup is the whole store at once. Where it lies outside, so does everything, for as long as it is kept.",
		Decides: finding.Decides{
			finding.Pass:          "no backup program sent a store's data beyond the city, but for approved transfers, which are listed",
			finding.Fail:          "one did under no approved transfer that names the store",
			finding.Review:        "one was connected beyond the city and sent nothing, or the policy names no network of the city",
			finding.Unknown:       "connections or holders may have gone unseen",
			finding.NotApplicable: "no backup program holds the store's data, or it is public",
		},
		Remedy:   "Point the backup at hardware of the city, or record the recipient as a [[transfer]] that names the store, with encryption before it is sent.",
		Pitfalls: "Backup programs are known by their names. What they are configured to do, and has not happened while the agent watched, is not read. Whether the data was encrypted before it was sent is not seen.",
		Needs:    []string{inventory.KindFlows, inventory.KindHoldings, inventory.KindProcesses},
		Stores:   true,
		Maps:     finding.Maps{"eu_csf": {"SOV-3.3"}, "gdpr": {"IV_32.1.c", "V_44"}, "nis2": {"21.2.c"}, "ens": {"mp.info.6"}},
	}
}

// DAT010 demands the same of programs that keep folders alike.
func DAT010() finding.Rule {
	return finding.Rule{
		ID:        "DAT-010",
		Title:     "Synchronisation programs carry no declared data beyond the city",
		Severity:  finding.High,
		Rationale: "A program that keeps a folder alike in two places makes its copy of a store without anybody asking for it again.",
		Decides: finding.Decides{
			finding.Pass:          "no synchronisation program sent a store's data beyond the city, but for approved transfers, which are listed",
			finding.Fail:          "one did under no approved transfer that names the store",
			finding.Review:        "one was connected beyond the city and sent nothing, or the policy names no network of the city",
			finding.Unknown:       "connections or holders may have gone unseen",
			finding.NotApplicable: "no synchronisation program holds the store's data, or it is public",
		},
		Remedy:   "Take the store out of what is synchronised, point it at hardware of the city, or record the recipient as a [[transfer]] that names the store.",
		Pitfalls: "These programs are known by their names. What they are configured to do, and has not happened while the agent watched, is not read.",
		Needs:    []string{inventory.KindFlows, inventory.KindHoldings, inventory.KindProcesses},
		Stores:   true,
		Maps:     finding.Maps{"eu_csf": {"SOV-3.3"}, "c3a": {"SOV-4-07"}, "gdpr": {"V_44"}},
	}
}

// backups are names of executables that make backups, from the file lists of the
// Debian packages of the same programs and the manuals of their makers.
func backups() []string {
	return []string{
		"amandad", "bacula-fd", "bacula-sd", "bareos-fd", "bareos-sd", "barman", "barman-cloud-backup", "borg", "borgmatic", "burp", "bupstash",
		"dirvish", "duplicity", "duply", "dump", "kopia", "mariabackup", "mariadb-dump", "mysqldump", "obnam", "pg_basebackup", "pg_dump",
		"pg_dumpall", "pgbackrest", "proxmox-backup-client", "rdiff-backup", "restic", "rsnapshot", "tarsnap", "tartarus", "urbackupclientbackend",
		"urbackupsrv", "veeamagent", "veeamservice", "wal-g", "xtrabackup",
	}
}

// syncers are those of programs that copy to another place.
func syncers() []string {
	return []string{
		"aws", "azcopy", "btrbk", "csync2", "dropbox", "gsutil", "insync", "lftp", "lsyncd", "mc", "megasync", "minio", "nextcloud", "nextcloudcmd",
		"onedrive", "owncloudcmd", "rclone", "resilio-sync", "rslsync", "rsync", "s3cmd", "s4cmd", "scp", "seaf-daemon", "sftp", "syncoid", "syncthing",
		"unison", "zfs",
	}
}

// JudgeDAT008 looks at holders that are backup programs.
func JudgeDAT008(s *inventory.Snapshot, p *configs.Policy) []finding.Finding {
	return judgeCarriers(s, p, backups(), "no backup program holds the store's data")
}

// JudgeDAT010 looks at holders that are synchronisation programs.
func JudgeDAT010(s *inventory.Snapshot, p *configs.Policy) []finding.Finding {
	return judgeCarriers(s, p, syncers(), "no synchronisation program holds the store's data")
}

// judgeCarriers judges what left by chains that such a program is part of: ssh may
// be what carries rsync's copy.
func judgeCarriers(s *inventory.Snapshot, p *configs.Policy, names []string, none string) []finding.Finding {
	counted := countsBytes(s)
	var found []finding.Finding
	for i := range p.Stores {
		store := &p.Stores[i]
		if store.Class == configs.ClassPublic {
			found = append(found, finding.Finding{
				Subject: store.ID, Store: store.ID, Verdict: finding.NotApplicable, Method: finding.Declared, Reason: "the store's data is public",
			})
			continue
		}
		carriers := 0
		var exchanged ledger
		for _, holds := range byProcess(s.HoldingsOf(store.ID)) {
			name, is := carrier(s, &holds[0], names)
			if !is {
				continue
			}
			carriers++
			flows := s.FlowsOf(holds[0].Process)
			for j := range flows {
				if f := &flows[j]; beyond(f) {
					exchanged.exchange(store.ID+", by "+name+endpoint(f)).addHeld(s, holds, f, covering(s, p, f, store.ID), counted)
				}
			}
		}
		of := exchanged.findings(s, p, store.ID+" → others")
		switch {
		case carriers == 0:
			of = append(of, finding.Finding{Subject: store.ID, Verdict: finding.NotApplicable, Reason: none})
		case settled(of):
			of = append(of, quiet(store.ID, carriers, len(of), 0))
		}
		for j := range of {
			of[j].Store = store.ID
		}
		found = append(found, of...)
	}
	return found
}

// carrier finds a program of these names in a holder's chain.
func carrier(s *inventory.Snapshot, h *inventory.Holding, names []string) (string, bool) {
	for _, at := range chainTo(s, h) {
		name := strings.TrimSuffix(path.Base(s.Executable(at.process)), ".exe")
		if slices.Contains(names, name) {
			return name, true
		}
	}
	return "", false
}
