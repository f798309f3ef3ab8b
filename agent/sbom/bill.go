package sbom

import (
	"crypto/sha512"
	"encoding/json"
	"time"

	"github.com/google/uuid"
)

// bill is what all formats say, in clean text. Its fields are exported for the
// hash that names it.
type bill struct {
	Taken      time.Time
	Tool       string // version of this program
	Public     bool
	Running    bool
	Creator    party
	Host       machine
	Components []component
	Stores     []store
	Services   []service
	Notes      []string // what could not be seen or does not stand here, one sentence each
	Incomplete bool     // software is known to be missing; otherwise nobody can say
	Blind      bool     // flows are known to be missing
}

// machine is the host that all was found on. Serial number and UUID of the
// hardware have no place in it.
type machine struct {
	Name, OS, OSName, OSVersion, Kernel, Arch, Virtualization, Platform string
}

// party is an organisation or a person: nobody says which.
type party struct{ Name, Email, URL string }

// component is a piece of software, or a program that belongs to none.
type component struct {
	Ref        string // unique in the bill
	Kind       string // application, library, firmware: CycloneDX's words
	Ecosystem  string // "" of a program that belongs to no component
	Name       string
	Version    string
	Arch       string
	Source     string
	Area       string
	Origin     string
	PURL       string
	Supplier   party
	Declared   string // the maker's own words
	Expression string // SPDX; "" unknown
	Terms      string // where the expression comes from
	Freedom    string
	Running    bool
	Programs   []string // what runs of it
	Places     []string // files it was read from or runs from
	Files      []file
	Depends    []string // refs
	Stated     bool     // somebody says what it depends on
	Times      int      // installed so often, where versions are left out
}

// file is one file of a component at hand.
type file struct {
	Ref, Path, Name, SHA512, Modified string
	Executable, Archive               bool
	Whole                             bool // it is the component as it was delivered
}

// store is a declared store of data.
type store struct {
	Ref, ID, Class, Medium, Encrypted string
	Owners, Stewards, Custodians      []string
}

// service is a program that others reach, or that holds a store's data.
type service struct {
	Ref, Name string
	Endpoints []string // URIs
	Crosses   *bool    // whether bytes pass the border of the city's hardware; nil unknown
	Zones     []string // of its peers
	Programs  []string
	Uses      []string // refs of components
	Data      []traffic
}

// traffic is one kind of data that a service takes in or gives away.
type traffic struct {
	Flow        string // inbound, outbound, bi-directional
	Class       string
	Name        string
	Description string
	Store       string   // ref of the store it comes from; ""
	Sources     []string // URIs
	Places      []string // URIs it is sent to
}

// id names the bill in one format: a UUID of version 5 (RFC 9562) from all that
// it says.
func (b *bill) id(format string) string {
	data, err := json.Marshal(b)
	if err != nil {
		panic(err) // plain strings in structs always encode
	}
	sum := sha512.Sum512(data)
	return uuid.NewSHA1(uuid.NameSpaceOID, append([]byte("cityward "+format+" "), sum[:]...)).String()
}

// created is the round's time, in UTC to the second.
func (b *bill) created() string { return b.Taken.UTC().Format("2006-01-02T15:04:05Z") }
