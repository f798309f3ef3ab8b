//go:build linux && (amd64 || arm64)

package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/cilium/ebpf"
)

// Mark says that an execution holds what others are to have from it: programs that
// it begins and files that it writes from now on. What it did before stays its own;
// what changes in the kernel at the same time is kept.
func (k *Kernel) Mark(owner Execution, stores uint64) error {
	if stores == 0 || owner == (Execution{}) {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	word := wordOf(owner)
	it, err := k.iterator(flowsProgRaiseMarks)
	if err != nil {
		return err
	}
	if err := k.maps[flowsMapRaised].Put(word, stores); err != nil {
		return fmt.Errorf("mark holder: %w", err)
	}
	err = walk(it, io.Discard)
	if err := errors.Join(err, k.maps[flowsMapRaised].Delete(word)); err != nil {
		return fmt.Errorf("mark holder: %w", err)
	}
	return nil
}

// wordOf is the inverse of [executionOf].
func wordOf(e Execution) uint64 {
	return uint64(e.PID)<<42 | (e.Start&(1<<ticksKept-1))<<8 | uint64(e.Image&31)<<3
}

// eachRow reads a table whose rows come and go meanwhile.
func eachRow[K, V any](m *ebpf.Map, do func(*K, *V)) error {
	keys, rows := make([]K, batch/8), make([]V, batch/8)
	var cursor ebpf.MapBatchCursor
	for {
		n, err := m.BatchLookup(&cursor, keys, rows, nil)
		end := errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !end {
			return err
		}
		for i := range n {
			do(&keys[i], &rows[i])
		}
		if end {
			return nil
		}
	}
}

// holds reads how executions came to hold something.
func (k *Kernel) holds(booted time.Time) ([]Hold, []flowsHoldKey, error) {
	var all []Hold
	var keys []flowsHoldKey
	err := eachRow(k.maps[flowsMapHolds], func(key *flowsHoldKey, row *flowsHoldRow) {
		keys = append(keys, *key)
		all = append(all, Hold{
			Owner: executionOf(key.Owner, booted), From: executionOf(row.From, booted),
			Stores: key.Stores, How: key.How, First: booted.Add(time.Duration(row.First)),
			Times: row.Times, Inode: row.Inode, Name: text(row.Name[:]),
		})
	})
	if err != nil {
		return nil, nil, fmt.Errorf("read holds: %w", err)
	}
	return all, keys, nil
}

// dropHolds lets go of those of programs that were let go of, once they were read. A
// program that begins holds something a moment before it is known, so the reading
// before this one must have missed it, too.
func (k *Kernel) dropHolds(read []flowsHoldKey) error {
	missed, asked := make(map[uint64]bool), make(map[uint64]bool)
	dead := func(owner uint64) (bool, error) {
		if !asked[owner] {
			forgotten, err := k.forgotten(owner)
			if err != nil {
				return false, err
			}
			asked[owner] = true
			if forgotten {
				missed[owner] = true
			}
		}
		return missed[owner] && k.missed[owner], nil
	}
	for i := range read {
		if ended, err := dead(read[i].Owner); err != nil || !ended {
			if err != nil {
				return err
			}
			continue
		}
		if err := k.maps[flowsMapHolds].Delete(&read[i]); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("drop hold: %w", err)
		}
	}
	var holders []uint64
	if err := eachRow(k.maps[flowsMapCustody], func(owner, _ *uint64) { holders = append(holders, *owner) }); err != nil {
		return fmt.Errorf("read holders: %w", err)
	}
	for _, owner := range holders {
		if ended, err := dead(owner); err != nil || !ended {
			if err != nil {
				return err
			}
			continue
		}
		if err := k.maps[flowsMapCustody].Delete(owner); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("drop holder: %w", err)
		}
	}
	k.missed = missed
	return nil
}

// forgotten reports whether an execution is no program that the tables have.
func (k *Kernel) forgotten(id uint64) (bool, error) {
	var row flowsProgram
	err := k.maps[flowsMapPrograms].Lookup(id, &row)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return true, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for holder: %w", err)
	}
	return false, nil
}

// sweepDerived makes room for files where three quarters of it are taken: those that
// were used longest ago go, and are counted.
func (k *Kernel) sweepDerived() error {
	type used struct {
		key  flowsFileKey
		last uint64
	}
	var all []used
	table := k.maps[flowsMapDerived]
	err := eachRow(table, func(key *flowsFileKey, row *flowsDerivedRow) { all = append(all, used{*key, row.Last}) })
	if err != nil {
		return fmt.Errorf("read derived files: %w", err)
	}
	if room := int(table.MaxEntries()); len(all) < room/4*3 {
		return nil
	}
	slices.SortFunc(all, func(a, b used) int { return cmp.Compare(a.last, b.last) })
	for _, u := range all[:len(all)/3] {
		if err := table.Delete(&u.key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("drop derived file: %w", err)
		}
		k.underived++
	}
	return nil
}
