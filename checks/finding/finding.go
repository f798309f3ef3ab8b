// Package finding holds what a check says: the [Rule], the same on every
// machine, and the [Finding], this machine's. A rule's fields may become metric
// labels, a finding's never do.
package finding

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Verdict is the answer of a check. The zero value is Unknown: what was not
// looked at is never a pass.
type Verdict uint8

// The verdicts.
const (
	Unknown       Verdict = iota // the evidence does not suffice
	Pass                         // looked at, and as it should be
	Fail                         // looked at, and not as it should be
	Review                       // a person has to decide
	NotApplicable                // there is nothing here that the rule is about
)

// Verdicts lists all of them, the best first: each outweighs those before it in
// a summary.
func Verdicts() []Verdict { return []Verdict{NotApplicable, Pass, Review, Unknown, Fail} }

// Weight orders verdicts as [Verdicts] does: the heaviest stands for all where
// one answer must do.
func (v Verdict) Weight() int { return slices.Index(Verdicts(), v) }

// String gives the word used in JSON.
func (v Verdict) String() string {
	switch v {
	case Pass:
		return "pass"
	case Fail:
		return "fail"
	case Review:
		return "review"
	case NotApplicable:
		return "not_applicable"
	case Unknown:
	}
	return "unknown"
}

// Severity is how bad a failure is.
type Severity uint8

// The severities, in ascending order.
const (
	Info Severity = iota
	Low
	Medium
	High
	Critical
)

// Severities lists all of them in ascending order.
func Severities() []Severity { return []Severity{Info, Low, Medium, High, Critical} }

// String gives the word used in JSON and as a label value.
func (s Severity) String() string {
	switch s {
	case Critical:
		return "critical"
	case High:
		return "high"
	case Medium:
		return "medium"
	case Low:
		return "low"
	case Info:
	}
	return "info"
}

// ParseSeverity reads the word that [Severity.String] gives.
func ParseSeverity(word string) (Severity, error) {
	for _, s := range Severities() {
		if s.String() == word {
			return s, nil
		}
	}
	return Info, fmt.Errorf("parse severity: %q is none of %s", word, severityWords())
}

func severityWords() string {
	var words []string
	for _, s := range Severities() {
		words = append(words, s.String())
	}
	return strings.Join(words, ", ")
}

// Rule is what a check demands and why.
type Rule struct {
	ID        string // FAMILY-NNN; never used again for anything else
	Title     string // the state that should be
	Severity  Severity
	Rationale string // why a city wants it, in a sentence or two
	Decides   Decides
	Remedy    string   // what to do about a failure
	Pitfalls  string   // known false positives and blind spots
	Needs     []string // kinds of evidence, as gaps name them; none where the policy alone is judged
	Stores    bool     // it is about declared data stores: with none declared it is unknown, whatever a judge says
	Maps      Maps
}

// Decides says what leads to each verdict the rule can give. A verdict that is
// not among the keys is one the rule never gives.
type Decides map[Verdict]string

// String gives one line a verdict, in the order of [Verdicts].
func (d Decides) String() string {
	var lines []string
	for _, v := range Verdicts() {
		if text, given := d[v]; given {
			lines = append(lines, v.String()+": "+text)
		}
	}
	return strings.Join(lines, "\n")
}

// Maps names the articles and criteria of frameworks that the rule gives
// evidence for, by the framework's key: gdpr, nis2, eu_csf, c3a, ens. Spelling
// of the values follows the Wazuh policies, so that results join in a SIEM.
type Maps map[string][]string

// Methods: how the evidence was come by. Seen beats written.
const (
	Observed = "observed" // on the running system
	Config   = "config"   // in a configuration file
	Declared = "declared" // in the policy
)

// Confidence in a finding.
const (
	ConfidenceHigh   = "high"
	ConfidenceMedium = "medium"
	ConfidenceLow    = "low"
)

// Dispositions: what a person has decided about a failure. A waiver never turns
// a failure into a pass.
const (
	Open          = "open"
	Waived        = "waived"
	WaiverExpired = "waiver_expired"
	TransferUsed  = "approved" // not a failure: traffic under an approved transfer, counted and listed
)

// Finding is one answer about one subject on this machine. A judge fills
// Subject, Verdict, Reason, Facts, Method and Confidence; the catalogue adds the
// rest.
type Finding struct {
	Check       string
	Title       string
	Severity    Severity // the rule's, unless the judge raised or lowered it
	Verdict     Verdict
	Disposition string
	Subject     string // what it is about: a store, a destination, a program; "" the machine
	Store       string // id of the data store it is about, whatever else the subject names; "" none
	Reason      string // one sentence for people
	Since       time.Time
	Facts       map[string]any // what was observed: strings, numbers, booleans, lists of these
	Method      string
	Confidence  string
	Remedy      string
	Maps        Maps
	Waiver      string // owner and ticket of the waiver in force, for people
}

// Key identifies a finding over time.
func (f *Finding) Key() string { return f.Check + "\x00" + f.Subject }
