package configs

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// large is a configuration of 1000 networks, stores and transfers.
func large() *Config {
	cfg := Default()
	cfg.Transfers = make([]Transfer, 0, maxEntries)
	for i := range maxEntries {
		bits := 20 + i%12
		a := netip.AddrFrom4([4]byte{10, byte(i / 4), byte(i % 4 * 64), 0})
		cfg.City.Networks = append(cfg.City.Networks, netip.PrefixFrom(a, bits).Masked())
		id := fmt.Sprintf("s%d", i)
		cfg.Stores = append(cfg.Stores, DataStore{ID: id, Class: ClassCitizen, Paths: []string{"/srv/" + id}, Encryption: EncryptionRequired})
		cfg.Transfers = append(cfg.Transfers, Transfer{
			ID: id, Networks: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{11, byte(i / 4), byte(i % 4 * 64), 0}), 26)}, Direction: Out,
			Ports: []uint16{443}, Stores: []string{id}, Country: "BE", Purpose: "p", LegalBasis: "l", Owner: "o", ApprovedBy: "a",
			Expires: endOf(2027, time.March, 31),
		})
	}
	return cfg
}

func TestInCity(t *testing.T) {
	cfg := parse(t, []byte(`city.networks = ["10.20.0.0/16", "10.20.30.0/24", "198.51.100.7/32", "2001:db8:c1::/48", "fe80::/10"]`))
	tests := []struct {
		address string
		want    bool
	}{
		{"10.20.0.0", true},
		{"10.20.255.255", true},
		{"10.20.30.1", true},
		{"10.21.0.0", false},
		{"10.19.255.255", false},
		{"198.51.100.7", true},
		{"198.51.100.8", false},
		{"::ffff:10.20.0.1", true},
		{"::ffff:10.21.0.1", false},
		{"::ffff:a14:1", true},
		{"2001:db8:c1:ffff::1", true},
		{"2001:db8:c2::1", false},
		{"fe80::1%eth0", true},
		{"::10.20.0.1", false},
		{"127.0.0.1", false},
	}
	for _, tt := range tests {
		if got := cfg.InCity(netip.MustParseAddr(tt.address)); got != tt.want {
			t.Errorf("%s: %v", tt.address, got)
		}
	}
	if cfg.InCity(netip.Addr{}) {
		t.Error("no address is in the city")
	}
	if new(Policy).InCity(netip.MustParseAddr("10.20.0.1")) {
		t.Error("nothing listed, and yet in the city")
	}
}

// TestLookupFollowsChanges: a policy that is put together, or changed after it
// was read, answers by what it holds.
func TestLookupFollowsChanges(t *testing.T) {
	cfg := Default()
	home := netip.MustParseAddr("10.77.0.1")
	if cfg.InCity(home) {
		t.Error("in the city before its network is listed")
	}
	cfg.City.Networks = []netip.Prefix{netip.MustParsePrefix("10.77.0.0/16")}
	if !cfg.InCity(home) {
		t.Error("not in the city after its network is listed")
	}
	cfg.Transfers = []Transfer{{ID: "t", Direction: Out, Networks: cfg.City.Networks, Expires: endOf(2027, time.March, 31)}}
	if !cfg.Approves(Out, home, 1, today()) {
		t.Error("not approved by a transfer added")
	}
	cfg.Transfers = nil
	if cfg.Approves(Out, home, 1, today()) {
		t.Error("approved by a transfer removed")
	}
}

// TestLookupAgreesWithScan compares the index with the obvious way.
func TestLookupAgreesWithScan(t *testing.T) {
	cfg := parse(t, large().Text())
	for i := range 4096 {
		a := netip.AddrFrom4([4]byte{byte(9 + i%3), byte(i / 7), byte(i * 31), byte(i * 17)})
		city := slices.ContainsFunc(cfg.City.Networks, func(p netip.Prefix) bool { return p.Contains(a) })
		if got := cfg.InCity(a); got != city {
			t.Fatalf("%s in the city: %v", a, got)
		}
		approved := slices.ContainsFunc(cfg.Transfers, func(tr Transfer) bool { return tr.Networks[0].Contains(a) })
		if got := cfg.Approves(Out, a, 443, today()); got != approved {
			t.Fatalf("%s approved: %v", a, got)
		}
	}
}

