package configs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func shippedSubstitutes(t testing.TB) *SubstituteTable {
	t.Helper()
	table, err := Substitutes()
	if err != nil {
		t.Fatal(err)
	}
	return table
}

func TestSubstitutes(t *testing.T) {
	table := shippedSubstitutes(t)
	if n := len(table.Products); n < 130 {
		t.Errorf("only %d products", n)
	}
	if table.Date.Before(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)) || !table.Own.IsZero() {
		t.Errorf("dates %s and %s", table.Date, table.Own)
	}
	checked := make(map[string]int)
	for _, p := range table.Products {
		checked[p.Checked]++
		if p.Reviewed.IsZero() || p.Kind == ProductForeign && p.Licence == "proprietary" {
			t.Errorf("%s: reviewed %s, kind %s, licence %s", p.ID, p.Reviewed, p.Kind, p.Licence)
		}
		if len([]rune(p.Effort)) > 90 {
			t.Errorf("%s: the effort takes more than a few words: %s", p.ID, p.Effort)
		}
		for _, s := range p.Substitutes {
			if s.Licence == "proprietary" {
				t.Errorf("%s: the substitute %s is not free", p.ID, s.ID)
			}
		}
	}
	for _, how := range []string{CheckedArchive, CheckedDocs, CheckedCode, CheckedNames} {
		if checked[how] == 0 {
			t.Errorf("no row is checked by %s", how)
		}
	}
	t.Logf("%d products: %v", len(table.Products), checked)
	for id := range strings.FieldsSeq(`oracle-database mssql-server db2 sap-hana mongodb redis elasticsearch kibana couchbase cockroachdb maxscale vmware-guest
		hyper-v-guest veeam-agent commvault netbackup acronis nakivo arcserve storage-protect datadog newrelic dynatrace splunk prtg solarwinds appdynamics sentry
		zimbra-ne axigen kerio-connect communigate onlyoffice-ee domino arcgis-server dvelop elo documentum filenet alfresco-enterprise okta pingidentity duo
		cyberark beyondtrust teamviewer anydesk hamachi splashtop tableau-server qlik sas google-ops-agent confluent ibm-mq tibco solace teamcity bamboo gitlab-ee
		github-runner circleci netapp-agents powerpath minio-aistor crowdstrike sentinelone sophos trend-dsa mdatp symantec trellix qualys nessus rapid7 terraform
		vault consul nomad packer vagrant boundary amazon-ssm walinuxagent google-guest azcmagent oracle-jdk chrome nvidia docker-desktop mirantis openshift
		nginx-plus haproxy-ee citrix-adc plesk cpanel jira confluence servicenow-mid bmc-patrol weblogic websphere jboss-eap sap-netweaver zoom webex teams slack
		rocketchat mattermost-ee anyconnect globalprotect forticlient zscaler cloudflare-warp cloudflared ngrok tailscale`) {
		if !slices.ContainsFunc(table.Products, func(p Product) bool { return p.ID == id }) {
			t.Errorf("%s is not in the table", id)
		}
	}
}

// Substitutes are counted in text, since the table keeps only those in use.
func TestEverySubstituteIsOfUse(t *testing.T) {
	used := make(map[string]bool)
	for _, p := range shippedSubstitutes(t).Products {
		for _, s := range p.Substitutes {
			used[s.ID] = true
		}
	}
	for _, part := range strings.Split(substitutesText, "[[substitute]]\n")[1:] {
		id := regexp.MustCompile(`^id +=  *"([^"]+)"`).FindStringSubmatch(part)
		if id == nil || !used[id[1]] {
			t.Errorf("no product has the substitute %q", id)
		}
	}
}

