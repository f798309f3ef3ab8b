//go:build linux && (amd64 || arm64)

package kernel

import (
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

func flowOf(k *flowsFlowKey, r *flowsFlowRow, booted time.Time) Flow {
	f := Flow{
		Owner: executionOf(k.Owner, booted), NetNS: uint64(k.Netns),
		Direction: k.Direction, Protocol: k.Protocol,
		Sent: r.Sent, Received: r.Received, Connections: r.Connections,
		Attempts: uint64(max(r.Attempts, 0)), Open: uint64(max(r.Open, 0)),
		First: booted.Add(time.Duration(r.First)), Last: booted.Add(time.Duration(r.Last)),
		Began: time.Duration(r.First),
		Zone:  r.Zone, Own: r.Own != 0,
	}
	if r.SentLast != 0 {
		f.SentLast = booted.Add(time.Duration(r.SentLast))
	}
	local, remote := uint16(0), k.Port
	if k.Direction == In {
		local, remote = k.Port, 0
	}
	f.Local = netip.AddrPortFrom(netip.AddrFrom16(r.Local).Unmap(), local)
	f.Remote = netip.AddrPortFrom(netip.AddrFrom16(k.Remote).Unmap(), remote)
	return f
}

// ticksKept is how many bits of a start time the kernel keeps; those above follow
// from the clock.
const ticksKept = 34

// executionOf takes the word of who.h apart.
func executionOf(word uint64, booted time.Time) Execution {
	if word == 0 {
		return Execution{}
	}
	const tick = 10 * time.Millisecond
	now := uint64(time.Since(booted) / tick)
	start := word >> 8 & (1<<ticksKept - 1)
	if now >= start {
		start += (now - start) >> ticksKept << ticksKept
	}
	return Execution{PID: int(word >> 42), Start: start, Image: uint8(word >> 3 & 31)}
}

// bootTime is when the clock of the rows was zero. It stays as it was until the
// machine's clock is set, so that a row begins at the same time in each reading.
func (k *Kernel) bootTime() (time.Time, error) {
	var since unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &since); err != nil {
		return time.Time{}, fmt.Errorf("read boot clock: %w", err)
	}
	now := time.Now().Round(0).Add(-time.Duration(since.Nano()))
	if now.Sub(k.booted).Abs() > time.Second {
		k.booted = now
	}
	return k.booted, nil
}
