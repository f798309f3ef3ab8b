package installed

import (
	"slices"
	"testing"

	"cityward/collectors/inventory"
)

// Two directories may have packages that call themselves the same.
func TestPartsAddedAgain(t *testing.T) {
	for _, order := range [][]inventory.Freedom{{inventory.Free, inventory.NonFree}, {inventory.NonFree, inventory.Free}} {
		var parts Parts
		for _, freedom := range order {
			parts.Add(Package{}, inventory.Component{PURL: "p", Files: []string{freedom.String()}, Licence: inventory.Licence{Freedom: freedom}})
		}
		got := parts.Facts(nil).Components[0]
		if got.Licence.Freedom != inventory.NonFree || !slices.Equal(got.Files, []string{order[0].String(), order[1].String()}) {
			t.Errorf("%v give %+v", order, got)
		}
	}
}
