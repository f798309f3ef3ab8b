package metrics

import (
	"cmp"
	"maps"
	"net/netip"
	"path"
	"slices"
	"strings"

	"cityward/agent"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// maxOpen is how many values an open label set admits.
const maxOpen = 20

// other counts what came after those.
const other = "other"

// counters are totals since the daemon started. They never shrink.
type counters struct {
	flows    map[flowLabels]*volume
	outside  *top[place]
	programs *top[program]
	stores   map[storeLabels]uint64
}

// volume is what one or many flows moved.
type volume struct{ sent, received, begun uint64 }

type (
	flowLabels  struct{ direction, protocol, zone string }
	storeLabels struct{ store, zone, how string }
	place       struct{ country, operator string }
	program     string
)

func newCounters() *counters {
	c := &counters{
		flows:    make(map[flowLabels]*volume),
		outside:  newTop(place{other, other}),
		programs: newTop[program](other),
		stores:   make(map[storeLabels]uint64),
	}
	for _, direction := range []string{inventory.In, inventory.Out} {
		for _, protocol := range []string{"tcp", "udp", other} {
			for _, zone := range zones() {
				c.flows[flowLabels{direction, protocol, zone}] = &volume{}
			}
		}
	}
	return c
}

func zones() []string {
	return []string{inventory.Host.String(), inventory.City.String(), inventory.Approved.String(), inventory.Outside.String()}
}

// observe adds what each flow moved since the report before.
func (c *counters) observe(r *agent.Report) {
	c.declare(r.Policy)
	outside := make(map[place]uint64)
	programs := make(map[program]uint64)
	for i := range r.Moved {
		moved := &r.Moved[i]
		flow := moved.Flow
		zone := flow.Zone.String()

		total := c.flows[labelsOf(flow)]
		total.sent += moved.Sent
		total.received += moved.Received
		total.begun += moved.Connections
		for store, how := range strongest(moved.Holds) {
			c.stores[storeLabels{store, zone, how}] += moved.Sent
		}
		if flow.Zone == inventory.Outside && moved.Sent > 0 {
			outside[placeOf(r.Snapshot, flow.Remote.Addr())] += moved.Sent
			programs[programOf(&moved.Program)] += moved.Sent
		}
	}
	c.outside.add(outside, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.country, b.country), cmp.Compare(a.operator, b.operator))
	})
	c.programs.add(programs, cmp.Compare)
}

// declare starts the counters of each store at 0, so that the first byte that
// leaves it is already an increase to Prometheus.
func (c *counters) declare(policy *configs.Policy) {
	for i := range policy.Stores {
		for _, zone := range zones() {
			for _, how := range inventory.Hows() {
				c.stores[storeLabels{policy.Stores[i].ID, zone, how}] += 0
			}
		}
	}
}

// strongest gives the strongest way in which each store is held.
func strongest(holdings []inventory.Holding) map[string]string {
	if len(holdings) == 0 {
		return nil
	}
	ways := make(map[string]string, len(holdings))
	for _, h := range holdings { // the strongest first
		if ways[h.Store] == "" {
			ways[h.Store] = h.How
		}
	}
	return ways
}

func labelsOf(flow *inventory.Flow) flowLabels {
	direction, protocol := inventory.Out, other
	if flow.Direction == inventory.In {
		direction = inventory.In
	}
	if flow.Protocol == "tcp" || flow.Protocol == "udp" {
		protocol = flow.Protocol
	}
	return flowLabels{direction, protocol, flow.Zone.String()}
}

func placeOf(s *inventory.Snapshot, address netip.Addr) place {
	known, _ := s.Place(address)
	country := known.Country
	if len(country) != 2 || strings.Trim(country, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
		country = ""
	}
	return place{label(country), label(known.Operator)}
}

// programOf names a program in words that say nothing about people: a service
// without its instance, which is often a user or a host, else the executable
// without its directory. Scopes and transient units are named after sessions and
// containers, so they would fill the label set with names used once.
func programOf(p *inventory.Process) program {
	name, service := strings.CutSuffix(p.Unit, ".service")
	if service && !strings.HasPrefix(name, "run-") {
		if template, _, instance := strings.Cut(name, "@"); instance {
			name = template + "@"
		}
		return program(label(name + ".service"))
	}
	if p.Executable == "" {
		return program(label(""))
	}
	return program(label(path.Base(p.Executable)))
}

// top is totals over an open label set. The first values are admitted, the
// largest of a round before the others; what is admitted stays, or its counter
// would shrink. What comes later is counted under rest.
type top[K comparable] struct {
	totals map[K]uint64
	rest   K
}

func newTop[K comparable](rest K) *top[K] {
	return &top[K]{totals: map[K]uint64{rest: 0}, rest: rest}
}

func (t *top[K]) add(round map[K]uint64, compare func(a, b K) int) {
	byVolume := slices.SortedFunc(maps.Keys(round), func(a, b K) int {
		return cmp.Or(cmp.Compare(round[b], round[a]), compare(a, b))
	})
	for _, value := range byVolume {
		if _, admitted := t.totals[value]; admitted || len(t.totals) <= maxOpen {
			t.totals[value] += round[value]
		} else {
			t.totals[t.rest] += round[value]
		}
	}
}

// counters shows the totals.
func (p *page) counters(f *families, c *counters) {
	for l, v := range c.flows {
		p.counter(f.flows, v.begun, l.direction, l.protocol, l.zone)
		p.counter(f.flowSent, v.sent, l.direction, l.protocol, l.zone)
		p.counter(f.flowReceived, v.received, l.direction, l.protocol, l.zone)
	}
	for l, bytes := range c.outside.totals {
		p.counter(f.outsideSent, bytes, l.country, l.operator)
	}
	for name, bytes := range c.programs.totals {
		p.counter(f.programOutside, bytes, string(name))
	}
	for l, bytes := range c.stores {
		p.counter(f.storeSent, bytes, l.store, l.zone, l.how)
	}
}