func TestMatchTransfers(t *testing.T) {
	cfg := parse(t, []byte(`
		[[data_store]]
		id = "registry"
		class = "citizen"
		paths = ["/srv/registry"]

		[[transfer]]
		id = "wide"
		networks = ["198.51.100.0/24", "198.51.100.0/25"]
		direction = "out"
		country = "BE"
		purpose = "p"
		legal_basis = "l"
		owner = "o"
		approved_by = "a"
		expires = 2026-12-31

		[[transfer]]
		id = "narrow"
		networks = ["198.51.100.0/28"]
		direction = "out"
		ports = [443, 8443]
		programs = ["/usr/bin/java"]
		stores = ["registry"]
		country = "BE"
		purpose = "p"
		legal_basis = "l"
		owner = "o"
		approved_by = "a"
		expires = 2026-11-24

		[[transfer]]
		id = "public"
		networks = ["0.0.0.0/0", "::/0"]
		direction = "in"
		ports = [443]
		purpose = "p"
		legal_basis = "l"
		owner = "o"
		approved_by = "a"
		expires = 2026-12-31
	`))
	last := time.Date(2026, 11, 24, 23, 59, 59, 0, time.UTC)
	near, far := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("198.51.100.200")
	mapped := netip.MustParseAddr("::ffff:198.51.100.1")
	tests := []struct {
		name string
		q    TransferQuery
		want []string
	}{
		{"both", TransferQuery{Direction: Out, Remote: near, Port: 443, Program: "/usr/bin/java", At: last}, []string{"narrow", "wide"}},
		{"mapped", TransferQuery{Direction: Out, Remote: mapped, Port: 8443, Program: "/usr/bin/java", At: last}, []string{"narrow", "wide"}},
		{"other port", TransferQuery{Direction: Out, Remote: near, Port: 80, At: last}, []string{"wide"}},
		{"outside the narrow one", TransferQuery{Direction: Out, Remote: far, Port: 443, At: last}, []string{"wide"}},
		{"program", TransferQuery{Direction: Out, Remote: near, Port: 443, Program: "/usr/bin/java", At: last}, []string{"narrow", "wide"}},
		{"program not known", TransferQuery{Direction: Out, Remote: near, Port: 443, At: last}, []string{"wide"}},
		{"other program", TransferQuery{Direction: Out, Remote: near, Port: 443, Program: "/usr/bin/curl", At: last}, []string{"wide"}},
		{"store", TransferQuery{Direction: Out, Remote: near, Port: 443, Program: "/usr/bin/java", Store: "registry", At: last}, []string{"narrow"}},
		{"store not named", TransferQuery{Direction: Out, Remote: near, Port: 443, Store: "other", At: last}, nil},
		{"the day after", TransferQuery{Direction: Out, Remote: near, Port: 443, At: last.Add(time.Second)}, []string{"wide"}},
		{"at any time", TransferQuery{Direction: Out, Remote: near, Port: 443, Program: "/usr/bin/java"}, []string{"narrow", "wide"}},
		{"in", TransferQuery{Direction: In, Remote: netip.MustParseAddr("203.0.113.9"), Port: 443, At: last}, []string{"public"}},
		{"in over IPv6", TransferQuery{Direction: In, Remote: netip.MustParseAddr("2001:db8::1"), Port: 443, At: last}, []string{"public"}},
		{"in, other port", TransferQuery{Direction: In, Remote: near, Port: 22, At: last}, nil},
		{"no direction", TransferQuery{Remote: near, Port: 443, At: last}, nil},
		{"no address", TransferQuery{Direction: In, Port: 443, At: last}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var ids []string
			for _, tr := range cfg.MatchTransfers(tt.q) {
				ids = append(ids, tr.ID)
			}
			if !slices.Equal(ids, tt.want) {
				t.Errorf("got %v, want %v", ids, tt.want)
			}
			if len(ids) > 0 && !cfg.Approves(tt.q.Direction, tt.q.Remote, tt.q.Port, tt.q.At) {
				t.Error("Approves says otherwise")
			}
		})
	}
}

func BenchmarkInCity(b *testing.B) {
	cfg := parse(b, large().Text())
	inside, outside := netip.MustParseAddr("10.200.128.1"), netip.MustParseAddr("203.0.113.7")
	b.ReportAllocs()
	for b.Loop() {
		if !cfg.InCity(inside) || cfg.InCity(outside) {
			b.Fatal("wrong zone")
		}
	}
}

func BenchmarkMatchTransfers(b *testing.B) {
	cfg := parse(b, large().Text())
	q := TransferQuery{Direction: Out, Remote: netip.MustParseAddr("11.200.128.9"), Port: 443, Store: "s802", At: today()}
	b.ReportAllocs()
	for b.Loop() {
		if len(cfg.MatchTransfers(q)) != 1 {
			b.Fatal("not approved")
		}
	}
}
