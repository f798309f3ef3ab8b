package configs

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func golden(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func parse(t testing.TB, data []byte) *Config {
	t.Helper()
	cfg, err := Parse("test.toml", data)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestDefault(t *testing.T) {
	cfg := Default()
	if cfg.Source != "" || len(cfg.City.Networks) > 0 || len(cfg.Stores) > 0 || cfg.City.NoCitizenData || cfg.Listen.Insecure {
		t.Errorf("the default states what only a city can: %+v", cfg)
	}
	want := &Config{
		Listen:  Listen{Metrics: "127.0.0.1:19777", Admin: "/run/cityward/admin.sock"},
		Round:   Round{Interval: 15 * time.Second, Timeout: 10 * time.Second},
		Capture: Capture{Tier: "auto", Flows: 65536, Programs: 16384, Pins: "/sys/fs/bpf/cityward"},
		Geo:     Geo{MaxAge: 90 * day},
		Ledger:  Ledger{Days: 400, MaxSize: 512 << 20},
		Alerts:  Alerts{Severity: "high", Repeat: time.Minute, Hold: 5 * time.Minute, Keep: 7 * day, Batch: 500, Rate: 60},
		Log:     Log{Level: "info", Format: "logfmt"},
	}
	want.Software = Software{FreeShareMinimum: 0.9, UnknownShareMaximum: 0.05}
	want.Custody = Custody{AlertBytes: firstByte(), HolderMaximum: 0.5, Relays: cfg.Custody.Relays}
	if !slices.Contains(cfg.Custody.Relays, "/usr/lib/systemd/systemd-journald") {
		t.Errorf("relays are %q", cfg.Custody.Relays)
	}
	want.lookup = cfg.lookup
	want.Substitutes = cfg.Substitutes
	if !reflect.DeepEqual(cfg, want) {
		t.Errorf("got %+v, want %+v", cfg, want)
	}
	text := DefaultText()
	text[0] = 'x'
	if bytes.Equal(text, DefaultText()) {
		t.Error("the default can be changed by who reads it")
	}
}

// firstByte is that every way of holding alerts at once.
func firstByte() map[string]uint64 {
	least := make(map[string]uint64)
	for _, how := range ways() {
		least[how] = 1
	}
	return least
}

// TestDefaultDocumentsAll makes a configuration of the examples in the default
// and demands that it sets every field there is.
func TestDefaultDocumentsAll(t *testing.T) {
	main, waivers := examples(t)
	cfg := parse(t, []byte(main))
	for field, v := range reflect.ValueOf(*cfg).Fields() {
		switch field.Name {
		case "Source", "State":
		case "Policy":
			for _, part := range []any{cfg.City, cfg.Software, cfg.Stores, cfg.Transfers, cfg.Custody} {
				filled(t, reflect.TypeOf(part).String(), reflect.ValueOf(part))
			}
		default:
			filled(t, field.Name, v)
		}
	}
	got, err := ParseWaivers("default", []byte(waivers), today())
	if err != nil {
		t.Fatal(err)
	}
	filled(t, "Waivers", reflect.ValueOf(got))
}

// examples gives the default with each example in place of the value that holds
// without it, and the example of waivers.
func examples(t *testing.T) (main, waivers string) {
	t.Helper()
	example := regexp.MustCompile(`^#((\[\[)?[a-z_.]+)(\]\]| = )`)
	var lines []string
	section := 0 // where the lines of the section begin
	for line := range strings.SplitSeq(defaultText, "\n") {
		m := example.FindStringSubmatch(line)
		if strings.HasPrefix(line, "[") || m != nil && m[2] != "" {
			section = len(lines)
		}
		if m != nil {
			for i := section; i < len(lines); i++ {
				if strings.HasPrefix(lines[i], m[1]+" = ") {
					lines[i] = ""
				}
			}
			line = line[1:]
		}
		lines = append(lines, line)
	}
	main, waivers, found := strings.Cut(strings.Join(lines, "\n"), "[[waiver]]")
	if !found {
		t.Fatal("the default shows no waiver")
	}
	return main, "[[waiver]]" + waivers
}

// filled fails for a field without a value. Booleans and alternatives may be.
func filled(t *testing.T, path string, v reflect.Value) {
	t.Helper()
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[Receiver]() { // has alternatives; see TestDefaultDocumentsReceivers
			return
		}
		if v.Type() == reflect.TypeFor[time.Time]() || v.Type() == reflect.TypeFor[Service]() || v.Type() == reflect.TypeFor[netip.Prefix]() {
			break
		}
		for field, value := range v.Fields() {
			filled(t, path+"."+field.Name, value)
		}
		return
	case reflect.Slice:
		for i := range v.Len() {
			filled(t, fmt.Sprintf("%s[%d]", path, i), v.Index(i))
		}
	case reflect.Bool:
		return
	}
	if v.IsZero() && path != "configs.City.Name" && path != "Alerts.GroupWait" {
		t.Errorf("%s has no value: the default does not document its key", path)
	}
}

func TestParseFull(t *testing.T) {
	cfg := parse(t, golden(t, "good/full.toml"))
	prefix := netip.MustParsePrefix
	want := Config{
		Policy: Policy{
			City: City{
				Name: `Exämple "City" \ 1`, Networks: []netip.Prefix{prefix("10.20.0.0/16"), prefix("2001:db8:c1::/48")},
				Domains: []string{"city.example", "xn--espaa-rta.example"}, Countries: []string{"ES"}, Hardware: "/etc/cityward/assets.csv",
			},
			Software: Software{
				FreeShareMinimum: 1, UnknownShareMaximum: 0.125, LocalPrograms: []string{"/usr/local/bin/registry-sync"},
				Licences: []StatedLicence{{"pkg:deb/debian/acme-agent", "EUPL-1.2", "contract 2024-17"}},
			},
			Stores: []DataStore{
				{
					ID: "civil-registry", Class: ClassCitizen, Paths: []string{"/srv/registry", "/srv/registry/archive"},
					Services: []Service{{Protocol: "tcp", Port: 5432}, {Protocol: "unix", Path: "/run/postgresql/.s.PGSQL.5432"}},
					Readers:  []string{"postgres", "group:registry", "group:domain users"}, Encryption: EncryptionRequired,
				},
				{ID: "web", Class: ClassPublic, Services: []Service{{Protocol: "udp", Port: 53}}, Encryption: EncryptionOptional},
			},
			Transfers: []Transfer{
				{
					ID: "eidas-node", Networks: []netip.Prefix{prefix("198.51.100.0/28"), prefix("2001:db8:ffff::/64")}, Direction: Out,
					Ports: []uint16{443}, Programs: []string{"/usr/bin/java"}, Stores: []string{"civil-registry"}, Country: "BE",
					Purpose: "cross-border identification", LegalBasis: "Regulation (EU) 910/2014", Owner: "registry office",
					ApprovedBy: "data protection officer", Expires: time.Date(2027, 3, 31, 23, 59, 59, 999999999, time.UTC),
				},
				{
					ID: "website", Networks: []netip.Prefix{prefix("0.0.0.0/0"), prefix("::/0")}, Direction: In,
					Ports: []uint16{80, 443}, Stores: []string{"web"}, Purpose: "the city's web site", LegalBasis: "GDPR art. 6(1)(e)",
					Owner: "web team", ApprovedBy: "mayor", Expires: time.Date(2026, 1, 1, 23, 59, 59, 999999999, time.UTC),
				},
			},
			Custody: Custody{
				AlertBytes:    map[string]uint64{"direct": 1, "service": 1, "descendant": 1, "pipeline": 1000, "derived": 0},
				HolderMaximum: 0.25, Relays: []string{"/usr/bin/dbus-daemon"},
				Ignore: []CustodyIgnore{{
					Program: "/usr/bin/updatedb", How: []string{"direct", "derived"}, Stores: []string{"civil-registry"}, Reason: "reads names alone",
				}},
			},
			Substitutes: cfg.Substitutes,
			lookup:      cfg.lookup,
		},
		Listen:  Listen{Metrics: "[::]:19777", WebConfig: "/etc/cityward/web.yml"},
		Round:   Round{Interval: 90 * time.Second, Timeout: 2 * time.Minute},
		Capture: Capture{Tier: "events", Flows: 1024, Programs: 1 << 20},
		Geo:     Geo{Country: "/var/lib/cityward/country.mmdb", ASN: "/var/lib/cityward/asn.mmdb", MaxAge: 36 * time.Hour},
		Ledger:  Ledger{Days: 30, MaxSize: 2 << 30},
		Alerts: Alerts{
			Severity: "medium", GroupWait: 10 * time.Second, Repeat: 2 * time.Minute, Hold: 0, Keep: day, Batch: 100, Rate: 6,
			Receivers: []Receiver{
				{
					Name: "alertmanager", Kind: Alertmanager, URL: "https://[2001:db8:c1::9]:9093/prefix", CAFile: "/etc/cityward/ca.crt",
					CertFile: "/etc/cityward/client.crt", KeyFile: "/etc/cityward/client.key", ServerName: "alertmanager.city.example",
					Username: "Müller", PasswordFile: "/etc/cityward/password",
				},
				{Name: "on-call", Kind: Webhook, URL: "http://127.0.0.1:8080/hook?team=a", BearerTokenFile: "/etc/cityward/token"},
				{Name: "far", Kind: Webhook, URL: "http://hooks.city.example", Insecure: true},
			},
		},
		Log:    Log{Level: "debug", Format: "json"},
		Source: "test.toml",
	}
	if !reflect.DeepEqual(*cfg, want) {
		t.Errorf("got  %+v\nwant %+v", *cfg, want)
	}
}

func TestParseInline(t *testing.T) {
	cfg := parse(t, golden(t, "good/inline.toml"))
	if cfg.City.Name != "Example" || len(cfg.City.Networks) != 1 || cfg.Listen.Metrics != "localhost:0" || cfg.Listen.Admin != "/run/c.sock" {
		t.Errorf("got %+v", cfg)
	}
	if s, ok := cfg.Store("a"); !ok || s.Encryption != EncryptionRequired {
		t.Errorf("store a: %+v, %v", s, ok)
	}
	if _, ok := cfg.Store("b"); ok {
		t.Error("a store that is not declared")
	}
	if cfg.Round.Interval != 15*time.Second {
		t.Errorf("interval %v, want the default", cfg.Round.Interval)
	}
}

func TestListenBeyondLoopback(t *testing.T) {
	tests := []struct {
		listen string
		ok     bool
	}{
		{`metrics = "127.0.0.1:1"`, true},
		{`metrics = "127.9.9.9:1"`, true},
		{`metrics = "[::1]:1"`, true},
		{`metrics = "[::ffff:127.0.0.1]:1"`, true},
		{`metrics = "localhost:1"`, true},
		{`metrics = ":1"`, false},
		{`metrics = "0.0.0.0:1"`, false},
		{`metrics = "[::]:1"`, false},
		{`metrics = "10.77.0.1:1"`, false},
		{`metrics = ":1"` + "\ninsecure = true", true},
		{`metrics = ":1"` + "\nweb_config = \"/etc/web.yml\"", true},
		{`metrics = ":1"` + "\nweb_config = \"\"", false},
		{`metrics = "host.example:1"` + "\ninsecure = true", false},
		{`metrics = "127.0.0.1"`, false},
		{`metrics = "127.0.0.1:"`, false},
		{`metrics = "127.0.0.1:65536"`, false},
		{`metrics = "::1:80"`, false},
		{`metrics = ""`, false},
	}
	for _, tt := range tests {
		if _, err := Parse("t", []byte("[listen]\n"+tt.listen)); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.listen, err)
		}
	}
}