func TestSubstitutesMatch(t *testing.T) {
	table := shippedSubstitutes(t)
	id := func(p *Product) string {
		if p == nil {
			return ""
		}
		return p.ID
	}
	for _, test := range []struct{ field, name, want string }{
		{"dpkg", "mssql-server", "mssql-server"},
		{"dpkg", "mssql-server-fts", "mssql-server"},
		{"dpkg", "mssql", ""},
		{"dpkg", "", ""},
		{"dpkg", "zzz", ""},
		{"rpm", "TIVsm-BA", "storage-protect"},
		{"rpm", "oracle-database-ee-19c", "oracle-database"},
		{"rpm", "oracle-database-preinstall-19c", ""},
		{"dpkg", "grafana", ""},
		{"dpkg", "grafana-enterprise", "grafana-enterprise"},
		{"dpkg", "timescaledb-2-oss-postgresql-16", ""},
		{"dpkg", "timescaledb-2-postgresql-16", "timescaledb"},
		{"python", "IBM_DB", "db2"},
		{"node", "@sap/hana-client", "sap-hana"},
		{"java", "ojdbc11", "oracle-client"},
		{"gobinary", "github.com/hashicorp/vault", "vault"},
		{"gobinary", "github.com/hashicorp/vault/api", ""},
		{"cobol", "db2", ""},
		{byProgram, "/usr/sbin/nsrexecd", "networker"},
		{byProgram, "nsrexecd2", ""},
		{byPath, "/opt/splunk/bin/mongod", "splunk"},
		{byPath, "/opt/splunk", "splunk"},
		{byPath, "/opt/splunkx/bin/y", ""},
		{byPath, "/opt/hapee-2.9/sbin/hapee-lb", "haproxy-ee"},
		{byImage, "docker.io/library/mongo:7", "mongodb"},
		{byImage, "mongo@sha256:00", "mongodb"},
		{byImage, "registry.city.example:5000/mongo:7", ""},
		{byImage, "mcr.microsoft.com/mssql/server:2022-latest", "mssql-server"},
		{byImage, "graylog/graylog:6.1", "graylog"},
		{byImage, "redis", "redis"},
		{byImage, "redis/redis-stack-server:latest", "redis-stack"},
		{byImage, "postgres:17", ""},
	} {
		var got *Product
		switch test.field {
		case byProgram:
			got = table.Program(test.name)
		case byPath:
			got = table.Path(test.name)
		case byImage:
			got = table.Image(test.name)
		default:
			got = table.Package(test.field, test.name)
		}
		if id(got) != test.want {
			t.Errorf("%s %q: %q, want %q", test.field, test.name, id(got), test.want)
		}
	}
	var none *SubstituteTable
	if none.Package("dpkg", "mssql-server") != nil {
		t.Error("no table knows a product")
	}
}

func TestDescribeSubstitute(t *testing.T) {
	s := Substitute{Name: "Valkey", Licence: "BSD-3-Clause"}
	if got := s.Describe(); got != "Valkey (BSD-3-Clause)" {
		t.Error(got)
	}
	s.Debian = "valkey-server"
	if got := s.Describe(); got != "Valkey (BSD-3-Clause, Debian package valkey-server)" {
		t.Error(got)
	}
}

const ownSubstitutes = `table = "substitutes"
date  = 2026-11-20
[[substitute]]
id      = "postgresql"
name    = "PostgreSQL of the city"
licence = "PostgreSQL"
source  = "https://db.city.example/"
[[substitute]]
id      = "fieldpaper"
name    = "Fieldpaper"
licence = "EUPL-1.2"
source  = "https://fieldpaper.city.example/"
[[product]]
id          = "cadastre"
name        = "Cadastre 3000"
maker       = "Acme"
country     = "US"
licence     = "proprietary"
kind        = "nonfree"
dpkg        = ["cadastre3000*"]
paths       = ["/opt/cadastre"]
substitutes = ["fieldpaper", "postgresql"]
effort      = "large"
checked     = "docs"
source      = "https://acme.example/"
reviewed    = 2026-11-19
[[product]]
id          = "mongodb"
name        = "MongoDB here"
maker       = "MongoDB"
country     = "US"
licence     = "SSPL-1.0"
kind        = "nonfree"
programs    = ["mongod"]
substitutes = ["postgresql"]
effort      = "small"
checked     = "docs"
source      = "https://www.mongodb.com/"
reviewed    = 2026-11-19
`

