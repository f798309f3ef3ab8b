package ledger

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"cityward/agent"
	"cityward/collectors/inventory"
)

// Flow is what one program exchanged with one peer in one hour, in the shape that
// "cityward flows" has, but for the process ids: a program had many in an hour.
type Flow struct {
	Hour        time.Time `json:"hour"`
	Program     *Program  `json:"program"`
	Direction   string    `json:"direction"`
	Protocol    string    `json:"protocol"`
	Local       *Endpoint `json:"local"`
	Remote      *Remote   `json:"remote"`
	Zone        string    `json:"zone"`
	Stores      []string  `json:"stores"` // that the program held data of
	Sent        uint64    `json:"sent_bytes"`
	Received    uint64    `json:"received_bytes"`
	Connections uint64    `json:"connections"`
	First       time.Time `json:"first"`
	Last        time.Time `json:"last"`
}

// Program names one; null is what is not known.
type Program struct {
	Executable *string `json:"executable"`
	User       *string `json:"user"`
	Unit       *string `json:"unit"`
	Container  *string `json:"container"`
	Package    *string `json:"package"`
}

// Endpoint is an address and a port, which is 0 where it varies.
type Endpoint struct {
	Address string `json:"address"`
	Port    uint16 `json:"port"`
}

// Remote is the far end, as it was known at the time.
type Remote struct {
	Endpoint
	Country  *string `json:"country"`
	Operator *string `json:"operator"`
}

// hourKey names a flow within an hour.
type hourKey struct {
	executable, user, unit, container, purl string
	direction, protocol, stores             string
	local, remote                           netip.AddrPort
	zone                                    inventory.Zone
}

// hours are the flows of the hour that is not over.
type hours struct {
	at     time.Time
	ids    map[hourKey]int
	flows  []*Flow
	bodies [][]byte // as they were last given to be written
	dirty  map[int]struct{}
}

func (h *hours) empty() {
	h.ids, h.dirty = make(map[hourKey]int), make(map[int]struct{})
	h.flows, h.bodies = nil, nil
}

// touch has everything written again.
func (h *hours) touch() {
	for id := range h.flows {
		h.dirty[id] = struct{}{}
	}
}

// observe adds what moved. An hour that is over, or has no room for more, becomes
// rows first; of the latter a further row of the same hour may follow.
func (h *hours) observe(at time.Time, r *agent.Report, seal func(body *Flow)) {
	flush := func() {
		for _, flow := range h.flows {
			seal(flow)
		}
		h.empty()
	}
	if hour := at.Truncate(time.Hour); !hour.Equal(h.at) {
		flush()
		h.at = hour
	}
	for i := range r.Moved {
		moved := &r.Moved[i]
		key := keyOf(moved)
		id, known := h.ids[key]
		if !known {
			if len(h.flows) >= maxHours {
				flush()
			}
			id = len(h.flows)
			h.ids[key] = id
			h.flows, h.bodies = append(h.flows, flowOf(h.at, at, &key, r.Snapshot)), append(h.bodies, nil)
		}
		flow := h.flows[id]
		flow.Sent += moved.Sent
		flow.Received += moved.Received
		flow.Connections += moved.Connections
		flow.Last = at
		h.dirty[id] = struct{}{}
	}
}

// take gives what changed since it was last taken, and a digest over everything.
func (h *hours) take() (map[int][]byte, digest) {
	changed := make(map[int][]byte, len(h.dirty))
	for id := range h.dirty {
		h.bodies[id] = encode(h.flows[id])
		changed[id] = h.bodies[id]
	}
	clear(h.dirty)
	return changed, digestOf(h.bodies)
}

func keyOf(m *agent.Moved) hourKey {
	var stores []string
	for _, holding := range m.Holds {
		stores = append(stores, holding.Store)
	}
	slices.Sort(stores)
	return hourKey{
		clip(m.Program.Executable), clip(m.Program.User), clip(m.Program.Unit), clip(m.Program.Container), clip(m.PURL),
		m.Flow.Direction, clip(m.Flow.Protocol), strings.Join(slices.Compact(stores), " "), // an id has no blank
		m.Flow.Local, m.Flow.Remote, m.Flow.Zone,
	}
}

func flowOf(hour, at time.Time, k *hourKey, s *inventory.Snapshot) *Flow {
	f := &Flow{
		Hour: hour, Direction: k.direction, Protocol: k.protocol, Zone: k.zone.String(), Stores: strings.Fields(k.stores), First: at,
		Local: endpoint(k.local),
	}
	if k.executable != "" || k.unit != "" || k.container != "" {
		f.Program = &Program{known(k.executable), known(k.user), known(k.unit), known(k.container), known(k.purl)}
	}
	if remote := endpoint(k.remote); remote != nil {
		place, _ := s.Place(k.remote.Addr())
		f.Remote = &Remote{*remote, known(clip(place.Country)), known(clip(place.Operator))}
	}
	return f
}

func endpoint(a netip.AddrPort) *Endpoint {
	if !a.Addr().IsValid() {
		return nil
	}
	return &Endpoint{a.Addr().String(), a.Port()}
}

func known(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// maxText bounds every name, so that no row passes maxBody however it is escaped.
const maxText = 1024

// clip makes text from anywhere fit to be written and read back the same.
func clip(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}

// encode gives the body of a row. Text within is clipped before; what is too large
// nevertheless says so in its place.
func encode(body any) []byte {
	data, err := json.Marshal(body)
	if err == nil && len(data) > maxBody {
		err = fmt.Errorf("%d bytes are too many", len(data))
	}
	if err != nil {
		data, _ = json.Marshal(map[string]string{"dropped": clip(err.Error())}) // strings can be written
	}
	return data
}

// parseFlow reads the body of a row.
func parseFlow(body []byte) (*Flow, error) {
	var f Flow
	if err := json.Unmarshal(body, &f); err != nil {
		return nil, fmt.Errorf("read flow: %w", err)
	}
	return &f, nil
}
