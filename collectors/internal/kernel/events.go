//go:build linux && (amd64 || arm64)

package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/cilium/ebpf/ringbuf"
)

// Sizes of struct event in flows.h and of struct hold_event in custody.h.
const (
	sizeEvent = sizeHold + 8
	sizeHold  = 2*4 + 8 + 8 + 16 + 4 + 2 + 1 + 1
)

// Events appends what has happened since it was last asked. It does not wait: the
// kernel wakes nobody, so it costs nothing until somebody looks.
func (k *Kernel) Events(into []Event) ([]Event, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	booted, err := k.bootTime()
	if err != nil {
		return into, err
	}
	var record ringbuf.Record
	for {
		err := k.ring.ReadInto(&record)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return into, nil
		}
		if err != nil {
			return into, fmt.Errorf("read events: %w", err)
		}
		event, err := decodeEvent(record.RawSample, booted)
		if err != nil {
			return into, err
		}
		into = append(into, event)
	}
}

func told(kind uint32) bool { return kind == EventFlow || kind == EventLeak }

func decodeEvent(b []byte, booted time.Time) (Event, error) {
	e := binary.NativeEndian
	kind := uint32(0)
	if len(b) >= sizeHold {
		kind = e.Uint32(b)
	}
	if kind != EventHold && (!told(kind) || len(b) < sizeEvent) {
		return Event{}, fmt.Errorf("parse event: not one of %d bytes", len(b))
	}
	if kind == EventHold {
		return Event{
			Kind: EventHold, How: e.Uint32(b[4:]),
			At:     time.Duration(e.Uint64(b[8:])),
			Owner:  executionOf(e.Uint64(b[16:]), booted),
			Stores: e.Uint64(b[24:]),
			From:   executionOf(e.Uint64(b[32:]), booted),
			Inode:  e.Uint64(b[40:]),
		}, nil
	}
	return Event{
		Kind:      kind,
		Stores:    e.Uint64(b[48:]),
		At:        time.Duration(e.Uint64(b[8:])),
		Owner:     executionOf(e.Uint64(b[16:]), booted),
		Remote:    netip.AddrFrom16([16]byte(b[24:40])).Unmap(),
		NetNS:     uint64(e.Uint32(b[40:])),
		Port:      e.Uint16(b[44:]),
		Protocol:  b[46],
		Direction: b[47],
	}, nil
}