func TestOwnSubstitutes(t *testing.T) {
	shipped := shippedSubstitutes(t)
	table, err := ParseSubstitutes("own.toml", []byte(ownSubstitutes), shipped)
	if err != nil {
		t.Fatal(err)
	}
	if p := table.Package("dpkg", "cadastre3000-server"); p == nil || p.ID != "cadastre" || p.Substitutes[0].Name != "Fieldpaper" {
		t.Errorf("the new product is %+v", p)
	}
	if p := table.Program("/usr/bin/mongod"); p == nil || p.Name != "MongoDB here" {
		t.Errorf("the replaced product is %+v", p)
	}
	if p := table.Package("dpkg", "mongodb-org-server"); p != nil {
		t.Errorf("a name that the own row does not have finds %+v", p)
	}
	if p := table.Path("/opt/mssql/bin/sqlservr"); p == nil || p.Substitutes[0].Name != "PostgreSQL of the city" {
		t.Errorf("the shipped product with a renewed substitute is %+v", p)
	}
	if len(table.Products) != len(shipped.Products)+1 || !table.Date.Equal(shipped.Date) || table.Own.Day() != 20 {
		t.Errorf("%d products of %s and %s", len(table.Products), table.Date, table.Own)
	}
	if p := shipped.Path("/opt/mssql/bin/sqlservr"); p == nil || p.Substitutes[0].Name != "PostgreSQL" || shipped.Package("dpkg", "cadastre3000") != nil {
		t.Errorf("the shipped table was changed: %+v", p)
	}
}

