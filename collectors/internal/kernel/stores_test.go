//go:build linux && (amd64 || arm64)

package kernel

import (
	"fmt"
	"testing"
)

// A store keeps its number, also in the eyes of who opens the pins next; more than
// there are bits for are refused.
func TestStoreNumbers(t *testing.T) {
	k := openOwn(t, Options{})
	numbers := make(map[uint]string)
	for i := range mostStores {
		id := fmt.Sprintf("store-%d", i)
		number, err := k.StoreNumber(id)
		if err != nil {
			t.Fatal(err)
		}
		if other, taken := numbers[number]; taken || number >= mostStores {
			t.Fatalf("%s has number %d, which is that of %q", id, number, other)
		}
		numbers[number] = id
	}
	k.numbers = make(map[string]uint) // as whoever comes next
	for number, id := range numbers {
		if again, err := k.StoreNumber(id); err != nil || again != number {
			t.Errorf("%s has number %d, and then %d (%v)", id, number, again, err)
		}
	}
	if number, err := k.StoreNumber("one too many"); err == nil {
		t.Errorf("one too many has number %d", number)
	}
}
