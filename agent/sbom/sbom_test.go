package sbom

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"log/slog"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"cityward/agent"
	"cityward/collectors"
	"cityward/collectors/inventory"
	"cityward/configs"
)

var update = flag.Bool("update", false, "renew the expected documents")

func noon() time.Time { return time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC) }

// each lists the formats without the names that stand for another.
func each() []string { return []string{CycloneDX16, CycloneDX17, SPDX23, SPDX301} }

// sample is a round with one of everything: owned and not, free and not, known
// and unknown terms, a store with holders, flows within and beyond the city.
func sample() *agent.Report {
	db, web, box := inventory.Execution{PID: 733, Start: 655}, inventory.Execution{PID: 901, Start: 1200}, inventory.Execution{PID: 950, Start: 1300}
	postgres, tool := inventory.FileID{Device: 1, Inode: 7}, inventory.FileID{Device: 1, Inode: 8}
	const libc, server = "pkg:deb/debian/libc6@2.36-9?arch=amd64", "pkg:deb/debian/postgresql-15@15.10-0?arch=amd64"
	facts := &inventory.Facts{
		Machine: &inventory.Machine{
			Hostname: "registry-1", OS: "debian", OSVersion: "12", OSName: "Debian GNU/Linux 12 (bookworm)", Kernel: "6.1.0-18", Arch: "x86_64",
			Virtualization: "none", Vendor: "Dell Inc.", Product: "PowerEdge", Serial: "SECRETSERIAL", UUID: "SECRETUUID",
		},
		Processes: []inventory.Process{
			{ID: db, Name: "postgres", Executable: "/usr/lib/postgresql/15/bin/postgres", File: postgres, User: "postgres", Unit: "postgresql.service", Arguments: []string{"SECRETARGUMENT"}},
			{ID: web, Name: "rts", Executable: "/opt/acme/rts", File: tool, User: "acme"},
			{ID: box, Name: "nginx", Executable: "/usr/sbin/nginx", User: "www", Container: "c0ffee"},
			{ID: inventory.Execution{PID: 2}, Name: "kthreadd", Kernel: true},
		},
		Components: []inventory.Component{
			{
				Ecosystem: "dpkg", Name: "postgresql-15", Version: "15.10-0", Arch: "amd64", Source: "postgresql", PURL: server, Area: "main", Origin: "Debian",
				Supplier: "Debian PostgreSQL Maintainers <team+postgresql@tracker.debian.org>", Depends: []string{libc, "pkg:deb/debian/gone@1"},
				Licence: inventory.Licence{Declared: "PostgreSQL", Expression: "PostgreSQL", Source: "copyright file", Freedom: inventory.Free},
			},
			{
				Ecosystem: "dpkg", Name: "libc6", Version: "2.36-9", Arch: "amd64", PURL: libc, Supplier: "GNU Libc Maintainers <debian-glibc@lists.debian.org>", Depends: []string{},
				Licence: inventory.Licence{Declared: "LGPL-2.1+ and others", Expression: "(LGPL-2.1-or-later OR MIT) AND LicenseRef-public-domain AND GPL-2.0-only WITH Classpath-exception-2.0", Source: "copyright file", Freedom: inventory.Free},
			},
			{Ecosystem: "dpkg", Name: "firmware-nonfree", Version: "1", PURL: "pkg:deb/debian/firmware-nonfree@1", Area: "non-free-firmware", Licence: inventory.Licence{Declared: "as the vendor says", Freedom: inventory.NonFree}},
			{Ecosystem: "java", Name: "org.acme:rts", Version: "3.2.1", PURL: "pkg:maven/org.acme/rts@3.2.1", Supplier: "https://acme.example", Files: []string{"/opt/acme/rts.jar"}},
			{Ecosystem: "python", Name: "nothing-known", PURL: "pkg:pypi/nothing-known"},
			{Ecosystem: "node", Name: "twice", Version: "1.0.1", PURL: "pkg:npm/twice@1.0.1", Licence: inventory.Licence{Declared: "MIT", Expression: "MIT", Freedom: inventory.Free}},
			{Ecosystem: "node", Name: "twice", Version: "1.0.2", PURL: "pkg:npm/twice@1.0.2", Licence: inventory.Licence{Declared: "MIT", Expression: "MIT", Freedom: inventory.Free}},
		},
		Owners: []inventory.Owner{{Path: "/usr/lib/postgresql/15/bin/postgres", File: postgres, PURL: server}},
		Listeners: []inventory.Listener{
			{Process: db, Protocol: "tcp", Local: netip.MustParseAddrPort("[fe80::1%eth0]:5432")},
			{Process: db, Protocol: "unix", Path: "/run/pg sql/.s"},
			{Process: web, Protocol: "unix", Path: "@abstract name"},
		},
		Flows: []inventory.Flow{
			{Process: db, Direction: inventory.Out, Protocol: "tcp", Remote: netip.MustParseAddrPort("203.0.113.7:443"), Sent: 1234, Received: 5, Connections: 1, First: noon(), Last: noon()},
			{Process: db, Direction: inventory.In, Protocol: "tcp", Local: netip.MustParseAddrPort("10.0.0.1:5432"), Remote: netip.MustParseAddrPort("10.0.0.2:0"), Zone: inventory.City, Received: 77, First: noon(), Last: noon()},
			{Process: web, Direction: inventory.Out, Protocol: "tcp", Remote: netip.MustParseAddrPort("127.0.0.1:5432"), Zone: inventory.Host, Sent: 9, First: noon(), Last: noon()},
			{Direction: inventory.Out, Protocol: "udp", Remote: netip.MustParseAddrPort("198.51.100.1:53"), Zone: inventory.Approved, Sent: 80, First: noon(), Last: noon()},
		},
		Stores: []inventory.DataStore{
			{ID: "civil registry", Class: "citizen", Medium: inventory.MediumLocal, MediumZone: inventory.Host, Encrypted: inventory.EncryptedYes},
			{ID: "empty", Class: "public", Medium: inventory.MediumUnknown, Encrypted: inventory.EncryptedUnknown},
		},
		Holdings: []inventory.Holding{{Store: "civil registry", Process: db, How: inventory.HowDirect, Since: noon()}},
		Captures: []inventory.Capture{{Name: inventory.CaptureFlows, Tier: inventory.TierPoll, Reason: "sampled"}},
		Gaps:     []inventory.Gap{{Collector: "node", Kind: inventory.KindComponents, Subject: "/srv/app", Reason: "permission denied", Lost: 2}},
	}
	policy := &configs.Policy{
		City:      configs.City{Name: "Example City", Domains: []string{"city.example"}},
		Transfers: []configs.Transfer{{ID: "x", Stores: []string{"civil registry"}, Owner: "registry office"}},
	}
	return &agent.Report{Snapshot: inventory.Merge(noon(), facts), Policy: policy}
}