func TestBounds(t *testing.T) {
	if _, err := Parse("t", bytes.Repeat([]byte("#"), maxFile+1)); err == nil || !strings.Contains(err.Error(), "1 MiB") {
		t.Errorf("a large file: %v", err)
	}
	if _, err := Parse("t", bytes.Repeat([]byte("#"), maxFile)); err != nil {
		t.Errorf("a file of 1 MiB: %v", err)
	}
	var b strings.Builder
	for i := range maxEntries + 1 {
		fmt.Fprintf(&b, "[[data_store]]\nid = \"s%d\"\nclass = \"public\"\npaths = [\"/srv/%d\"]\n", i, i)
	}
	if _, err := Parse("t", []byte(b.String())); err == nil || err.Error() != "t:1:3: data_store: has 1001 entries, at most 1000 are read" {
		t.Errorf("many stores: %v", err)
	}
	long := fmt.Sprintf("[city]\nname = %q", strings.Repeat("x", maxText+1))
	if _, err := Parse("t", []byte(long)); err == nil || !strings.Contains(err.Error(), "t:2:8: city.name: is longer") {
		t.Errorf("a long name: %v", err)
	}
}

func TestLoad(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "cityward.toml")
	write := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Load(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	write("cityward.toml", golden(t, "good/full.toml"))
	cfg, err := load(file, today())
	if err != nil || cfg.Source != file || cfg.Waivers != nil || cfg.WaiverErr != nil {
		t.Fatalf("without waivers: %v, %+v", err, cfg)
	}
	write(WaiverFile, golden(t, "good/waivers.toml"))
	if cfg, err = load(file, today()); err != nil || len(cfg.Waivers) != 2 || cfg.WaiverErr != nil {
		t.Errorf("with waivers: %v, %+v", err, cfg)
	}
	write(WaiverFile, golden(t, "broken/waivers.toml"))
	cfg, err = load(file, today())
	if err != nil || len(cfg.Waivers) != 0 || len(cfg.Stores) != 2 {
		t.Errorf("with broken waivers: %v, %+v", err, cfg)
	}
	var mistakes Errors
	if !errors.As(cfg.WaiverErr, &mistakes) || mistakes[0].File != filepath.Join(dir, WaiverFile) {
		t.Errorf("broken waivers are told as %v", cfg.WaiverErr)
	}
	write("cityward.toml", golden(t, "broken/all.toml"))
	if cfg, err := Load(file); cfg != nil || !errors.As(err, &mistakes) {
		t.Errorf("broken: %v, %v", cfg, err)
	}
}

