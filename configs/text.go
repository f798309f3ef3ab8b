package configs

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Text writes the configuration in force as TOML. Parsing it gives the same
// configuration. Waivers have a file of their own and are only counted here.
func (c *Config) Text() []byte {
	var w writer
	w.head("[city]")
	w.text("name", c.City.Name)
	w.list("networks", words(c.City.Networks, netip.Prefix.String))
	w.list("domains", quoted(c.City.Domains))
	w.list("countries", quoted(c.City.Countries))
	w.text("hardware", c.City.Hardware)
	w.plain("no_citizen_data", strconv.FormatBool(c.City.NoCitizenData))
	w.head("[listen]")
	w.text("metrics", c.Listen.Metrics)
	w.text("web_config", c.Listen.WebConfig)
	w.text("admin", c.Listen.Admin)
	w.plain("insecure", strconv.FormatBool(c.Listen.Insecure))
	w.head("[round]")
	w.text("interval", formatDuration(c.Round.Interval))
	w.text("timeout", formatDuration(c.Round.Timeout))
	w.head("[capture]")
	w.text("tier", c.Capture.Tier)
	w.plain("flows", strconv.Itoa(c.Capture.Flows))
	w.plain("programs", strconv.Itoa(c.Capture.Programs))
	w.text("pins", c.Capture.Pins)
	w.head("[geo]")
	w.text("country", c.Geo.Country)
	w.text("asn", c.Geo.ASN)
	w.text("max_age", formatDuration(c.Geo.MaxAge))
	w.head("[ledger]")
	w.plain("days", strconv.Itoa(c.Ledger.Days))
	w.text("max_size", formatSize(c.Ledger.MaxSize))
	w.alerts(&c.Alerts)
	w.head("[log]")
	w.text("level", c.Log.Level)
	w.text("format", c.Log.Format)
	w.head("[software]")
	w.plain("free_share_minimum", strconv.FormatFloat(c.Software.FreeShareMinimum, 'f', -1, 64))
	w.plain("unknown_share_maximum", strconv.FormatFloat(c.Software.UnknownShareMaximum, 'f', -1, 64))
	w.list("local_programs", quoted(c.Software.LocalPrograms))
	for _, l := range c.Software.Licences {
		w.head("[[software.licence]]")
		w.text("package", l.Package)
		w.text("expression", l.Expression)
		w.text("reason", l.Reason)
	}
	w.custody(&c.Custody)
	for _, s := range c.Stores {
		w.store(s)
	}
	for _, t := range c.Transfers {
		w.transfer(t)
	}
	if c.WaiverErr != nil {
		fmt.Fprintf(&w, "\n# No waiver is honoured: see cityward config check.\n")
	} else if len(c.Waivers) > 0 {
		fmt.Fprintf(&w, "\n# Waivers read from %s: %d\n", WaiverFile, len(c.Waivers))
	}
	return []byte(w.String())
}

// writer writes TOML.
type writer struct{ strings.Builder }

func (w *writer) head(header string) {
	if w.Len() > 0 {
		w.WriteByte('\n')
	}
	w.WriteString(header + "\n")
}

func (w *writer) plain(key, value string) { w.WriteString(key + " = " + value + "\n") }

func (w *writer) text(key, value string) { w.plain(key, quote(value)) }

// list writes values that are TOML already.
func (w *writer) list(key string, values []string) {
	w.plain(key, "["+strings.Join(values, ", ")+"]")
}

// some writes a list unless it is empty.
func (w *writer) some(key string, values []string) {
	if len(values) > 0 {
		w.list(key, values)
	}
}

func (w *writer) custody(c *Custody) {
	w.head("[custody]")
	w.list("relays", quoted(c.Relays))
	w.plain("holder_maximum", strconv.FormatFloat(c.HolderMaximum, 'f', -1, 64))
	w.head("[custody.alert_bytes]")
	for _, how := range ways() {
		w.plain(how, strconv.FormatUint(c.AlertBytes[how], 10))
	}
	for _, i := range c.Ignore {
		w.head("[[custody.ignore]]")
		w.text("program", i.Program)
		w.some("how", quoted(i.How))
		w.some("stores", quoted(i.Stores))
		w.text("reason", i.Reason)
	}
}

func (w *writer) alerts(a *Alerts) {
	w.head("[alerts]")
	w.text("severity", a.Severity)
	w.text("group_wait", formatDuration(a.GroupWait))
	w.text("repeat", formatDuration(a.Repeat))
	w.text("hold", formatDuration(a.Hold))
	w.text("keep", formatDuration(a.Keep))
	w.plain("batch", strconv.Itoa(a.Batch))
	w.plain("rate", strconv.Itoa(a.Rate))
	for i := range a.Receivers {
		w.receiver(&a.Receivers[i])
	}
}

func (w *writer) receiver(r *Receiver) {
	w.head("[[alerts.receiver]]")
	w.text("name", r.Name)
	w.text("kind", r.Kind)
	w.text("url", r.URL)
	for _, file := range r.keys() {
		if *file.value != "" {
			w.text(file.key, *file.value)
		}
	}
	w.plain("insecure", strconv.FormatBool(r.Insecure))
}

func (w *writer) store(s DataStore) {
	w.head("[[data_store]]")
	w.text("id", s.ID)
	w.text("class", s.Class)
	w.some("paths", quoted(s.Paths))
	w.some("services", words(s.Services, Service.String))
	w.some("readers", quoted(s.Readers))
	w.text("encryption", s.Encryption)
}

func (w *writer) transfer(t Transfer) {
	w.head("[[transfer]]")
	w.text("id", t.ID)
	w.list("networks", words(t.Networks, netip.Prefix.String))
	w.text("direction", t.Direction)
	var ports []string
	for _, p := range t.Ports {
		ports = append(ports, strconv.Itoa(int(p)))
	}
	w.some("ports", ports)
	w.some("programs", quoted(t.Programs))
	w.some("stores", quoted(t.Stores))
	if t.Country != "" {
		w.text("country", t.Country)
	}
	w.text("purpose", t.Purpose)
	w.text("legal_basis", t.LegalBasis)
	w.text("owner", t.Owner)
	w.text("approved_by", t.ApprovedBy)
	w.plain("expires", t.Expires.Format(time.DateOnly))
}

func quoted(list []string) []string {
	return words(list, func(s string) string { return s })
}

// words turns each element into a TOML string.
func words[T any](list []T, text func(T) string) []string {
	var out []string
	for _, l := range list {
		out = append(out, quote(text(l)))
	}
	return out
}
