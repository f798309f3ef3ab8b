//go:build linux && (amd64 || arm64)

package kernel

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"

	"github.com/cilium/ebpf"
)

// Indices of the map settings.
const (
	settingGeneration = uint32(iota)
	settingOlder
	settingKept
	settingKeep
	settingHeld
	settingAsked
	settingHolding
	settingServices
	settingTick
	settingCopies
)

// SetZones replaces the prefixes by which addresses are told apart; the longest
// one that holds an address gives its zone, 1 to 255. Rows keep their counts.
// After an error the table holds some of both.
func (k *Kernel) SetZones(zones map[netip.Prefix]uint32) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if maps.Equal(k.zones, zones) {
		return nil
	}
	table := k.maps[flowsMapZones]
	for p, zone := range zones {
		if err := table.Put(zoneKey(p), zone); err != nil {
			return fmt.Errorf("set zone of %s: %w", p, err)
		}
		k.zones[p] = zone // so that an error leaves what the table holds
	}
	for p := range k.zones {
		if _, stays := zones[p]; stays {
			continue
		}
		if err := table.Delete(zoneKey(p)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("drop zone of %s: %w", p, err)
		}
		delete(k.zones, p)
	}
	// Rows that were judged by the old prefixes, or by a mixture, now show it.
	k.version++
	if err := k.maps[flowsMapSettings].Put(settingGeneration, k.version); err != nil {
		return fmt.Errorf("renew zones: %w", err)
	}
	return k.ask() // a row's address may be of none now
}

// recallZones reads the prefixes that pinned maps hold.
func (k *Kernel) recallZones() error {
	var key flowsZoneKey
	var zone uint32
	rows := k.maps[flowsMapZones].Iterate()
	for rows.Next(&key, &zone) {
		addr, bits := netip.AddrFrom16(key.Address), int(key.Bits)
		if addr.Is4In6() && bits >= 96 {
			addr, bits = addr.Unmap(), bits-96
		}
		k.zones[netip.PrefixFrom(addr, bits)] = zone
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("recall zones: %w", err)
	}
	if err := k.maps[flowsMapSettings].Lookup(settingGeneration, &k.version); err != nil {
		return fmt.Errorf("recall zones: %w", err)
	}
	return nil
}

// zone judges a row that has carried nothing since the zones changed.
func (k *Kernel) zone(address [16]byte) (uint32, error) {
	var zone uint32
	err := k.maps[flowsMapZones].Lookup(flowsZoneKey{Bits: 128, Address: address}, &zone)
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return 0, fmt.Errorf("look up zone: %w", err)
	}
	return zone, nil
}

// zoneKey maps IPv4 as the programs do.
func zoneKey(p netip.Prefix) flowsZoneKey {
	p = p.Masked()
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	return flowsZoneKey{Bits: uint32(bits), Address: p.Addr().As16()}
}