func TestLoadOddFiles(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(dir); err == nil {
		t.Error("a directory is read")
	}
	file := filepath.Join(dir, "cityward.toml")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, WaiverFile), 0o700); err != nil {
		t.Fatal(err)
	}
	if cfg, err := Load(file); err != nil || cfg.WaiverErr == nil {
		t.Errorf("a directory in place of waivers: %v", err)
	}
	big := filepath.Join(dir, "big")
	if err := os.WriteFile(big, bytes.Repeat([]byte("\n"), 4*maxFile), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(big); err == nil || !strings.Contains(err.Error(), "larger than 1 MiB") {
		t.Errorf("a large file: %v", err)
	}
}

func TestTextRoundTrip(t *testing.T) {
	for _, text := range []string{defaultText, string(golden(t, "good/full.toml")), string(golden(t, "good/inline.toml"))} {
		cfg := parse(t, []byte(text))
		again := parse(t, cfg.Text())
		if !reflect.DeepEqual(cfg, again) {
			t.Errorf("got %+v\nwant %+v\nfrom %s", again, cfg, cfg.Text())
		}
	}
	cfg := Default()
	cfg.Waivers = make([]Waiver, 2)
	if text := string(cfg.Text()); !strings.Contains(text, "# Waivers read from waivers.toml: 2\n") {
		t.Errorf("waivers are not counted: %s", text)
	}
	cfg.WaiverErr = errors.New("broken\n[city]")
	if text := string(cfg.Text()); !strings.Contains(text, "# No waiver is honoured") || strings.Count(text, "[city]") != 1 {
		t.Errorf("broken waivers are not told: %s", text)
	}
}

