package spdx

import (
	"testing"

	"cityward/collectors/inventory"
	"cityward/configs"
)

// The table of substitutes says "free" and "not free" as this package does.
func TestLicencesOfSubstitutes(t *testing.T) {
	table, err := configs.Substitutes()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range table.Products {
		freedom := inventory.NonFree
		if p.Licence != "proprietary" {
			_, freedom = Expression(p.Licence)
		}
		if free := freedom == inventory.Free; free != (p.Kind == configs.ProductForeign) {
			t.Errorf("%s is %s under %s, which is %v", p.ID, p.Kind, p.Licence, freedom)
		}
		for _, s := range p.Substitutes {
			if _, freedom := Expression(s.Licence); freedom != inventory.Free {
				t.Errorf("the substitute %s under %s is %v", s.ID, s.Licence, freedom)
			}
		}
	}
}
