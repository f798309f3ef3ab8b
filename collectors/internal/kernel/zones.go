package kernel

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"

	"github.com/cilium/ebpf"
)

// SetZones replaces the prefixes by which addresses are told apart; the longest
// one that holds an address gives its zone. Rows keep their counts.
func (k *Kernel) SetZones(zones map[netip.Prefix]uint32) error {
	for p, zone := range zones {
		if err := k.objects.Zones.Put(zoneKey(p), zone); err != nil {
			return fmt.Errorf("set zone of %s: %w", p, err)
		}
	}
	for p := range k.zones {
		if _, stays := zones[p]; stays {
			continue
		}
		if err := k.objects.Zones.Delete(zoneKey(p)); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("drop zone of %s: %w", p, err)
		}
	}
	k.zones = maps.Clone(zones)
	// Rows that were judged by the old prefixes, or by a mixture, now show it.
	k.version++
	if err := k.objects.Generation.Set(k.version); err != nil {
		return fmt.Errorf("renew zones: %w", err)
	}
	return nil
}

// zone judges a row that has carried nothing since the zones changed.
func (k *Kernel) zone(address [16]byte) (uint32, error) {
	var zone uint32
	err := k.objects.Zones.Lookup(flowsZoneKey{Bits: 128, Address: address}, &zone)
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
