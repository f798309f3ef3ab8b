//go:build linux && (amd64 || arm64)

package kernel

import (
	"crypto/sha256"
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// mostStores is how many bits there are.
const mostStores = 64

// StoreNumber gives the number by which the programs know a store. It stays the
// store's for as long as the capture goes on, which may be longer than this process.
func (k *Kernel) StoreNumber(id string) (uint, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if number, known := k.numbers[id]; known {
		return number, nil
	}
	table, key := k.maps[flowsMapNumbered], sha256.Sum256([]byte(id))
	var number uint32
	err := table.Lookup(&key, &number)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		number, err = k.nextNumber()
		if err == nil {
			err = table.Put(&key, number)
		}
	}
	if err != nil {
		return 0, fmt.Errorf("number store: %w", err)
	}
	k.numbers[id] = uint(number)
	return uint(number), nil
}

// nextNumber counts those that were given.
func (k *Kernel) nextNumber() (uint32, error) {
	var key [sha256.Size]byte
	var number, next uint32
	rows := k.maps[flowsMapNumbered].Iterate()
	for rows.Next(&key, &number) {
		next = max(next, number+1)
	}
	if err := rows.Err(); err != nil {
		return 0, err
	}
	if next >= mostStores {
		return 0, fmt.Errorf("%d have been declared since the capture began, and no more can be told apart", mostStores)
	}
	return next, nil
}
