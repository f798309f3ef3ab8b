package metrics

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"testing"
	"time"

	"cityward/agent"
	"cityward/collectors/inventory"
	"cityward/configs"
)

// folded gives one program's rows for want of room, to the outside and the city.
func folded(outside, city uint64) []inventory.Flow {
	rows := []inventory.Flow{flow(1, inventory.Outside, outside, 1, taken()), flow(1, inventory.City, city, 1, taken().Add(time.Second))}
	for i := range rows {
		rows[i].Folded, rows[i].Local, rows[i].Remote = true, netip.AddrPort{}, netip.AddrPort{}
	}
	return rows
}

func TestFlowCounters(t *testing.T) {
	begin, later := taken(), taken().Add(time.Hour)
	away := make([][]inventory.Flow, agent.Patience+1) // longer than rows are remembered
	outside := func(sent, connections uint64, first time.Time) []inventory.Flow {
		return []inventory.Flow{flow(1, inventory.Outside, sent, connections, first)}
	}
	traced := func(sent uint64, first time.Time, began time.Duration) []inventory.Flow {
		f := flow(1, inventory.Outside, sent, 1, first)
		f.Began = began
		return []inventory.Flow{f}
	}
	tests := []struct {
		name              string
		rounds            [][]inventory.Flow
		begun, sent, city uint64
	}{
		{"nothing", [][]inventory.Flow{nil}, 0, 0, 0},
		{"first sight counts all", [][]inventory.Flow{outside(100, 1, begin)}, 1, 100, 0},
		{"quiet", [][]inventory.Flow{outside(100, 1, begin), outside(100, 1, begin)}, 1, 100, 0},
		{"growth", [][]inventory.Flow{outside(100, 1, begin), outside(150, 3, begin)}, 3, 150, 0},
		{"end", [][]inventory.Flow{outside(100, 1, begin), nil, nil}, 1, 100, 0},
		{"hidden for a round", [][]inventory.Flow{outside(100, 1, begin), nil, outside(120, 1, begin)}, 1, 120, 0},
		{"a new row in its place", [][]inventory.Flow{outside(100, 1, begin), outside(130, 1, later)}, 2, 230, 0},
		{"a smaller one", [][]inventory.Flow{outside(100, 1, begin), outside(30, 1, begin)}, 2, 130, 0},
		{"the clock was set", [][]inventory.Flow{traced(100, begin, 7), traced(130, later, 7)}, 1, 130, 0},
		{"shrank for a moment", [][]inventory.Flow{traced(100, begin, 7), traced(90, begin, 7), traced(105, begin, 7)}, 1, 105, 0},
		{"a new row of the kernel's", [][]inventory.Flow{traced(100, begin, 7), traced(130, begin, 8)}, 2, 230, 0},
		{"forgotten", slices.Concat([][]inventory.Flow{outside(100, 1, begin)}, away, [][]inventory.Flow{outside(120, 1, begin)}), 2, 220, 0},
		{
			"the network becomes the city's",
			[][]inventory.Flow{outside(100, 1, begin), {flow(1, inventory.City, 175, 1, begin)}},
			1, 100, 75,
		},
		{
			"two programs to one address",
			[][]inventory.Flow{{flow(1, inventory.Outside, 10, 1, begin), flow(2, inventory.Outside, 20, 1, begin)}},
			2, 30, 0,
		},
		{"one program's flows without room", [][]inventory.Flow{folded(10, 20), folded(10, 20), folded(15, 20)}, 1, 15, 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := observed()
			for i, flows := range tt.rounds {
				m.Observe(reportOf(uint64(i), &inventory.Facts{Flows: flows}, &configs.Policy{}))
			}
			for series, want := range map[string]uint64{
				`cityward_flows_total{direction="out",peer_zone="outside",protocol="tcp"}`:               tt.begun,
				`cityward_flow_sent_bytes_total{direction="out",peer_zone="outside",protocol="tcp"}`:     tt.sent,
				`cityward_flow_received_bytes_total{direction="out",peer_zone="outside",protocol="tcp"}`: 2 * tt.sent,
				`cityward_flow_sent_bytes_total{direction="out",peer_zone="city",protocol="tcp"}`:        tt.city,
				`cityward_outside_sent_bytes_total{country="other",operator="other"}`:                    0,
			} {
				if got := value(t, m, series); got != strconv.FormatUint(want, 10) {
					t.Errorf("%s is %s, want %d", series, got, want)
				}
			}
		})
	}
}