// hostile is a round of names that somebody chose to break what reads them.
func hostile() *agent.Report {
	names := []string{
		strings.Repeat("A", 64<<10), "\x00\x01\x1b[31mred\r\n", "\xff\xfe broken \xc3", "\u202eevil", `"},{"vulnerabilities":[`, "<script>", "😀", " ", "", "SPDXRef-DOCUMENT", "host",
		"(MIT OR", "LicenseRef-", "LicenseRef-x WITH LicenseRef-y", "urn:cdx:x", "a#b?c@d/e%zz", strings.Repeat("(", 5000), "%", "file:", "tcp://[",
	}
	facts := &inventory.Facts{Machine: &inventory.Machine{Hostname: names[1], OSName: names[2], Kernel: names[0]}}
	for i, n := range names {
		facts.Components = append(facts.Components, inventory.Component{
			Ecosystem: n, Name: n, Version: n, Arch: n, Source: n, Supplier: n + "<" + n + ">", Area: n, Origin: n, PURL: n, Depends: names,
			Licence: inventory.Licence{Declared: n, Expression: n, Source: n}, Files: []string{"/" + n, n},
		})
		id := inventory.Execution{PID: 100 + i, Start: 1}
		facts.Processes = append(facts.Processes, inventory.Process{ID: id, Name: n, Executable: n, User: n, Unit: n, Container: n})
		facts.Listeners = append(facts.Listeners, inventory.Listener{Process: id, Protocol: "unix", Path: n}, inventory.Listener{Process: id, Protocol: n, Local: netip.MustParseAddrPort("[::1]:1")})
		facts.Stores = append(facts.Stores, inventory.DataStore{ID: n, Class: n, Medium: n, Encrypted: n})
		facts.Holdings = append(facts.Holdings, inventory.Holding{Store: n, Process: id, How: n})
		facts.Flows = append(facts.Flows, inventory.Flow{Process: id, Protocol: n, Sent: 1, Remote: netip.MustParseAddrPort("[fe80::1%25x]:1")}, inventory.Flow{Process: id, Protocol: n, Sent: 1, Folded: true})
		facts.Gaps = append(facts.Gaps, inventory.Gap{Collector: n, Kind: n, Subject: n, Reason: n})
	}
	policy := &configs.Policy{City: configs.City{Name: names[3], Domains: []string{names[1]}}, Transfers: []configs.Transfer{{Owner: names[2], Stores: names}}}
	return &agent.Report{Snapshot: inventory.Merge(noon(), facts), Policy: policy}
}

