package alerts

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"cityward/checks/finding"
)

// Bounds of what is told and kept.
const (
	maxFinding = 32 << 10
	maxLabel   = 1024 // bytes
	maxText    = 8 << 10
)

// unknownMachine is the name of a machine that has told none.
const unknownMachine = "unknown"

// alert is what there is to tell of a finding. It never changes.
type alert struct {
	instance string
	starts   time.Time
	finding  json.RawMessage // as it was when it began
}

// keyOf names what is told of. An Alertmanager knows an alert by its labels, so one
// of another severity is another.
func keyOf(f *finding.Finding) string { return f.Key() + "\x00" + f.Severity.String() }

// newest puts the newest first.
func newest(findings []*finding.Finding) {
	slices.SortFunc(findings, func(a, b *finding.Finding) int {
		return cmp.Or(b.Since.Compare(a.Since), cmp.Compare(keyOf(a), keyOf(b)))
	})
}

// entry is an alert and what one receiver knows of it.
type entry struct {
	*alert
	queued time.Time
	told   time.Time // when the receiver first took it; zero: not yet
	ended  time.Time // zero: not yet
	again  time.Time // not to be told before

	sent time.Time // when it last took it, in this run
}

// row is an entry as it is kept.
type row struct {
	Receiver string          `json:"receiver"`
	Key      string          `json:"key"`
	Instance string          `json:"instance"`
	Starts   time.Time       `json:"starts"`
	Queued   time.Time       `json:"queued"`
	Told     time.Time       `json:"told,omitzero"`
	Ended    time.Time       `json:"ended,omitzero"`
	Finding  json.RawMessage `json:"finding"`
}

// rowPrefix tells rows of alerts from what others keep.
const rowPrefix = "alert/"

func rowKey(receiver, key string) string {
	sum := sha256.Sum256([]byte(receiver + "\x00" + key))
	return rowPrefix + hex.EncodeToString(sum[:16])
}

func (e *entry) row(receiver, key string) []byte {
	body, err := json.Marshal(row{receiver, key, e.instance, e.starts, e.queued, e.told, e.ended, e.finding})
	if err != nil {
		return nil // a finding that cannot be written was never queued
	}
	return body
}

// restore reads what an earlier run kept, by receiver and key. Rows that mean
// nothing are given to be removed.
func restore(kept map[string][]byte) (entries map[string]map[string]*entry, broken map[string][]byte) {
	entries, broken = make(map[string]map[string]*entry), make(map[string][]byte)
	for name, body := range kept {
		if !strings.HasPrefix(name, rowPrefix) {
			continue
		}
		r, err := readRow(body)
		if err != nil || rowKey(r.Receiver, r.Key) != name {
			broken[name] = nil
			continue
		}
		if entries[r.Receiver] == nil {
			entries[r.Receiver] = make(map[string]*entry)
		}
		entries[r.Receiver][r.Key] = &entry{
			alert: &alert{instance: r.Instance, starts: r.Starts, finding: r.Finding}, queued: r.Queued, told: r.Told, ended: r.Ended,
		}
	}
	return entries, broken
}

func readRow(body []byte) (*row, error) {
	var r row
	if err := json.Unmarshal(body, &r); err != nil {
		return nil, fmt.Errorf("read alert: %w", err)
	}
	if _, err := readFinding(r.Finding); err != nil {
		return nil, err
	}
	if r.Receiver == "" || r.Instance == "" || r.Starts.IsZero() {
		return nil, errors.New("read alert: it has no receiver, machine or begin")
	}
	r.Instance = clean(r.Instance)
	return &r, nil
}

// told is what an alert says of a finding, of its JSON.
type told struct {
	Check    string         `json:"check"`
	Title    string         `json:"title"`
	Severity string         `json:"severity"`
	Subject  string         `json:"subject"`
	Reason   string         `json:"reason"`
	Facts    map[string]any `json:"facts"`
	Remedy   string         `json:"remedy"`
}

func readFinding(body json.RawMessage) (*told, error) {
	var f told
	if err := json.Unmarshal(body, &f); err != nil {
		return nil, fmt.Errorf("read finding: %w", err)
	}
	if _, err := finding.ParseSeverity(f.Severity); err != nil || f.Check == "" || !strings.HasPrefix(string(body), "{") {
		return nil, errors.New("read finding: it has no check or severity")
	}
	return &f, nil
}

// clean makes one line that can be shown of text that may come from anywhere.
func clean(text string) string {
	text = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '_'
		}
		return r
	}, strings.ToValidUTF8(text, "_"))
	return limited(text, maxLabel)
}

// limited cuts text that is too long.
func limited(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most-len("…")], "") + "…"
}
