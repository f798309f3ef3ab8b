package configs

import (
	"slices"
	"strings"
	"time"
)

// read takes over what a document says and notes its mistakes.
func (c *Config) read(t *table) {
	city := t.section("city")
	c.City.read(city)
	c.Listen.read(t.section("listen"))
	c.Round.read(t.section("round"))
	c.Capture.read(t.section("capture"))
	c.Geo.read(t.section("geo"))
	c.Ledger.read(t.section("ledger"))
	c.Alerts.read(t.section("alerts"))
	c.Log.read(t.section("log"))
	c.Software.read(t.section("software"))
	c.Stores = readStores(t.rows("data_store"))
	c.Transfers = readTransfers(t.rows("transfer"), c.Stores)
	c.Custody.read(t.section("custody"), c.Stores)
	t.close()

	for _, s := range c.Stores {
		if c.City.NoCitizenData && s.Class == ClassCitizen {
			city.fail("no_citizen_data", "is true, but the data store %s is of class citizen", quote(s.ID))
		}
	}
}

func (c *City) read(t *table) {
	set(t, "name", &c.Name, text)
	set(t, "networks", &c.Networks, listOf(parsed(parseOwnNetwork)))
	set(t, "domains", &c.Domains, listOf(parsed(parseDomain)))
	set(t, "countries", &c.Countries, listOf(parsed(parseCountry)))
	set(t, "hardware", &c.Hardware, optional(parsePath))
	set(t, "no_citizen_data", &c.NoCitizenData, expect[bool])
	t.close()
}

func (l *Listen) read(t *table) {
	set(t, "metrics", &l.Metrics, parsed(parseListen))
	set(t, "web_config", &l.WebConfig, optional(parsePath))
	set(t, "admin", &l.Admin, optional(parseSocket))
	set(t, "insecure", &l.Insecure, expect[bool])
	t.close()
	if !loopback(l.Metrics) && empty(t, "web_config") && !l.Insecure {
		t.fail("metrics", "%s is open to others without protection, set web_config, or insecure = true", quote(l.Metrics))
	}
}

func (r *Round) read(t *table) {
	set(t, "interval", &r.Interval, parsed(between(time.Second, day)))
	set(t, "timeout", &r.Timeout, parsed(between(time.Second, day)))
	t.close()
}

func (c *Capture) read(t *table) {
	set(t, "tier", &c.Tier, parsed(oneOf("auto", "bpf", "events", "poll", "gopsutil")))
	set(t, "flows", &c.Flows, count(1<<10, 1<<20))
	set(t, "programs", &c.Programs, count(1<<10, 1<<20))
	set(t, "pins", &c.Pins, optional(parsePath))
	t.close()
}

func (g *Geo) read(t *table) {
	set(t, "country", &g.Country, optional(parsePath))
	set(t, "asn", &g.ASN, optional(parsePath))
	set(t, "max_age", &g.MaxAge, parsed(between(day, 3650*day)))
	t.close()
}

func (l *Ledger) read(t *table) {
	set(t, "days", &l.Days, count(1, 3650))
	set(t, "max_size", &l.MaxSize, parsed(parseSize))
	t.close()
}

func (l *Log) read(t *table) {
	set(t, "level", &l.Level, parsed(oneOf("debug", "info", "warn", "error")))
	set(t, "format", &l.Format, parsed(oneOf("logfmt", "json")))
	t.close()
}

func (s *Software) read(t *table) {
	set(t, "free_share_minimum", &s.FreeShareMinimum, share)
	set(t, "unknown_share_maximum", &s.UnknownShareMaximum, share)
	set(t, "local_programs", &s.LocalPrograms, listOf(parsed(parsePath)))
	s.Licences = nil
	once := once(parsed(parseWords))
	for _, row := range t.rows("licence") {
		var l StatedLicence
		need(row, "package", &l.Package, once)
		need(row, "expression", &l.Expression, parsed(parseWords))
		need(row, "reason", &l.Reason, parsed(parseWords))
		row.close()
		s.Licences = append(s.Licences, l)
	}
	t.close()
}

func readStores(rows []*table) []DataStore {
	var stores []DataStore
	// Two stores cannot share an id, a path or a service: whose data it is would
	// depend on their order. One path inside another is fine, the nearer counts.
	id, file, service := once(parsed(parseID)), once(parsed(parseStorePath)), once(parsed(parseService))
	for _, t := range rows {
		s := DataStore{Encryption: EncryptionRequired}
		need(t, "id", &s.ID, id)
		need(t, "class", &s.Class, parsed(oneOf(ClassCitizen, ClassConfidential, ClassPublic)))
		set(t, "paths", &s.Paths, listOf(file))
		set(t, "services", &s.Services, listOf(service))
		set(t, "readers", &s.Readers, listOf(parsed(parsePrincipal)))
		set(t, "encryption", &s.Encryption, parsed(oneOf(EncryptionRequired, EncryptionOptional)))
		t.close()
		if empty(t, "paths") && empty(t, "services") {
			t.fail("paths", "a data store needs a path or a service")
		}
		stores = append(stores, s)
	}
	return stores
}

// empty reports whether the file gives a key no value, "" or []. What it gives
// wrongly is something: one mistake need not be told twice.
func empty(t *table, key string) bool {
	switch raw := t.values[key].(type) {
	case nil:
		return true
	case string:
		return raw == ""
	case []any:
		return len(raw) == 0
	}
	return false
}

func readTransfers(rows []*table, stores []DataStore) []Transfer {
	var transfers []Transfer
	id, store := once(parsed(parseID)), declared(stores)
	for _, t := range rows {
		var tr Transfer
		need(t, "id", &tr.ID, id)
		need(t, "direction", &tr.Direction, parsed(oneOf(Out, In)))
		network := parsed(parseNetwork) // a public service has clients everywhere
		if tr.Direction == Out {
			network = parsed(parseOwnNetwork)
		}
		need(t, "networks", &tr.Networks, some(listOf(network)))
		set(t, "ports", &tr.Ports, listOf(port))
		set(t, "programs", &tr.Programs, listOf(parsed(parsePath)))
		set(t, "stores", &tr.Stores, listOf(store))
		if tr.Direction == Out {
			need(t, "country", &tr.Country, parsed(parseCountry))
		} else {
			set(t, "country", &tr.Country, optional(parseCountry))
		}
		need(t, "purpose", &tr.Purpose, parsed(parseWords))
		need(t, "legal_basis", &tr.LegalBasis, parsed(parseWords))
		need(t, "owner", &tr.Owner, parsed(parseWords))
		need(t, "approved_by", &tr.ApprovedBy, parsed(parseWords))
		need(t, "expires", &tr.Expires, lastDay)
		t.close()
		twoPeople(t, tr.Owner, tr.ApprovedBy)
		transfers = append(transfers, tr)
	}
	return transfers
}

// declared reads the id of a store that the file declares.
func declared(stores []DataStore) reader[string] {
	var ids []string
	for _, s := range stores {
		ids = append(ids, s.ID)
	}
	return func(v value) (string, bool) {
		s, ok := text(v)
		if ok && !slices.Contains(ids, s) {
			v.fail("%s is no declared data store%s", quote(s), suggest(s, ids))
			return "", false
		}
		return s, ok
	}
}

// twoPeople refuses an approval by the one who asks for it.
func twoPeople(t *table, owner, approver string) {
	if owner != "" && strings.EqualFold(strings.TrimSpace(owner), strings.TrimSpace(approver)) {
		t.fail("approved_by", "is the owner, want somebody else")
	}
}
