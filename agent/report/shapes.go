package report

import (
	"time"

	"cityward/checks/finding"
)

type jsonScan struct {
	Taken      time.Time              `json:"taken"`
	Machine    jsonMachine            `json:"machine"`
	Capture    map[string]jsonCapture `json:"capture"`
	Inventory  jsonInventory          `json:"inventory"`
	DataStores []jsonStore            `json:"data_stores"`
	Candidates []jsonCandidate        `json:"candidates"`
	Flows      []Flow                 `json:"flows"`
	Custody    []Holding              `json:"custody"`
	Checks     []jsonCheck            `json:"checks"`
	Findings   []Found                `json:"findings"`
	Gaps       []jsonGap              `json:"gaps"`
}

type jsonMachine struct {
	Hostname       *string    `json:"hostname"`
	OS             *string    `json:"os"`
	OSVersion      *string    `json:"os_version"`
	Kernel         *string    `json:"kernel"`
	Arch           *string    `json:"arch"`
	Booted         *time.Time `json:"booted"`
	CPUs           int        `json:"cpus"`
	MemoryBytes    uint64     `json:"memory_bytes"`
	Virtualization *string    `json:"virtualization"`
	Platform       *string    `json:"platform"`
	Vendor         *string    `json:"vendor"`
	Product        *string    `json:"product"`
}

type jsonCapture struct {
	Tier     string  `json:"tier"`
	Complete bool    `json:"complete"`
	Reason   *string `json:"reason"`
	Events   uint64  `json:"events"`
	Lost     uint64  `json:"lost"`
	Orphans  uint64  `json:"unattributed"`
}

type jsonInventory struct {
	Components []jsonComponent `json:"components"`
	Programs   []jsonProgram   `json:"programs"`
	Containers []jsonContainer `json:"containers"`
	Gaps       []jsonGap       `json:"gaps"`
}

type jsonContainer struct {
	ID       *string `json:"container"`
	Name     *string `json:"name"`
	Runtime  *string `json:"runtime"`
	Image    *string `json:"image"`
	Digest   *string `json:"digest"`
	System   *string `json:"system"`
	Packages int     `json:"packages"`
	Unread   *string `json:"unread"` // why its packages could not be read
}

type jsonComponent struct {
	Ecosystem string      `json:"ecosystem"`
	Name      string      `json:"name"`
	Version   string      `json:"version"`
	PURL      string      `json:"purl"`
	Also      []string    `json:"also"`
	Supplier  *string     `json:"supplier"`
	Area      *string     `json:"area"`
	Origin    *string     `json:"origin"` // of the archive that has this version, by its own word
	Licence   jsonLicence `json:"licence"`
	Running   bool        `json:"running"`
	Images    []string    `json:"images"`  // of containers that have it
	Machine   bool        `json:"machine"` // the machine itself has it
}

type jsonLicence struct {
	Declared   *string `json:"declared"`
	Expression *string `json:"expression"`
	Source     *string `json:"source"`
	Freedom    string  `json:"freedom"`
	Disputed   *string `json:"disputed"`
}

type jsonProgram struct {
	Executable    *string     `json:"executable"`
	PIDs          []int       `json:"pids"`
	User          *string     `json:"user"`
	Unit          *string     `json:"unit"`
	Container     *string     `json:"container"`
	Image         *string     `json:"image"`
	Package       *string     `json:"package"`
	Licence       jsonLicence `json:"licence"`
	Script        *string     `json:"script"` // that an interpreter runs
	ScriptPackage *string     `json:"script_package"`
	Listening     []string    `json:"listening"`
}

type jsonProcess struct {
	Executable *string `json:"executable"`
	PID        *int    `json:"pid"` // null of the many of a past hour
	User       *string `json:"user"`
	Unit       *string `json:"unit"`
	Container  *string `json:"container"`
	Package    *string `json:"package"`
}

type jsonEndpoint struct {
	Address string `json:"address"`
	Port    uint16 `json:"port"`
}

type jsonRemote struct {
	jsonEndpoint
	Names    []string `json:"names"`
	Country  *string  `json:"country"`
	Operator *string  `json:"operator"`
}

