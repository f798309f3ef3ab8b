package collectors

import (
	"context"
	"slices"

	"cityward/collectors/internal/spdx"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// sourceStated is the source of a licence that the policy states.
const sourceStated = "policy"

// stated is a collector of software whose licences are overruled by what the
// policy states of packages.
type stated struct {
	Collector
	name string
	cfg  *configs.Config
}

// Configure takes over what is stated.
func (s *stated) Configure(cfg *configs.Config) {
	s.cfg = cfg
	if c, heeds := s.Collector.(Configurer); heeds {
		c.Configure(cfg)
	}
}

// Collect returns what the collector sees, with the licences that are stated. A
// statement that is no SPDX expression overrules nothing and is a gap.
func (s *stated) Collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error) {
	facts, err := s.Collector.Collect(ctx, seen)
	if err != nil {
		return facts, err
	}
	own := false // whether the list is a copy: the collector may keep its own
	change := func(i int) *inventory.Licence {
		if !own {
			facts.Components, own = slices.Clone(facts.Components), true
		}
		return &facts.Components[i].Licence
	}
	for i := range facts.Components {
		c := &facts.Components[i]
		if disputed := spdx.Disputed(c.Licence.Expression); disputed != c.Licence.Disputed {
			change(i).Disputed = disputed
		}
		for j := range s.cfg.Software.Licences {
			l := &s.cfg.Software.Licences[j]
			if !l.Of(c.Name, c.PURL) {
				continue
			}
			expression, freedom := spdx.Expression(l.Expression)
			if expression == "" {
				facts.Gaps = append(slices.Clip(facts.Gaps), inventory.Gap{
					Collector: s.name, Kind: inventory.KindLicences, Subject: c.PURL, Lost: 1,
					Reason: "the policy states a licence that is no SPDX expression",
				})
				continue
			}
			licence := change(i)
			licence.Expression, licence.Freedom, licence.Source = expression, freedom, sourceStated
			licence.Disputed = spdx.Disputed(expression)
		}
	}
	return facts, nil
}
