//go:build linux && (amd64 || arm64)

package kernel

import (
	"errors"
	"fmt"
	"maps"

	"github.com/cilium/ebpf"
)

// sweepEvery is after how many readings names that nobody needs are looked for.
const sweepEvery = 20

// referenced is those images and groups that executions have.
func referenced(programs []flowsProgram) (map[flowsImageKey]bool, map[uint64]bool) {
	images, groups := make(map[flowsImageKey]bool), make(map[uint64]bool)
	for i := range programs {
		images[programs[i].Image] = true
		groups[programs[i].Group] = true
	}
	return images, groups
}

// sweep drops names that no execution has, where tables are half full of names.
func (k *Kernel) sweep(images map[flowsImageKey]bool, groups map[uint64]bool) error {
	maps.DeleteFunc(k.images, func(key flowsImageKey, _ executable) bool { return !images[key] })
	maps.DeleteFunc(k.groups, func(key uint64, _ string) bool { return !groups[key] })
	return errors.Join(sweepTable(k.maps[flowsMapImages], images), sweepTable(k.maps[flowsMapGroups], groups))
}

func sweepTable[K comparable](m *ebpf.Map, used map[K]bool) error {
	var all []K
	var key K
	err := m.NextKey(nil, &key)
	for ; err == nil && len(all) < int(m.MaxEntries()); err = m.NextKey(key, &key) {
		all = append(all, key)
	}
	if err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
		return fmt.Errorf("list names: %w", err)
	}
	if len(all) < int(m.MaxEntries())/2 {
		return nil
	}
	for _, key := range all {
		if used[key] {
			continue
		}
		if err := m.Delete(key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("drop name: %w", err)
		}
	}
	return nil
}