// Flow is one flow as JSON shows it. Local and Remote are null of many flows in
// one, whose addresses found no room.
type Flow struct {
	Program     *jsonProcess  `json:"program"`
	Direction   string        `json:"direction"`
	Protocol    string        `json:"protocol"`
	Local       *jsonEndpoint `json:"local"`
	Remote      *jsonRemote   `json:"remote"`
	Zone        string        `json:"zone"`
	Sent        uint64        `json:"sent_bytes"`
	Received    uint64        `json:"received_bytes"`
	Connections uint64        `json:"connections"`
	Open        int           `json:"open_connections"`
	First       time.Time     `json:"first"`
	Last        time.Time     `json:"last"`
}

// Holding is one program's hold on one store's data, and where it sent bytes while it
// held it.
type Holding struct {
	Store        string            `json:"store"`
	Program      *jsonProcess      `json:"program"`
	How          string            `json:"how"`
	Since        time.Time         `json:"since"`
	Until        *time.Time        `json:"until,omitempty"` // only of the past
	From         *jsonProcess      `json:"from"`
	Evidence     *string           `json:"evidence"`
	Destinations []jsonDestination `json:"destinations"`
}

type jsonDestination struct {
	Address  *string   `json:"address"`
	Port     *uint16   `json:"port"`
	Zone     string    `json:"zone"`
	Transfer *string   `json:"transfer"`
	Sent     uint64    `json:"sent_bytes"`
	First    time.Time `json:"first"`
	Last     time.Time `json:"last"`
}

type jsonStore struct {
	ID         string   `json:"store"`
	Class      string   `json:"class"`
	Paths      []string `json:"paths"`
	Services   []string `json:"services"`
	Medium     string   `json:"medium"`
	MediumZone *string  `json:"medium_zone"`
	Peer       *string  `json:"peer"`
	Encrypted  string   `json:"encrypted"`
	Disks      []string `json:"disks"`
	Holders    int      `json:"holders"`
}

type jsonCandidate struct {
	Engine  string       `json:"engine"`
	Path    string       `json:"path"`
	Program *jsonProcess `json:"program"`
	Reason  string       `json:"reason"`
}

type jsonCheck struct {
	Check    string `json:"check"`
	Title    string `json:"title"`
	Result   string `json:"result"`
	Severity string `json:"severity"`
}

// Found is one finding as JSON shows it.
type Found struct {
	Check       string         `json:"check"`
	Title       string         `json:"title"`
	Severity    string         `json:"severity"`
	Result      string         `json:"result"`
	Disposition string         `json:"disposition"`
	Subject     *string        `json:"subject"`
	Reason      *string        `json:"reason"`
	Since       time.Time      `json:"since"`
	Facts       map[string]any `json:"facts"`
	Method      *string        `json:"method"`
	Confidence  *string        `json:"confidence"`
	Remedy      string         `json:"remedy"`
	Waiver      *string        `json:"waiver"`
	Maps        finding.Maps   `json:"maps"`
	Resolved    *time.Time     `json:"resolved,omitempty"` // only of the past
}

type jsonGap struct {
	Collector string  `json:"collector"`
	Kind      string  `json:"kind"`
	Store     *string `json:"store"`
	Subject   *string `json:"subject"`
	Reason    string  `json:"reason"`
	Lost      int     `json:"lost"`
}

type jsonStatus struct {
	Taken      time.Time              `json:"taken"`
	Rounds     uint64                 `json:"rounds"`
	Shorts     uint64                 `json:"short_rounds"`
	Duration   float64                `json:"round_seconds"`
	Capture    map[string]jsonCapture `json:"capture"`
	Config     jsonConfigState        `json:"config"`
	Collectors []jsonCollector        `json:"collectors"`
	Gaps       []jsonGap              `json:"gaps"`
}

type jsonConfigState struct {
	Valid  bool      `json:"valid"`
	Loaded time.Time `json:"loaded"`
	Error  *string   `json:"error"`
}

type jsonCollector struct {
	Collector   string     `json:"collector"`
	Success     bool       `json:"success"`
	Seconds     float64    `json:"seconds"`
	LastSuccess *time.Time `json:"last_success"`
	Error       *string    `json:"error"`
}
