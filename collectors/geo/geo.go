// Package geo says in which country an address outside the city is and who runs
// it, by databases in the MaxMind format that lie on this machine. No address
// is ever sent anywhere to be looked up.
//
// geoip2-golang reads the databases that follow MaxMind's scheme (GeoLite2,
// DB-IP). It refuses a type that it does not list, such as IPinfo Lite or one
// that a city made itself; these are flat, and read with maxminddb-golang.
//
// Databases are mapped into memory, not read: a country database of 10 MB would
// be a third of the daemon. A file that is cut short under the mapping faults on
// access, and a hostile one may upset its reader; both end as a gap, since a
// country is worth less than the agent's life.
package geo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"runtime/debug"
	"slices"
	"time"

	"cityward/collectors/internal/host"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// Collector looks up the addresses of one round.
type Collector struct {
	country, operator *table
	maxAge            time.Duration
	places            map[netip.Addr]inventory.Place // of the last round, for the next
}

// New returns a collector for the databases that the configuration names. Their
// paths are this machine's, whichever root is looked at.
func New(_ *host.Host, cfg *configs.Config) *Collector {
	c := &Collector{}
	c.Configure(cfg)
	return c
}

// Configure takes the databases of another configuration.
func (c *Collector) Configure(cfg *configs.Config) {
	if c.country != nil {
		c.country.close()
		c.operator.close()
	}
	c.country = &table{name: "geo-country", path: cfg.Geo.Country}
	c.operator = &table{name: "geo-asn", path: cfg.Geo.ASN}
	c.maxAge = cfg.Geo.MaxAge
	c.places = nil
}

// Collect looks up every public address that is neither this host's nor the
// city's.
func (c *Collector) Collect(ctx context.Context, seen *inventory.Facts) (inventory.Facts, error) {
	var facts inventory.Facts
	if err := ctx.Err(); err != nil {
		return facts, err
	}
	if c.country.path == "" {
		facts.Gaps = append(facts.Gaps, gap("no geo database is configured: [geo] country"))
	}
	for _, t := range []*table{c.country, c.operator} {
		changed, err := t.refresh()
		if changed {
			c.places = nil
		}
		if err != nil {
			facts.Gaps = append(facts.Gaps, gap(err.Error()))
		}
		if t.path != "" {
			facts.Tables = append(facts.Tables, inventory.Table{Name: t.name, Date: t.built, MaxAge: c.maxAge})
		}
	}
	if c.country.open() || c.operator.open() {
		places, err := c.lookUp(ctx, addresses(seen))
		facts.Places = places
		if err != nil {
			facts.Gaps = append(facts.Gaps, gap(err.Error()))
		}
	}
	return facts, ctx.Err()
}

func gap(reason string) inventory.Gap {
	return inventory.Gap{Collector: "geo", Kind: inventory.KindPlaces, Reason: host.Text(reason, 300)}
}

// addresses lists what is worth looking up, sorted, each once.
func addresses(seen *inventory.Facts) []netip.Addr {
	var found []netip.Addr
	add := func(addr netip.Addr, zone inventory.Zone) {
		addr = addr.Unmap()
		if (zone == inventory.Outside || zone == inventory.Approved) && addr.IsGlobalUnicast() && !addr.IsPrivate() {
			found = append(found, addr)
		}
	}
	for i := range seen.Flows {
		add(seen.Flows[i].Remote.Addr(), seen.Flows[i].Zone)
	}
	for i := range seen.Mounts {
		add(seen.Mounts[i].PeerAddr, seen.Mounts[i].PeerZone)
	}
	for i := range seen.Stores {
		for _, path := range seen.Stores[i].Paths {
			for _, disk := range path.Disks {
				if addr, err := netip.ParseAddr(disk.Peer); err == nil {
					add(addr, seen.Stores[i].MediumZone)
				}
			}
		}
	}
	slices.SortFunc(found, netip.Addr.Compare)
	return slices.Compact(found)
}

func (c *Collector) lookUp(ctx context.Context, wanted []netip.Addr) ([]inventory.Place, error) {
	known := make(map[netip.Addr]inventory.Place, len(wanted))
	places := make([]inventory.Place, 0, len(wanted))
	var failure error
	for _, addr := range wanted {
		if ctx.Err() != nil {
			break
		}
		place, before := c.places[addr]
		if !before {
			country, err := guarded(c.country, addr)
			operator, err2 := guarded(c.operator, addr)
			if err = errors.Join(err, err2); err != nil {
				failure = err
			}
			place = inventory.Place{Address: addr, Country: countryCode(country), Operator: host.Text(operator, 100)}
		}
		known[addr] = place
		if place.Country != "" || place.Operator != "" {
			places = append(places, place)
		}
	}
	c.places = known
	return places, failure
}

// guarded looks one address up and survives what a bad file does to its reader.
func guarded(t *table, addr netip.Addr) (answer string, err error) {
	if !t.open() {
		return "", nil
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if cause := recover(); cause != nil {
			answer, err = "", fmt.Errorf("look up in %s: the file is damaged: %v", t.path, cause)
		}
	}()
	answer, err = t.find(addr)
	if err != nil {
		return "", fmt.Errorf("look up in %s: %w", t.path, err)
	}
	return answer, nil
}

// countryCode gives an ISO 3166-1 alpha-2 code, or "" where a database's code is
// not that of one country: EU and AP are regions, A1 and A2 proxies and
// satellites. UK is in use for GB.
func countryCode(code string) string {
	if len(code) != 2 || code[0] < 'A' || code[0] > 'Z' || code[1] < 'A' || code[1] > 'Z' {
		return ""
	}
	switch code {
	case "EU", "AP", "XX", "ZZ":
		return ""
	case "UK":
		return "GB"
	}
	return code
}