// A daemon that starts anew finds a pinned capture: what the one before has
// reported is not counted again.
func TestReportedBytesAreNotCountedAgain(t *testing.T) {
	old := func(sent, connections uint64) inventory.Flow {
		f := flow(1, inventory.Outside, sent, connections, taken())
		f.Reported = inventory.Volume{Sent: 100, Received: 200, Connections: 2}
		return f
	}
	reused := flow(1, inventory.Outside, 30, 1, taken().Add(time.Hour)) // the row went, and another took its place
	broken := old(10, 1)                                                // reported more than there is
	for name, tt := range map[string]struct {
		rounds      []inventory.Flow
		begun, sent uint64
	}{
		"nothing new":   {[]inventory.Flow{old(100, 2)}, 0, 0},
		"while away":    {[]inventory.Flow{old(130, 3)}, 1, 30},
		"and after":     {[]inventory.Flow{old(130, 3), old(150, 3)}, 1, 50},
		"another":       {[]inventory.Flow{old(130, 3), reused}, 2, 60},
		"never reports": {[]inventory.Flow{broken}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			m := observed()
			for i, f := range tt.rounds {
				m.Observe(reportOf(uint64(i), &inventory.Facts{Flows: []inventory.Flow{f}}, &configs.Policy{}))
			}
			const labels = `{direction="out",peer_zone="outside",protocol="tcp"}`
			for series, want := range map[string]uint64{
				"cityward_flows_total": tt.begun, "cityward_flow_sent_bytes_total": tt.sent, "cityward_flow_received_bytes_total": 2 * tt.sent,
			} {
				if got := value(t, m, series+labels); got != strconv.FormatUint(want, 10) {
					t.Errorf("%s is %s, want %d", series, got, want)
				}
			}
		})
	}
}

// A short round counts what moved, and neither ages rows nor hides how long full
// ones take.
func TestShortRoundsOnThePage(t *testing.T) {
	m := observed(reportOf(1, &inventory.Facts{Flows: []inventory.Flow{flow(1, inventory.Outside, 100, 1, taken())}}, &configs.Policy{}))
	for n := range uint64(3 * agent.Patience) {
		r := reportOf(1, &inventory.Facts{}, &configs.Policy{})
		r.Short, r.Shorts, r.Duration = true, n+1, time.Millisecond
		m.Observe(r)
	}
	m.Observe(reportOf(2, &inventory.Facts{Flows: []inventory.Flow{flow(1, inventory.Outside, 120, 1, taken())}}, &configs.Policy{}))
	r := reportOf(2, &inventory.Facts{Flows: []inventory.Flow{flow(1, inventory.Outside, 150, 1, taken())}}, &configs.Policy{})
	r.Short, r.Shorts, r.Duration = true, 31, time.Millisecond
	m.Observe(r)
	for series, want := range map[string]string{
		`cityward_flow_sent_bytes_total{direction="out",peer_zone="outside",protocol="tcp"}`: "150",
		"cityward_rounds_total": "2", "cityward_short_rounds_total": "31", "cityward_round_duration_seconds": "0.25",
	} {
		if got := value(t, m, series); got != want {
			t.Errorf("%s is %s, want %s", series, got, want)
		}
	}
}

func TestStoreCounters(t *testing.T) {
	id := inventory.Execution{PID: 1, Start: 1}
	running := []inventory.Process{{ID: id, Executable: "/usr/bin/rsync"}}
	held := func(how string) []inventory.Holding { return []inventory.Holding{{Store: "s", Process: id, How: how}} }
	sent := func(n uint64) []inventory.Flow { return []inventory.Flow{flow(1, inventory.Outside, n, 1, taken())} }
	both := append(held(inventory.HowService), held(inventory.HowDirect)...)
	tests := []struct {
		name            string
		rounds          []inventory.Facts
		direct, service uint64
	}{
		{"no holder", []inventory.Facts{{Processes: running, Flows: sent(100)}}, 0, 0},
		{"a holder from the start", []inventory.Facts{{Processes: running, Flows: sent(100), Holdings: held(inventory.HowDirect)}}, 100, 0},
		{
			"it comes to hold the data later",
			[]inventory.Facts{
				{Processes: running, Flows: sent(100)},
				{Processes: running, Flows: sent(130), Holdings: held(inventory.HowService)},
			},
			0, 30,
		},
		{
			"it lets go",
			[]inventory.Facts{
				{Processes: running, Flows: sent(100), Holdings: held(inventory.HowDirect)},
				{Processes: running, Flows: sent(130)},
			},
			100, 0,
		},
		{
			"its last bytes are seen after its end",
			[]inventory.Facts{
				{Processes: running, Flows: sent(100), Holdings: held(inventory.HowDirect)},
				{Flows: sent(130)},
			},
			130, 0,
		},
		{"the strongest way counts", []inventory.Facts{{Processes: running, Flows: sent(100), Holdings: both}}, 100, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := observed()
			policy := &configs.Policy{Stores: []configs.DataStore{{ID: "s"}}}
			for i := range tt.rounds {
				m.Observe(reportOf(uint64(i), &tt.rounds[i], policy))
			}
			for how, want := range map[string]uint64{"direct": tt.direct, "service": tt.service} {
				series := fmt.Sprintf(`cityward_data_store_sent_bytes_total{how=%q,peer_zone="outside",store="s"}`, how)
				if got := value(t, m, series); got != strconv.FormatUint(want, 10) {
					t.Errorf("%s is %s, want %d", series, got, want)
				}
			}
		})
	}
}

