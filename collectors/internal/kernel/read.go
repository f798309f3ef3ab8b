//go:build linux && (amd64 || arm64)

package kernel

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/cilium/ebpf"
)

const (
	batch = 4096

	// idle is how long a row without an open connection is kept; crowded how long
	// where the table is three quarters full.
	idle    = 10 * time.Minute
	crowded = 30 * time.Second
)

// buffers are kept from reading to reading.
type buffers struct {
	keys     []flowsFlowKey
	rows     []flowsFlowRow
	ids      []uint64
	programs []flowsProgram
}

// Take gives the reading that [Kernel.Read] made last, once, so that whoever asks
// for flows has those whose owners another was told of; if there is none, it reads.
func (k *Kernel) Take() (*Reading, error) {
	k.mu.Lock()
	last := k.last
	k.last = nil
	k.mu.Unlock()
	if last != nil {
		return last, nil
	}
	return k.Read()
}

// Latest gives the last reading once more, without its flows; if there was none, it
// reads.
func (k *Kernel) Latest() (*Reading, error) {
	k.mu.Lock()
	latest := k.latest
	k.mu.Unlock()
	if latest == nil {
		return k.Read()
	}
	return latest, nil
}

// Read reads everything, and a flow of its own to see that it sees. Rows that nothing has used for long are dropped once
// they were read, and so are executions that ended and have no row.
func (k *Kernel) Read() (*Reading, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	sung, hoarse := sing()
	booted, err := k.bootTime()
	if err != nil {
		return nil, err
	}
	var r Reading
	owners := make(map[uint64]bool)
	if r.Flows, err = k.flows(nil, booted, owners, sung, true); err != nil {
		return nil, err
	}
	if r.Frames, err = k.frames(booted, owners); err != nil {
		return nil, err
	}
	if r.Sockets, err = k.sockets(); err != nil { // which looks at open files, too
		return nil, err
	}
	var read []flowsHoldKey
	if r.Holds, read, err = k.holds(booted); err != nil {
		return nil, err
	}
	// After the flows and holds, whose owners are then all there.
	if r.Programs, err = k.executions(booted, owners); err != nil {
		return nil, err
	}
	if err := k.dropHolds(read); err != nil {
		return nil, err
	}
	if r.Counts, err = k.count(); err != nil {
		return nil, err
	}
	if r.Counts.Folded == k.folded { // else its own may be among those
		r.Deaf = deaf(sung)
	}
	if hoarse != nil {
		r.Deaf = "the agent cannot send to itself: " + hoarse.Error()
	}
	k.folded = r.Counts.Folded
	k.last = &r
	k.latest = &Reading{Programs: r.Programs, Sockets: r.Sockets, Holds: r.Holds, Counts: r.Counts}
	return &r, nil
}

// Flows appends all rows of the tables to into, with the bytes of connections
// that are open until this moment.
func (k *Kernel) Flows(into []Flow) ([]Flow, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	booted, err := k.bootTime()
	if err != nil {
		return into, err
	}
	return k.flows(into, booted, make(map[uint64]bool), nil, false)
}

// flows reads both tables. Owners are added to owners. Where drop is set, idle
// rows are dropped and what was read is noted for whoever opens the pins next.
func (k *Kernel) flows(into []Flow, booted time.Time, owners map[uint64]bool, sung []canary, drop bool) ([]Flow, error) {
	if err := k.settle(); err != nil {
		return into, err
	}
	into = slices.Grow(into, k.rows)
	into = append(into, k.late...)
	var dead, quiet []flowsFlowKey
	if drop {
		k.late = nil
		if err := k.noteReported(); err != nil {
			return into, err
		}
	}
	n, now := 0, time.Now()
	err := k.each(k.maps[flowsMapFlows], func(key *flowsFlowKey, row *flowsFlowRow) error {
		n++
		if hear(sung, k.netns, key, row) {
			quiet = append(quiet, *key)
			return nil
		}
		f := flowOf(key, row, booted)
		f.Earlier = k.earlier[*key]
		if row.Generation != k.version {
			var err error
			if f.Zone, err = k.zone(key.Remote); err != nil {
				return err
			}
		}
		owners[key.Owner] = true
		into = append(into, f)
		if drop && k.reported != nil {
			k.reported[*key] = Volume{f.Sent, f.Received, f.Connections}
		}
		if drop && f.Open == 0 && now.Sub(f.Last) > crowded {
			dead = append(dead, *key)
		}
		return nil
	})
	if err != nil {
		return into, fmt.Errorf("read flows: %w", err)
	}
	for i := range quiet { // or they would fill the table
		if err := k.maps[flowsMapFlows].Delete(&quiet[i]); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return into, fmt.Errorf("drop flow of the agent to itself: %w", err)
		}
	}
	var deadFolds []flowsFlowKey
	err = k.each(k.maps[flowsMapFolded], func(key *flowsFlowKey, row *flowsFlowRow) error {
		f := foldedOf(key, row, booted)
		f.Stale = row.Generation != k.version && row.Own == 0
		owners[key.Owner] = true
		into = append(into, f)
		if drop && f.Open == 0 && time.Since(f.Last) > crowded {
			deadFolds = append(deadFolds, *key)
		}
		return nil
	})
	if err != nil {
		return into, fmt.Errorf("read folded flows: %w", err)
	}
	k.rows = n + n/8
	full := uint32(n) > k.maps[flowsMapFlows].MaxEntries()/4*3
	if err := k.drop(k.maps[flowsMapFlows], flowOf, dead, full, booted); err != nil {
		return into, err
	}
	return into, k.drop(k.maps[flowsMapFolded], foldedOf, deadFolds, false, booted)
}

