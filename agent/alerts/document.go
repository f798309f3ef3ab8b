package alerts

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Version is that of the webhook's document. Keys may be added to it; if one
// changes or goes, it grows.
const Version = 1

// Names of alerts.
const (
	checkFailing = "CheckFailing"
	testAlert    = "CitywardTest"
)

// AlertName is what an alert of a check is called: as by the rules for Prometheus
// that ship with the program, so that routes and silences serve both.
func AlertName(check string) string {
	switch check {
	case "NET-001":
		return "CitizenDataOutsideCity"
	case "DAT-001", "DAT-002":
		return "DataStoreOffCityHardware"
	}
	return checkFailing
}

// posted is an alert of Alertmanager's API v2.
type posted struct {
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

// alertmanagerBody makes what an Alertmanager is told.
func alertmanagerBody(messages []message, now time.Time, repeat time.Duration, head *Head) ([]byte, error) {
	list := make([]posted, 0, len(messages))
	for i := range messages {
		m := &messages[i]
		f, err := readFinding(m.finding)
		if err != nil {
			return nil, err
		}
		// A clock that was set back must not end it before it begins.
		p := posted{StartsAt: m.starts.UTC(), EndsAt: m.ended.UTC()}
		if m.ended.IsZero() {
			p.EndsAt = now.Add(3 * repeat).UTC()
		}
		if p.EndsAt.Before(p.StartsAt) {
			p.StartsAt = p.EndsAt
		}
		p.Labels = map[string]string{
			"alertname": AlertName(f.Check), "check": clean(f.Check), "severity": f.Severity, "instance": m.instance,
		}
		if f.Subject != "" { // an empty label is none
			p.Labels["subject"] = clean(f.Subject)
		}
		p.Annotations = annotations(f, m.instance, head)
		list = append(list, p)
	}
	return json.Marshal(list)
}

func annotations(f *told, instance string, head *Head) map[string]string {
	all := map[string]string{"summary": limited(fmt.Sprintf("%s fails on %s: %s", f.Check, instance, f.Title), maxText)}
	var description []string
	if f.Subject != "" {
		description = append(description, f.Subject)
	}
	if f.Reason != "" {
		description = append(description, f.Reason)
	}
	for _, name := range slices.Sorted(maps.Keys(f.Facts)) {
		text, err := json.Marshal(f.Facts[name])
		if err != nil {
			continue
		}
		description = append(description, name+": "+strings.Trim(string(text), `"`))
	}
	if len(description) > 0 {
		all["description"] = limited(strings.Join(description, "\n"), maxText)
	}
	if f.Remedy != "" {
		all["remedy"] = limited(f.Remedy, maxText)
	}
	if head != nil {
		all["ledger_head"] = head.String()
	}
	return all
}

// String gives a head in one line.
func (h *Head) String() string {
	text, err := json.Marshal(h)
	if err != nil { // it has nothing that could not be written
		return ""
	}
	return string(text)
}

// document is what a webhook is told.
type document struct {
	Version int               `json:"version"`
	Sent    time.Time         `json:"sent"`
	Test    bool              `json:"test"`
	Machine machine           `json:"machine"`
	Head    *Head             `json:"ledger_head"`
	Alerts  []json.RawMessage `json:"alerts"`
}

type machine struct {
	Hostname string `json:"hostname"`
}

// state is what an alert has beside its finding.
type state struct {
	Status string     `json:"status"`
	Starts time.Time  `json:"starts"`
	Ends   *time.Time `json:"ends"`
}

func webhookBody(messages []message, now time.Time, name string, head *Head) ([]byte, error) {
	d := document{Version: Version, Sent: now.UTC(), Machine: machine{name}, Head: head, Alerts: make([]json.RawMessage, 0, len(messages))}
	for i := range messages {
		m := &messages[i]
		s := state{Status: "firing", Starts: m.starts.UTC()}
		if !m.ended.IsZero() {
			ends := m.ended.UTC()
			s.Status, s.Ends = "resolved", &ends
		}
		body, err := s.beside(m.finding)
		if err != nil {
			return nil, err
		}
		d.Alerts = append(d.Alerts, body)
	}
	return json.Marshal(d)
}

// beside puts the state before the keys of a finding, in one object.
func (s *state) beside(finding json.RawMessage) (json.RawMessage, error) {
	body, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	body[len(body)-1] = ','
	return append(body, finding[1:]...), nil // a finding has a check at least
}
