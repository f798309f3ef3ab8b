//go:build !linux || (!amd64 && !arm64)

package kernel

import (
	"errors"
	"fmt"
	"net/netip"
)

// Available is whether programs for this system and processor are compiled in.
const Available = false

// Kernel is a running capture. This system has none.
type Kernel struct{ refused error }

// Open gives [errors.ErrUnsupported].
func Open(Options) (*Kernel, error) {
	return nil, fmt.Errorf("%w: no programs for this system and processor", errors.ErrUnsupported)
}

// Unpin has nothing to end.
func Unpin(string) error { return nil }

// Read is never called.
func (*Kernel) Read() (*Reading, error) { return nil, errors.ErrUnsupported }

// Take is never called.
func (*Kernel) Take() (*Reading, error) { return nil, errors.ErrUnsupported }

// Flows is never called.
func (*Kernel) Flows([]Flow) ([]Flow, error) { return nil, errors.ErrUnsupported }

// Events is never called.
func (*Kernel) Events([]Event) ([]Event, error) { return nil, errors.ErrUnsupported }

// Counts is never called.
func (*Kernel) Counts() (Counts, error) { return Counts{}, errors.ErrUnsupported }

// SetZones is never called.
func (*Kernel) SetZones(map[netip.Prefix]uint32) error { return errors.ErrUnsupported }

// Latest is never called.
func (*Kernel) Latest() (*Reading, error) { return nil, errors.ErrUnsupported }

// StoreNumber is never called.
func (*Kernel) StoreNumber(string) (uint, error) { return 0, errors.ErrUnsupported }

// SetStores is never called.
func (*Kernel) SetStores([]StoreDir) error { return errors.ErrUnsupported }

// Mark is never called.
func (*Kernel) Mark(Execution, uint64) error { return errors.ErrUnsupported }

// OpensMechanism is never called.
func (*Kernel) OpensMechanism() string { return OpensByLooking }

// OpensMisses is never called.
func (*Kernel) OpensMisses() []string { return nil }

// FollowsMounts is never called.
func (*Kernel) FollowsMounts() bool { return false }

// SetServices is never called.
func (*Kernel) SetServices([]ServiceSocket) error { return errors.ErrUnsupported }

// Exempt is never called.
func (*Kernel) Exempt(Execution, bool) error { return errors.ErrUnsupported }

// MemoryBytes is never called.
func (*Kernel) MemoryBytes() (uint64, error) { return 0, errors.ErrUnsupported }

// Misses is never called.
func (*Kernel) Misses() []string { return nil }

// SeesSenders is never called.
func (*Kernel) SeesSenders() bool { return false }

// Gap is never called.
func (*Kernel) Gap() string { return "" }

// Close does nothing.
func (*Kernel) Close() error { return nil }
