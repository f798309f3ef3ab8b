package kernel

import (
	"os"
	"testing"
)

// here is the network namespace of the tests.
func here(t *testing.T) namespace {
	t.Helper()
	f, err := os.Open("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return namespace{file: f, inum: statOf(t, f).Ino}
}

// running is the execution that a process is now.
func running(t *testing.T, k *Kernel, who Flow) Execution {
	t.Helper()
	for _, p := range executionsOf(read(t, k), who) {
		if p.Ended.IsZero() {
			return p.ID
		}
	}
	t.Fatalf("no execution of %+v runs", who.Owner)
	return Execution{}
}

// entrust lets an execution hold what it did not, until the test ends.
func entrust(t *testing.T, k *Kernel, who Execution, stores uint64) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := k.maps[flowsMapCustody].Put(wordOf(who), stores); err != nil {
		t.Fatal(err)
	}
	if err := k.bump(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = k.maps[flowsMapCustody].Delete(wordOf(who)) })
}

// held is what an execution holds.
func held(t *testing.T, k *Kernel, who uint64) (stores uint64) {
	t.Helper()
	_ = k.maps[flowsMapCustody].Lookup(who, &stores)
	return stores
}

type holdKey struct {
	Owner, Stores uint64
	How, _        uint32
}

type holdRow struct {
	From, First, Times, Inode uint64
	Name                      [64]byte
}

// holdRows are the rows of a process.
func holdRows(t *testing.T, k *Kernel, who Flow) map[holdKey]holdRow {
	t.Helper()
	all := make(map[holdKey]holdRow)
	var key holdKey
	var row holdRow
	rows := k.maps[flowsMapHolds].Iterate()
	for rows.Next(&key, &row) {
		if int(key.Owner>>42) == who.Owner.PID {
			all[key] = row
		}
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
