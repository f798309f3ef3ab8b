package collectors

import (
	"context"
	"testing"

	"cityward/collectors/inventory"
	"cityward/configs"
)

type fixed []inventory.Component

func (f fixed) Collect(context.Context, *inventory.Facts) (inventory.Facts, error) {
	return inventory.Facts{Components: f}, nil
}

func TestStatedLicences(t *testing.T) {
	cfg := configs.Default()
	cfg.Software.Licences = []configs.StatedLicence{
		{Package: "forms", Expression: "EUPL-1.2", Reason: "made for us"},
		{Package: "pkg:deb/debian/agent", Expression: "LicenseRef-Contract", Reason: "contract"},
		{Package: "broken", Expression: "as you like", Reason: "none"},
	}
	found := inventory.Licence{Expression: "Artistic-1.0 OR MIT", Source: "package", Freedom: inventory.Free}
	kept := fixed{
		{Name: "forms", PURL: "pkg:npm/forms@1", Licence: found},
		{Name: "agent", PURL: "pkg:deb/debian/agent@3?arch=amd64", Licence: found},
		{Name: "agent-doc", PURL: "pkg:deb/debian/agent-doc@3", Licence: found},
		{Name: "broken", PURL: "pkg:npm/broken@1", Licence: found},
	}
	s := &stated{Collector: kept, name: "node", cfg: configs.Default()}
	s.Configure(cfg)
	facts, err := s.Collect(t.Context(), &inventory.Facts{})
	if err != nil {
		t.Fatal(err)
	}
	disputed := found
	disputed.Disputed = "Artistic-1.0"
	for i, want := range []inventory.Licence{
		{Expression: "EUPL-1.2", Source: "policy", Freedom: inventory.Free},
		{Expression: "LicenseRef-Contract", Source: "policy"},
		disputed,
		disputed,
	} {
		if got := facts.Components[i].Licence; got != want {
			t.Errorf("%s: got %+v, want %+v", kept[i].Name, got, want)
		}
	}
	if len(facts.Gaps) != 1 || facts.Gaps[0].Subject != "pkg:npm/broken@1" {
		t.Errorf("gaps %+v", facts.Gaps)
	}
	if kept[0].Licence != found {
		t.Error("what the collector keeps was changed")
	}
}
