// Package configs reads what a person wrote: the configuration with its policy,
// the waivers, and the reviewed tables of facts that ship with the program.
//
// Reading is strict. An unknown key is an error, every mistake of a file is
// reported at once with its line and column (of broken syntax the first break
// only: what follows it means nothing), and a file with a mistake gives no
// configuration at all.
//
// The TOML library tells neither the place of an unknown key nor that of a value
// that fails our own rules, and it stops at the first wrong type. So a file is
// decoded into plain maps, a small scanner finds where each key and element
// stands (positions.go), and typed readers walk over both (table.go). A reader
// that is asked for a key thereby makes it known: the program cannot read a key
// that the check for unknown keys does not know. The embedded default goes the
// same way, so what it documents and what holds without a file are one.
package configs

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Config is one configuration file.
type Config struct {
	Policy
	Listen  Listen
	Round   Round
	Capture Capture
	Geo     Geo
	Ledger  Ledger
	Alerts  Alerts
	Log     Log

	Source string // the file it was read from; "" the embedded default
	State  string // directory in which a daemon keeps what outlives a restart; "" none. Not of the file
}

// Policy is what should be: the part of the configuration that checks judge by.
type Policy struct {
	City      City
	Software  Software
	Stores    []DataStore // [[data_store]]
	Transfers []Transfer  // [[transfer]]
	Custody   Custody
	Waivers   []Waiver // of waivers.toml beside the configuration
	WaiverErr error    // why no waiver is honoured; nil if the file is sound or absent

	Substitutes *SubstituteTable // the shipped table, with the operator's own rows of facts.d
	FactsErr    error            // why nothing of facts.d is used; nil if it is sound or absent

	lookup *lookup // made when the policy is read; see [Policy.InCity]
}

// City is whose hardware is the city's.
type City struct {
	Name          string
	Networks      []netip.Prefix // the city's own; private ranges count only if listed
	Domains       []string
	Countries     []string // ISO 3166-1 alpha-2; sets severity only
	Hardware      string   // path of the asset register (CSV); "" none
	NoCitizenData bool     // a person states that no store of citizen data exists here
}

// Listen is where the daemon answers.
type Listen struct {
	Metrics   string // host:port
	WebConfig string // exporter-toolkit web configuration file
	Admin     string // path of the admin Unix socket; "" none
	Insecure  bool   // permits Metrics beyond loopback without WebConfig
}

// Round is the clock of the daemon.
type Round struct {
	Interval time.Duration
	Timeout  time.Duration // of one collector
}

// Capture is how closely connections and programs are watched.
type Capture struct {
	Tier     string // the best to try: auto, bpf, events, poll, gopsutil
	Flows    int    // rows of the kernel's table of flows
	Programs int    // executions that the kernel remembers
	Pins     string // directory in a BPF file system in which the capture outlives the daemon; "" none
}

// Geo names databases in the MaxMind format (MMDB); "" none.
type Geo struct {
	Country string // country database
	ASN     string // autonomous systems: who runs an address
	MaxAge  time.Duration
}

// Ledger is how much history is kept.
type Ledger struct {
	Days    int   // rows that are older go
	MaxSize int64 // of the file, in bytes; the oldest rows go
}

// Log is how the daemon logs.
type Log struct {
	Level  string // debug, info, warn, error
	Format string // logfmt, json
}

// Software is what the city demands of software freedom.
type Software struct {
	FreeShareMinimum    float64         // 0 to 1, of installed components
	UnknownShareMaximum float64         // 0 to 1; above it the share is unknown
	LocalPrograms       []string        // paths of programs the city built or installed itself, beside any package
	Licences            []StatedLicence // [[software.licence]]
}

// StatedLicence is what a person states of the terms of a package: it overrules
// what is found.
type StatedLicence struct {
	Package    string // name in any ecosystem, or package URL, of one version or of all
	Expression string // SPDX licence expression
	Reason     string
}

// Of reports whether the statement is of a package.
func (l *StatedLicence) Of(name, purl string) bool {
	if !strings.HasPrefix(l.Package, "pkg:") {
		return l.Package == name
	}
	rest, ok := strings.CutPrefix(purl, l.Package)
	return ok && (rest == "" || rest[0] == '@' || rest[0] == '?')
}

// Classes of data.
const (
	ClassCitizen      = "citizen"
	ClassConfidential = "confidential"
	ClassPublic       = "public"
)

// Demands on encryption at rest.
const (
	EncryptionRequired = "required" // unless the store says otherwise
	EncryptionOptional = "optional"
)

// Directions of a transfer.
const (
	Out = "out" // this machine begins the connection
	In  = "in"  // the other side does
)

// DataStore is a declared store of data.
type DataStore struct {
	ID         string
	Class      string
	Paths      []string
	Services   []Service
	Readers    []string // user names, or group:NAME
	Encryption string   // required, optional
}

// Service is a listening socket that serves a store's data.
type Service struct {
	Protocol string // tcp, udp, unix
	Port     uint16 // of tcp and udp
	Path     string // of unix
}

// String gives the form of the configuration: tcp:5432, unix:/run/db.sock.
func (s Service) String() string {
	if s.Protocol == "unix" {
		return "unix:" + s.Path
	}
	return s.Protocol + ":" + strconv.Itoa(int(s.Port))
}

// Transfer is an approved flow: a record under GDPR article 30(1)(e) in machine
// form.
type Transfer struct {
	ID         string
	Networks   []netip.Prefix
	Direction  string   // out, in
	Ports      []uint16 // remote for out, local for in; empty means any
	Programs   []string // executables; empty means any
	Stores     []string // whose data may go there; empty means none
	Country    string
	Purpose    string
	LegalBasis string
	Owner      string
	ApprovedBy string
	Expires    time.Time // end of its last day, UTC
}

// Waiver excuses a failure for a time. The check still fails; it only does not
// alert.
type Waiver struct {
	Check         string
	Subject       string // exact, or a glob with *
	Justification string
	Owner         string
	ApprovedBy    string
	Ticket        string
	Expires       time.Time // end of its last day, UTC
}