func TestOpenLabelSets(t *testing.T) {
	programs := newTop[program](other)
	round := make(map[program]uint64)
	var sum uint64
	for i := range uint64(30) {
		round[program(fmt.Sprintf("p%02d", i))] = i + 1
		sum += i + 1
	}
	programs.add(round, cmp.Compare)
	if len(programs.totals) != maxOpen+1 {
		t.Errorf("%d values, want %d and the rest", len(programs.totals), maxOpen)
	}
	if programs.totals["p29"] != 30 || programs.totals["p10"] != 11 {
		t.Error("the largest of the first round were not admitted")
	}
	if got := programs.totals[other]; got != 55 {
		t.Errorf("the rest is %d, want 55", got)
	}

	programs.add(map[program]uint64{"late": 1 << 40, "p29": 5, other: 1}, cmp.Compare)
	if _, admitted := programs.totals["late"]; admitted {
		t.Error("a late value was admitted")
	}
	if programs.totals["p29"] != 35 {
		t.Error("an admitted value does not grow")
	}
	var total uint64
	for _, bytes := range programs.totals {
		total += bytes
	}
	if want := sum + 1<<40 + 5 + 1; total != want {
		t.Errorf("%d bytes in all, want %d", total, want)
	}
}

func TestProgramNamesTellNoPeople(t *testing.T) {
	tests := []struct {
		process inventory.Process
		want    program
	}{
		{inventory.Process{Unit: "nginx.service", Executable: "/usr/sbin/nginx"}, "nginx.service"},
		{inventory.Process{Unit: "user@1000.service"}, "user@.service"},
		{inventory.Process{Unit: "backup@db1.city.example.service"}, "backup@.service"},
		{inventory.Process{Unit: "session-12.scope", Executable: "/usr/bin/rsync"}, "rsync"},
		{inventory.Process{Unit: "run-u32.service", Executable: "/usr/bin/sleep"}, "sleep"},
		{inventory.Process{Unit: "docker-0123456789ab.scope", Container: "0123456789ab", Executable: "/app/server"}, "server"},
		{inventory.Process{Executable: "/home/alice/bin/tool"}, "tool"},
		{inventory.Process{Name: "alice's job"}, "unknown"},
		{inventory.Process{}, "unknown"},
	}
	for _, tt := range tests {
		if got := programOf(&tt.process); got != tt.want {
			t.Errorf("unit %q, executable %q: %q, want %q", tt.process.Unit, tt.process.Executable, got, tt.want)
		}
	}
}

func TestPlaces(t *testing.T) {
	f := flow(1, inventory.Outside, 7, 1, taken())
	tests := []struct {
		known inventory.Place
		want  place
	}{
		{inventory.Place{}, place{"unknown", "unknown"}},
		{inventory.Place{Country: "ES"}, place{"ES", "unknown"}},
		{inventory.Place{Country: "es", Operator: "Example"}, place{"unknown", "Example"}},
		{inventory.Place{Country: "Spain"}, place{"unknown", "unknown"}},
	}
	for _, tt := range tests {
		tt.known.Address = f.Remote.Addr()
		s := inventory.Merge(taken(), &inventory.Facts{Places: []inventory.Place{tt.known}})
		if got := placeOf(s, f.Remote.Addr()); got != tt.want {
			t.Errorf("%+v: %v, want %v", tt.known, got, tt.want)
		}
	}
}