// foldedOf is a row of many flows.
func foldedOf(key *flowsFlowKey, row *flowsFlowRow, booted time.Time) Flow {
	f := flowOf(key, row, booted)
	f.Folded, f.Zone = true, uint32(key.Remote[15])
	f.Local, f.Remote = netip.AddrPort{}, netip.AddrPort{}
	if key.Direction == In {
		f.Local = netip.AddrPortFrom(netip.IPv6Unspecified(), key.Port)
	}
	return f
}

// settle moves what open connections of TCP have carried to their rows.
func (k *Kernel) settle() error {
	if err := k.maps[flowsMapSettings].Put(settingOlder, uint32(0)); err != nil {
		return fmt.Errorf("count older sockets: %w", err)
	}
	live, err := k.iterator(flowsProgSettleLive)
	if err != nil {
		return err
	}
	if err := walk(live, io.Discard); err != nil {
		return fmt.Errorf("read open connections: %w", err)
	}
	return nil
}

// each reads a table of flows.
func (k *Kernel) each(m *ebpf.Map, do func(*flowsFlowKey, *flowsFlowRow) error) error {
	b := &k.buffers
	if b.keys == nil {
		b.keys, b.rows = make([]flowsFlowKey, batch), make([]flowsFlowRow, batch)
	}
	var cursor ebpf.MapBatchCursor
	for {
		n, err := m.BatchLookup(&cursor, b.keys, b.rows, nil)
		end := errors.Is(err, ebpf.ErrKeyNotExist)
		if err != nil && !end {
			return err
		}
		for i := range n {
			if err := do(&b.keys[i], &b.rows[i]); err != nil {
				return err
			}
		}
		if end {
			return nil
		}
	}
}

// drop takes rows out of a table. What was counted in a row in between is kept
// for the next reading.
func (k *Kernel) drop(m *ebpf.Map, of func(*flowsFlowKey, *flowsFlowRow, time.Time) Flow, keys []flowsFlowKey, full bool, booted time.Time) error {
	for i := range keys {
		var row flowsFlowRow
		if err := m.Lookup(&keys[i], &row); err != nil {
			continue
		}
		unused := time.Since(booted.Add(time.Duration(row.Last)))
		if row.Open > 0 || unused < crowded || unused < idle && !full {
			continue
		}
		// First, or the row's next life would begin with what this one was read of.
		if k.reported != nil && m == k.maps[flowsMapFlows] {
			delete(k.reported, keys[i])
			if err := k.maps[flowsMapReported].Delete(&keys[i]); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
				return fmt.Errorf("forget idle flow: %w", err)
			}
		}
		read := row
		if err := m.LookupAndDelete(&keys[i], &row); err != nil {
			return fmt.Errorf("drop idle flow: %w", err)
		}
		if row.Sent != read.Sent || row.Received != read.Received || row.Connections != read.Connections {
			k.late = append(k.late, of(&keys[i], &row, booted))
		}
		if m == k.maps[flowsMapFlows] {
			delete(k.earlier, keys[i])
		}
	}
	return nil
}

// frames reads who sent past the protocols, and lets go of whom has not for long.
func (k *Kernel) frames(booted time.Time, owners map[uint64]bool) ([]Frames, error) {
	var all []Frames
	var dead []flowsFrameKey
	var key flowsFrameKey
	var row flowsFrameRow
	rows := k.maps[flowsMapFrames].Iterate()
	for rows.Next(&key, &row) {
		owners[key.Owner] = true
		all = append(all, Frames{
			Owner: executionOf(key.Owner, booted), NetNS: uint64(key.Netns), Kind: key.Kind,
			Bytes: row.Bytes, Last: booted.Add(time.Duration(row.Last)),
		})
		if time.Since(booted.Add(time.Duration(row.Last))) > idle {
			dead = append(dead, key)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read senders of frames: %w", err)
	}
	for i := range dead {
		if err := k.maps[flowsMapFrames].Delete(&dead[i]); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return nil, fmt.Errorf("drop sender of frames: %w", err)
		}
	}
	return all, nil
}

// Counts reads what was counted beside the tables.
func (k *Kernel) Counts() (Counts, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.count()
}

func (k *Kernel) count() (Counts, error) {
	var c Counts
	for i, to := range []*uint64{
		&c.Rows, &c.Bytes, &c.Orphans, &c.Storage, &c.Races, &c.Headers,
		&c.Programs, &c.Images, &c.Events, &c.Folded, &c.Executions, &c.Unlisted, &c.Begun, &c.Unattributed, &c.Reused,
		&c.Holds, &c.Derived,
	} {
		var each []uint64
		if err := k.maps[flowsMapCounts].Lookup(uint32(i), &each); err != nil {
			return c, fmt.Errorf("read counts: %w", err)
		}
		for _, n := range each {
			*to += n
		}
	}
	var older uint32
	if err := k.maps[flowsMapSettings].Lookup(settingOlder, &older); err != nil {
		return c, fmt.Errorf("read older sockets: %w", err)
	}
	skipped, files, err := k.skipped(older > 0)
	c.Skipped, c.SkippedFiles = skipped, files
	c.Derived += k.underived
	return c, err
}
