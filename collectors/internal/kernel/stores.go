//go:build linux && (amd64 || arm64)

package kernel

import "fmt"

// mostStores is how many bits there are.
const mostStores = 64

// StoreNumber gives the number by which the programs know a store. It stays the
// store's for as long as the capture goes on, which may be longer than this process.
func (k *Kernel) StoreNumber(id string) (uint, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	number, known := k.numbers[id]
	switch {
	case known:
		return number, nil
	case len(k.numbers) >= mostStores:
		return 0, fmt.Errorf("number store: %d have been declared since the capture began, and no more can be told apart", mostStores)
	}
	number = uint(len(k.numbers))
	if k.numbers == nil {
		k.numbers = make(map[string]uint)
	}
	k.numbers[id] = number
	return number, nil
}