// scan looks at this machine, or at another's tree.
func scan(t testing.TB, root string) *agent.Report {
	t.Helper()
	cfg := *configs.Default()
	cfg.Capture.Pins, cfg.Capture.Tier = "", "poll"
	set, err := collectors.Build(collectors.All(), root, &cfg, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close()
	a := agent.New(agent.Options{Config: &cfg, Set: set, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	return a.Round(t.Context())
}

func write(t testing.TB, r *agent.Report, format string, o Options) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := Write(&out, r, format, o); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// The golden files show what is in which field.
func TestDocuments(t *testing.T) {
	digests := &Digests{map[string]digest{"/opt/acme/rts.jar": {SHA512: strings.Repeat("ab", 64), Modified: noon()}, "/opt/acme/rts": {Reason: "permission denied"}}}
	for _, format := range each() {
		t.Run(format, func(t *testing.T) {
			document := write(t, sample(), format, Options{Version: "v1.2.3", Digests: digests})
			validate(t, format, document)
			if again := write(t, sample(), format, Options{Version: "v1.2.3", Digests: digests}); !bytes.Equal(document, again) {
				t.Error("the same round gives other bytes")
			}
			for _, secret := range []string{"SECRET", "PowerEdge", `"vulnerabilities"`} {
				if bytes.Contains(document, []byte(secret)) {
					t.Errorf("it holds %s", secret)
				}
			}
			file := "testdata/" + format + ".json"
			if *update {
				if err := os.WriteFile(file, document, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(document, want) {
				t.Errorf("%s differs (-update renews it); got:\n%s", file, document)
			}
		})
	}
}

func TestOtherRoundOtherName(t *testing.T) {
	later := sample()
	later.Snapshot.Components[0].Version += "1"
	for _, format := range each() {
		a, b := write(t, sample(), format, Options{}), write(t, later, format, Options{})
		if name(t, a) == name(t, b) {
			t.Errorf("%s: two rounds have one name", format)
		}
	}
	if name(t, write(t, sample(), CycloneDX16, Options{})) == name(t, write(t, sample(), CycloneDX17, Options{})) {
		t.Error("two documents have one name")
	}
}

func name(t *testing.T, document []byte) string {
	t.Helper()
	var doc struct {
		Serial    string `json:"serialNumber"`
		Namespace string `json:"documentNamespace"`
		Graph     []struct {
			Type string `json:"type"`
			ID   string `json:"spdxId"`
		} `json:"@graph"`
	}
	if err := json.Unmarshal(document, &doc); err != nil {
		t.Fatal(err)
	}
	for _, e := range doc.Graph {
		if e.Type == "SpdxDocument" {
			return e.ID
		}
	}
	return doc.Serial + doc.Namespace
}

func TestHostileNames(t *testing.T) {
	for _, format := range each() {
		for _, o := range []Options{{}, {Running: true}, {Public: true}} {
			document := write(t, hostile(), format, o)
			doc := validate(t, format, document)
			if _, found := doc["vulnerabilities"]; found {
				t.Errorf("%s: a name became a field", format)
			}
			for _, bad := range []string{"\x00", "\x1b", `\u0000`, `\u001b`, "\u202e", strings.Repeat("A", longestText+1)} {
				if bytes.Contains(document, []byte(bad)) {
					t.Errorf("%s: %q went through", format, bad[:min(len(bad), 10)])
				}
			}
			readBack(t, format, document)
			if !o.Public && !bytes.Contains(document, []byte("bytes and cut")) {
				t.Errorf("%s: that texts were cut is not said", format)
			}
		}
	}
}

// What one writes another reads: as many components, the same package URLs, the
// same terms with their operators.
func TestReadBack(t *testing.T) {
	rounds := map[string]*agent.Report{"sample": sample(), "fixture": scan(t, "../../collectors/testdata/host"), "this machine": scan(t, "/")}
	for what, r := range rounds {
		want := make(map[string]string)
		for _, c := range r.Snapshot.Components {
			want[c.PURL] = c.Licence.Expression
		}
		for _, format := range each() {
			document := write(t, r, format, Options{})
			validate(t, format, document)
			got := readBack(t, format, document)
			if got.components != len(r.Snapshot.Components) {
				t.Errorf("%s: %s has %d components, want %d", what, format, got.components, len(r.Snapshot.Components))
			}
			for purl, expression := range want {
				if have, ok := got.concluded[purl]; !ok || have != expression {
					t.Errorf("%s: %s says %q of %s, want %q", what, format, have, purl, expression)
				}
			}
			if what == "this machine" {
				t.Logf("%s: %d components, %d kB", format, got.components, len(document)>>10)
				running := write(t, r, format, Options{Running: true})
				validate(t, format, running)
				if n := readBack(t, format, running).components; n == 0 || n >= got.components {
					t.Errorf("%s: %d of %d components run", format, n, got.components)
				}
			}
		}
	}
}

func TestChoiceStaysChoice(t *testing.T) {
	for _, format := range each() {
		got := readBack(t, format, write(t, sample(), format, Options{}))
		want := "(LGPL-2.1-or-later OR MIT) AND LicenseRef-public-domain AND GPL-2.0-only WITH Classpath-exception-2.0"
		if have := got.concluded["pkg:deb/debian/libc6@2.36-9?arch=amd64"]; have != want {
			t.Errorf("%s: %q, want %q", format, have, want)
		}
	}
}

func TestPublic(t *testing.T) {
	for _, format := range each() {
		document := string(write(t, sample(), format, Options{Public: true, Version: "v1.2.3"}))
		validate(t, format, []byte(document))
		for _, closed := range []string{
			"registry-1", "15.10", "2.36-9", "3.2.1", "1.0.1", "6.1.0", "bookworm", "203.0.113", "10.0.0", "fe80", "postgresql.service", "/opt/acme", "acme.example/", "civil registry",
			"c0ffee", "nginx", "tracker.debian.org", "permission denied", "12:00:00", "sha512", "SHA-512",
		} {
			if strings.Contains(document, closed) {
				t.Errorf("%s gives away %q", format, closed)
			}
		}
		for _, open := range []string{"postgresql-15", "pkg:deb/debian/libc6", "LGPL-2.1-or-later OR MIT", "Debian PostgreSQL Maintainers", "Example City"} {
			if !strings.Contains(document, open) {
				t.Errorf("%s does not tell %q", format, open)
			}
		}
	}
	b := public(newBill(sample(), Options{}))
	i := slices.IndexFunc(b.Components, func(c component) bool { return c.Name == "twice" })
	if len(b.Components) != 6 || b.Components[i].Times != 2 {
		t.Errorf("two versions of one package are %+v", b.Components)
	}
}

// A store that a program holds in two ways is not counted twice, and peers beyond
// the bound are said to be missing.
func TestTrafficIsCountedOnce(t *testing.T) {
	r := sample()
	db := r.Snapshot.Holdings[0]
	facts := r.Snapshot.Facts
	db.How = inventory.HowPipeline
	facts.Holdings = append(slices.Clone(facts.Holdings), db)
	for i := range mostPeers {
		addr := netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 443)
		facts.Flows = append(slices.Clone(facts.Flows), inventory.Flow{Process: db.Process, Direction: inventory.Out, Protocol: "tcp", Remote: addr, Sent: 1, First: noon(), Last: noon()})
	}
	b := newBill(&agent.Report{Snapshot: inventory.Merge(noon(), &facts), Policy: r.Policy}, Options{})
	i := slices.IndexFunc(b.Services, func(s service) bool { return s.Name == "postgresql.service" })
	got := b.Services[i].Data[0]
	if want := "held: direct, pipeline; 1298 bytes sent to other machines meanwhile"; got.Description != want || len(got.Places) != mostPeers {
		t.Errorf("%q to %d places, want %q", got.Description, len(got.Places), want)
	}
	if !slices.Contains(b.Notes, "service postgresql.service: 1 peers with the fewest bytes are not listed") {
		t.Errorf("no note on the peer left out: %q", b.Notes)
	}
	if b.Services[i].Crosses == nil || !*b.Services[i].Crosses {
		t.Error("bytes left the city, and that is not said")
	}
}

func TestDigest(t *testing.T) {
	root := t.TempDir()
	for name, content := range map[string]string{"/opt/a.jar": "abc", "/opt/large": strings.Repeat("x", 100)} {
		if err := os.MkdirAll(root+"/opt", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(root+name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for from, to := range map[string]string{"/opt/absolute": "/opt/a.jar", "/opt/outside": "../../../../../../etc/passwd"} {
		if err := os.Symlink(to, root+from); err != nil {
			t.Fatal(err)
		}
	}
	facts := &inventory.Facts{
		Components: []inventory.Component{{Files: []string{"/opt/a.jar", "/opt/absolute", "/opt/large", "/opt/none", "/opt", "/opt/outside"}}},
		Processes:  []inventory.Process{{Executable: "/opt/large", File: inventory.FileID{Device: 1, Inode: 1}}, {Executable: "/x", Container: "c"}},
	}
	d := Digest(t.Context(), root, inventory.Merge(noon(), facts), Limits{Files: 100, File: 50, Total: 1000, Time: time.Minute})
	// FIPS 180-4's own example, of "abc".
	const abc = "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
	for path, want := range map[string]digest{
		"/opt/a.jar": {SHA512: abc}, "/opt/absolute": {SHA512: abc}, "/opt/large": {Reason: "replaced since the program began"},
		"/opt/none": {Reason: "no such file here"}, "/opt": {Reason: "not a regular file"}, "/opt/outside": {Reason: "no such file here"},
	} {
		if got := d.files[path]; got.SHA512 != want.SHA512 || got.Reason != want.Reason {
			t.Errorf("%s: %+v, want %+v", path, got, want)
		}
	}
	if _, asked := d.files["/x"]; asked {
		t.Error("a file of a container is looked for on this machine")
	}
	facts.Processes = nil
	for reason, limits := range map[string]Limits{
		"larger than the limit":     {Files: 100, File: 50, Total: 1000, Time: time.Minute},
		"more files than the limit": {Files: 1, File: 1000, Total: 1000, Time: time.Minute},
		"out of time":               {Files: 100, File: 1000, Total: 1000, Time: -1},
	} {
		if got := Digest(t.Context(), root, inventory.Merge(noon(), facts), limits).files["/opt/large"].Reason; got != reason {
			t.Errorf("%+v: %q, want %q", limits, got, reason)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if got := Digest(ended, root, inventory.Merge(noon(), facts), DefaultLimits()).files["/opt/a.jar"]; got.Reason == "" {
		t.Error("it reads on though nobody waits")
	}
}

func TestUnknownFormat(t *testing.T) {
	if err := Write(&bytes.Buffer{}, sample(), "spdx-1", Options{}); err == nil {
		t.Error("no error")
	}
}

func TestValidExpression(t *testing.T) {
	for text, want := range map[string]bool{
		"MIT": true, "GPL-2.0+": true, "(MIT OR Apache-2.0) AND X11": true, "GPL-2.0-only WITH Classpath-exception-2.0": true, "LicenseRef-x": true, "((MIT))": true,
		"": false, "MIT OR": false, "OR": false, "MIT Apache-2.0": false, "(MIT": false, "MIT)": false, "MIT or X11": false, "GPL v2": false, "MIT WITH": false, "M,IT": false, "++": false,
		strings.Repeat("(", 40) + "MIT" + strings.Repeat(")", 40): false, strings.Repeat("MIT OR ", 1000) + "MIT": false,
	} {
		if _, ok := validExpression(text); ok != want {
			t.Errorf("%.60q: %v, want %v", text, ok, want)
		}
	}
}

func FuzzWrite(f *testing.F) {
	for _, c := range sample().Snapshot.Components {
		f.Add(c.Name, c.PURL, c.Supplier, c.Licence.Declared, c.Licence.Expression)
	}
	f.Fuzz(func(t *testing.T, name, purl, supplier, declared, expression string) {
		r := &agent.Report{Snapshot: inventory.Merge(noon(), &inventory.Facts{Components: []inventory.Component{{
			Ecosystem: "node", Name: name, PURL: purl, Supplier: supplier, Files: []string{name},
			Licence: inventory.Licence{Declared: declared, Expression: expression},
		}}})}
		for i, format := range each() {
			validate(t, format, write(t, r, format, Options{Public: (i+len(name))%2 == 0}))
		}
	})
}

func BenchmarkWrite(b *testing.B) {
	facts := &inventory.Facts{}
	base := sample()
	for i := range 4000 {
		c := base.Snapshot.Components[i%len(base.Snapshot.Components)]
		c.Name += strings.Repeat("x", i%7)
		c.PURL = strings.Replace(c.PURL, "@", "-"+strings.Repeat("y", i%13)+string(rune('a'+i%26))+"@"+time.Duration(i).String(), 1)
		facts.Components = append(facts.Components, c)
	}
	r := &agent.Report{Snapshot: inventory.Merge(noon(), facts), Policy: base.Policy}
	for _, format := range each() {
		b.Run(format, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				b.SetBytes(int64(len(write(b, r, format, Options{}))))
			}
		})
	}
}
