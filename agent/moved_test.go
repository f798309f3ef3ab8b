package agent

import (
	"net/netip"
	"testing"
	"time"

	"cityward/collectors/inventory"
)

func movedFlow(pid int, sent uint64) inventory.Flow {
	return inventory.Flow{
		Process: inventory.Execution{PID: pid, Start: 1}, Direction: inventory.Out, Protocol: "tcp",
		Remote: netip.MustParseAddrPort("203.0.113.7:443"), Sent: sent, Connections: 1, First: time.Unix(1, 0),
	}
}

func snapshotOf(f *inventory.Facts) *inventory.Snapshot { return inventory.Merge(time.Unix(100, 0), f) }

func TestGrowthNamesAProgramThatIsGone(t *testing.T) {
	g := NewGrowth()
	id := inventory.Execution{PID: 1, Start: 1}
	first := g.Next(snapshotOf(&inventory.Facts{
		Flows:      []inventory.Flow{movedFlow(1, 10)},
		Processes:  []inventory.Process{{ID: id, Executable: "/usr/bin/curl", User: "web"}},
		Owners:     []inventory.Owner{{Path: "/usr/bin/curl", PURL: "pkg:deb/debian/curl@1"}},
		Components: []inventory.Component{{Name: "curl", PURL: "pkg:deb/debian/curl@1"}},
		Holdings:   []inventory.Holding{{Store: "s", Process: id}},
	}), false)
	if len(first) != 1 || first[0].Sent != 10 || first[0].Connections != 1 {
		t.Fatalf("the first report moves %+v", first)
	}
	if quiet := g.Next(snapshotOf(&inventory.Facts{Flows: []inventory.Flow{movedFlow(1, 10)}}), false); len(quiet) != 0 {
		t.Errorf("a quiet flow moves %+v", quiet)
	}
	last := g.Next(snapshotOf(&inventory.Facts{Flows: []inventory.Flow{movedFlow(1, 25)}}), true)
	if len(last) != 1 || last[0].Sent != 15 || last[0].Connections != 0 || last[0].Program.Executable != "/usr/bin/curl" ||
		last[0].PURL != "pkg:deb/debian/curl@1" || len(last[0].Holds) != 1 {
		t.Errorf("the last bytes of a program that is gone: %+v", last)
	}
}

func TestGrowthForgetsRows(t *testing.T) {
	g := NewGrowth()
	for n := range 100 {
		g.Next(snapshotOf(&inventory.Facts{Flows: []inventory.Flow{movedFlow(n, 1)}}), false)
	}
	if got := len(g.rows); got > Patience+1 {
		t.Errorf("%d rows are remembered after 100 programs came and went", got)
	}
}
