package geo

import (
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"cityward/collectors/inventory"
	"cityward/configs"
)

func built() time.Time { return time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC) }

func country(code string) map[string]any {
	return map[string]any{"country": map[string]any{"iso_code": code}}
}

// countryDB follows MaxMind's scheme, as GeoLite2 and DB-IP do.
func countryDB() []byte {
	return writeMMDB("GeoLite2-Country", built(), map[string]map[string]any{
		"203.0.113.0/24": country("FR"), "198.51.100.0/25": country("UK"), "198.51.100.128/25": country("EU"), "2001:db8::/32": country("US"),
	})
}

func asnDB() []byte {
	return writeMMDB("GeoLite2-ASN", built(), map[string]map[string]any{
		"203.0.113.0/24": {"autonomous_system_number": uint32(64500), "autonomous_system_organization": "Example \x1b[31mTransit"},
	})
}

func write(t *testing.T, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func seen() *inventory.Facts {
	var facts inventory.Facts
	for _, a := range []string{"203.0.113.7", "::ffff:203.0.113.7", "198.51.100.1", "198.51.100.200", "2001:db8::1", "10.1.1.1", "127.0.0.1", "8.8.8.8"} {
		facts.Flows = append(facts.Flows, inventory.Flow{Remote: netip.AddrPortFrom(netip.MustParseAddr(a), 443)})
	}
	facts.Flows = append(facts.Flows, inventory.Flow{Remote: netip.MustParseAddrPort("203.0.113.99:1"), Zone: inventory.City})
	return &facts
}

func TestServersOfStorageAreLookedUp(t *testing.T) {
	facts := &inventory.Facts{
		Mounts: []inventory.Mount{{PeerAddr: netip.MustParseAddr("203.0.113.8")}, {}},
		Stores: []inventory.DataStore{{Paths: []inventory.StorePath{{Disks: []inventory.Disk{{Peer: "198.51.100.2"}, {Peer: "san.example"}}}}}},
	}
	got := addresses(facts)
	want := []netip.Addr{netip.MustParseAddr("198.51.100.2"), netip.MustParseAddr("203.0.113.8")}
	if !slices.Equal(got, want) {
		t.Errorf("addresses = %v, want %v", got, want)
	}
}

func collect(t *testing.T, c *Collector) inventory.Facts {
	t.Helper()
	facts, err := c.Collect(t.Context(), seen())
	if err != nil {
		t.Fatal(err)
	}
	return facts
}

func config(country, asn string) *configs.Config {
	cfg := &configs.Config{}
	cfg.Geo.Country, cfg.Geo.ASN = country, asn
	return cfg
}

func TestPlaces(t *testing.T) {
	flatDB := writeMMDB("ipinfo bundle_location_lite.mmdb", built(), map[string]map[string]any{
		"203.0.113.0/24": {"country": "France", "country_code": "FR", "as_name": "Example Transit"},
	})
	tests := []struct {
		name         string
		country, asn []byte
		want         []inventory.Place
	}{
		{"MaxMind's scheme", countryDB(), asnDB(), []inventory.Place{
			{Address: netip.MustParseAddr("198.51.100.1"), Country: "GB"},
			{Address: netip.MustParseAddr("203.0.113.7"), Country: "FR", Operator: "Example \ufffd[31mTransit"},
			{Address: netip.MustParseAddr("2001:db8::1"), Country: "US"},
		}},
		{"flat", flatDB, flatDB, []inventory.Place{
			{Address: netip.MustParseAddr("203.0.113.7"), Country: "FR", Operator: "Example Transit"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config(write(t, "country.mmdb", tt.country), write(t, "asn.mmdb", tt.asn))
			cfg.Geo.MaxAge = time.Hour
			c := New(nil, cfg)
			facts := collect(t, c)
			if !reflect.DeepEqual(facts.Places, tt.want) {
				t.Errorf("places = %+v, want %+v", facts.Places, tt.want)
			}
			if len(facts.Gaps) != 0 {
				t.Errorf("gaps = %+v", facts.Gaps)
			}
			want := []inventory.Table{{Name: "geo-country", Date: built(), MaxAge: time.Hour}, {Name: "geo-asn", Date: built(), MaxAge: time.Hour}}
			if !reflect.DeepEqual(facts.Tables, want) {
				t.Errorf("tables = %+v", facts.Tables)
			}
			if again := collect(t, c); !reflect.DeepEqual(again, facts) {
				t.Errorf("the second round differs: %+v", again)
			}
		})
	}
}

func TestNoDatabaseIsAGap(t *testing.T) {
	tests := map[string]struct {
		cfg  *configs.Config
		want string
	}{
		"none configured": {config("", ""), "no geo database is configured"},
		"missing":         {config(filepath.Join(t.TempDir(), "none.mmdb"), ""), "no such file"},
		"a directory":     {config(t.TempDir(), ""), "not a regular file"},
		"no database":     {config(write(t, "x.mmdb", []byte("hello")), ""), "open geo database"},
		"wrong kind":      {config(write(t, "x.mmdb", asnDB()), ""), "look up in"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			facts := collect(t, New(nil, tt.cfg))
			if len(facts.Places) != 0 || len(facts.Gaps) == 0 || !strings.Contains(facts.Gaps[0].Reason, tt.want) {
				t.Errorf("places = %v, gaps = %+v; want a gap with %q", facts.Places, facts.Gaps, tt.want)
			}
			// A database that is asked for and not there has no date: nobody may call it current.
			if tables := len(facts.Tables); tables != 0 && name == "none configured" || tables != 1 && name != "none configured" {
				t.Errorf("tables = %+v", facts.Tables)
			}
		})
	}
}

func TestReplacedDatabaseIsReadAgain(t *testing.T) {
	path := write(t, "country.mmdb", countryDB())
	c := New(nil, config(path, ""))
	collect(t, c)
	newer := write(t, "newer.mmdb", writeMMDB("GeoLite2-Country", built().AddDate(0, 1, 0), map[string]map[string]any{"203.0.113.0/24": country("DE")}))
	if err := os.Rename(newer, path); err != nil {
		t.Fatal(err)
	}
	facts := collect(t, c)
	if len(facts.Places) != 1 || facts.Places[0].Country != "DE" || !facts.Tables[0].Date.After(built()) {
		t.Errorf("after the replacement: %+v, %+v", facts.Places, facts.Tables)
	}
	// A bad file does not take away what the good one tells.
	if err := os.Rename(write(t, "bad.mmdb", []byte("bad")), path); err != nil {
		t.Fatal(err)
	}
	facts = collect(t, c)
	if len(facts.Places) != 1 || len(facts.Gaps) != 1 {
		t.Errorf("after a bad replacement: %+v, %+v", facts.Places, facts.Gaps)
	}
}

// A file cut short while it is mapped faults on access: a gap, not a crash.
func TestTruncatedUnderTheMapping(t *testing.T) {
	path := write(t, "country.mmdb", countryDB())
	c := New(nil, config(path, ""))
	if _, err := c.country.refresh(); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := guarded(c.country, netip.MustParseAddr("203.0.113.7")); err == nil || !strings.Contains(err.Error(), "damaged") {
		t.Errorf("err = %v, want one that says the file is damaged", err)
	}
}

// Whatever the bytes, looking up ends in an answer or an error.
func FuzzDatabase(f *testing.F) {
	f.Add(countryDB())
	f.Add(asnDB())
	f.Fuzz(func(t *testing.T, data []byte) {
		c := New(nil, config(write(t, "country.mmdb", data), ""))
		facts := collect(t, c)
		for _, p := range facts.Places {
			if len(p.Country) != 2 {
				t.Errorf("country %q", p.Country)
			}
		}
		c.Configure(config("", ""))
	})
}

func BenchmarkWarmRound(b *testing.B) {
	path := filepath.Join(b.TempDir(), "country.mmdb")
	if err := os.WriteFile(path, countryDB(), 0o600); err != nil {
		b.Fatal(err)
	}
	c := New(nil, config(path, ""))
	var facts inventory.Facts
	for i := range 1000 {
		facts.Flows = append(facts.Flows, inventory.Flow{Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 443)})
	}
	for b.Loop() {
		if _, err := c.Collect(b.Context(), &facts); err != nil {
			b.Fatal(err)
		}
	}
}