// FuzzParse: a configuration is written so that it is read the same; a mistake
// lies inside the file.
func FuzzParse(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, text string) {
		cfg, err := Parse("fuzz", []byte(text))
		if err != nil {
			var mistakes Errors
			if !errors.As(err, &mistakes) || cfg != nil {
				t.Fatalf("%T with %v", err, cfg)
			}
			inside(t, text, mistakes)
			return
		}
		again, err := Parse("fuzz", cfg.Text())
		if err != nil || !reflect.DeepEqual(cfg, again) {
			t.Fatalf("%v\ngot  %+v\nwant %+v", err, again, cfg)
		}
	})
}

func inside(t *testing.T, text string, mistakes Errors) {
	t.Helper()
	rows := strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n")
	for i, e := range mistakes {
		if e.Line < 1 || e.Line > len(rows) || e.Column < 1 || e.Column > len(rows[e.Line-1])+1 || e.Reason == "" {
			t.Fatalf("%v lies outside of %q", e, text)
		}
		if i > 0 && (e.Line < mistakes[i-1].Line || e.Line == mistakes[i-1].Line && e.Column < mistakes[i-1].Column) {
			t.Fatalf("%v stands after %v", e, mistakes[i-1])
		}
	}
}

func FuzzParseWaivers(f *testing.F) {
	seed(f)
	f.Fuzz(func(t *testing.T, text string) {
		waivers, err := ParseWaivers("fuzz", []byte(text), today())
		if err != nil {
			var mistakes Errors
			if !errors.As(err, &mistakes) || waivers != nil {
				t.Fatalf("%T with %v", err, waivers)
			}
			inside(t, text, mistakes)
		}
		for _, w := range waivers {
			if w.TooLong(today(), false) || w.Owner == "" || w.ApprovedBy == "" || len(w.Justification) < minJustification {
				t.Fatalf("%+v is honoured", w)
			}
		}
	})
}

// BenchmarkLoad reads the full example with its waivers.
func BenchmarkLoad(b *testing.B) {
	dir := b.TempDir()
	file := filepath.Join(dir, "cityward.toml")
	if err := os.WriteFile(file, golden(b, "good/full.toml"), 0o600); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, WaiverFile), golden(b, "good/waivers.toml"), 0o600); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := load(file, today()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParseLarge reads 1000 stores and 1000 transfers.
func BenchmarkParseLarge(b *testing.B) {
	data := large().Text()
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("large", data); err != nil {
			b.Fatal(err)
		}
	}
}