// Every mistake has its place.
func TestSubstitutesAreStrict(t *testing.T) {
	shipped := shippedSubstitutes(t)
	for _, test := range []struct{ name, old, text, want string }{
		{"date", "date  = 2026-11-20", "", "own.toml:1:1: date: is missing"},
		{"substitute", `["fieldpaper", "postgresql"]`, `["fieldpaper", "nothing"]`, `own.toml:22:30: product.substitutes: "nothing" is no [[substitute]]`},
		{"too many substitutes", `["fieldpaper", "postgresql"]`, `["fieldpaper", "postgresql", "mariadb", "valkey"]`, "own.toml:22:15: product.substitutes: has 4 entries, at most 3 are of use"},
		{"a shipped row's name", `["cadastre3000*"]`, `["cadastre3000*", "mssql-server-x"]`, "own.toml:20:33: product.dpkg: is found by a name of mssql-server, too"},
		{"over a shipped row's name", `["cadastre3000*"]`, `["mssql-serv*"]`, "own.toml:20:16: product.dpkg: is found by a name of mssql-server, too"},
		{"over another of the same row", `"/opt/cadastre"`, `"/opt/cadastre", "/opt/cadastre/bin"`, "own.toml:21:33: product.paths: is found by a name of cadastre, too"},
		{"shared directory", `"/opt/cadastre"`, `"/usr/bin"`, `own.toml:21:16: product.paths: "/usr/bin" is no product's alone`},
		{"top directory", `"/opt/cadastre"`, `"/opt"`, `own.toml:21:16: product.paths: "/opt" is no product's alone`},
		{"program with a directory", `["mongod"]`, `["/bin/mongod"]`, `own.toml:34:16: product.programs: "/bin/mongod" is no name of an executable of 3 letters or more, with * at its end only`},
		{"short program", `["mongod"]`, `["m*"]`, `own.toml:34:16: product.programs: "m*" is no name of an executable of 3 letters or more, with * at its end only`},
		{"package", `["cadastre3000*"]`, `["cad*stre"]`, `own.toml:20:16: product.dpkg: "cad*stre" is no name of a package of 3 letters or more, with * at its end only`},
		{"image", `programs    = ["mongod"]`, `images      = ["mongo:7"]`, `own.toml:34:16: product.images: "mongo:7" is no image without capitals, registry docker.io, tag and digest`},
		{"nothing to find", `programs    = ["mongod"]`, "", "own.toml:28:15: product.id: nothing says how to find it: no package, program, path or image"},
		{"empty list", `["mongod"]`, `[]`, "own.toml:34:15: product.programs: is empty"},
		{"licence", `"SSPL-1.0"`, `"SSPL-1.0 OR"`, `own.toml:32:15: product.licence: "SSPL-1.0 OR" is no SPDX expression`},
		{"page", `"https://www.mongodb.com/"`, `"www.mongodb.com"`, "own.toml:38:15: product.source: is no address of a page, want https://…"},
		{"reviewed later", "reviewed    = 2026-11-19\n[[product]]", "reviewed    = 2026-11-21\n[[product]]", "own.toml:26:15: product.reviewed: is after the date of the table"},
		{"kind", `kind        = "nonfree"`, `kind        = "free"`, `own.toml:19:15: product.kind: "free" is none of nonfree, foreign-control`},
		{"id", `id          = "mongodb"`, `id          = "cadastre"`, "own.toml:28:15: product.id: cadastre is used before, on line 14\nown.toml:34:16: product.programs: is found by a name of mongodb, too"},
		{"key", `effort      = "small"`, "efort       = \"small\"\neffort      = \"small\"", `own.toml:36:1: product.efort: is unknown, did you mean effort?`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if !strings.Contains(ownSubstitutes, test.old) {
				t.Fatalf("%s is not in the text", test.old)
			}
			table, err := ParseSubstitutes("own.toml", []byte(strings.Replace(ownSubstitutes, test.old, test.text, 1)), shipped)
			if err == nil || err.Error() != test.want || table != nil {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}
	if _, err := ParseSubstitutes("own.toml", []byte("x"), shipped); err == nil {
		t.Error("broken syntax is accepted")
	}
}

func TestLoadFacts(t *testing.T) {
	dir := t.TempDir()
	file, facts := filepath.Join(dir, "cityward.toml"), filepath.Join(dir, FactsDirectory)
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	load := func() *Config {
		t.Helper()
		cfg, err := Load(file)
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	write(file, "")
	if cfg := load(); cfg.FactsErr != nil || !cfg.Substitutes.Own.IsZero() {
		t.Errorf("without facts.d: %v", cfg.FactsErr)
	}
	if err := os.Mkdir(facts, 0o700); err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(facts, "README"), "not a table")
	write(filepath.Join(facts, "substitutes.toml"), ownSubstitutes)
	if cfg := load(); cfg.FactsErr != nil || cfg.Substitutes.Path("/opt/cadastre/bin/x") == nil {
		t.Errorf("with facts.d: %v", cfg.FactsErr)
	}
	write(filepath.Join(facts, "clouds.toml"), "")
	if cfg := load(); cfg.FactsErr == nil || !strings.Contains(cfg.FactsErr.Error(), "clouds.toml is none of the tables that may be amended") {
		t.Errorf("with an unknown table: %v", cfg.FactsErr)
	}
	write(filepath.Join(facts, "substitutes.toml"), "table = 1")
	cfg := load()
	if cfg.FactsErr == nil || !strings.Contains(cfg.FactsErr.Error(), "substitutes.toml:1:9: table: is an integer") {
		t.Errorf("with a broken table: %v", cfg.FactsErr)
	}
	if cfg.Substitutes.Path("/opt/mssql/bin/sqlservr") == nil {
		t.Error("a broken own table took the shipped one away")
	}
}

func FuzzParseSubstitutes(f *testing.F) {
	f.Add([]byte(ownSubstitutes))
	f.Add([]byte(strings.Replace(ownSubstitutes, `"/opt/cadastre"`, `"/opt/mssql", "/usr/*"`, 1)))
	product := strings.Index(substitutesText, "[[product]]")
	f.Add([]byte("table = \"substitutes\"\ndate = 2026-11-25\n" + substitutesText[product:product+2000]))
	shipped, err := parseSubstitutes("shipped.toml", []byte(ownSubstitutes), nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		table, err := ParseSubstitutes("fuzz.toml", data, shipped)
		if (err == nil) != (table != nil) {
			t.Fatalf("table %v, error %v", table, err)
		}
		if err != nil {
			return
		}
		for i := range table.Products {
			p := &table.Products[i]
			for ecosystem, names := range p.Packages {
				for _, name := range names {
					if got := table.Package(ecosystem, strings.TrimSuffix(name, "*")); got != p && !strings.HasSuffix(name, "*") {
						t.Fatalf("%s %q of %s finds %v", ecosystem, name, p.ID, got)
					}
				}
			}
		}
	})
}

func BenchmarkSubstitutes(b *testing.B) {
	for b.Loop() {
		if _, err := Substitutes(); err != nil {
			b.Fatal(err)
		}
	}
}
