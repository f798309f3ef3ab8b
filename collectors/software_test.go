package collectors

import (
	"testing"

	"cityward/collectors/inventory"
)

// software makes the rooms that list what is installed on this machine.
func software(b *testing.B) []Entry {
	b.Helper()
	set, err := Build(All(), "/", testConfig(b), noon)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = set.Close() })
	var rooms []Entry
	for _, entry := range set.Entries() {
		if readsSoftware(entry.Name) {
			rooms = append(rooms, entry)
		}
	}
	return rooms
}

func collectSoftware(b *testing.B, rooms []Entry) (components int) {
	b.Helper()
	for _, room := range rooms {
		facts, err := room.Collect(b.Context(), &inventory.Facts{})
		if err != nil {
			b.Fatal(err)
		}
		components += len(facts.Components)
	}
	return components
}

// All of this machine's software, from nothing.
func BenchmarkSoftwareCold(b *testing.B) {
	for b.Loop() {
		b.StopTimer()
		rooms := software(b)
		b.StartTimer()
		b.ReportMetric(float64(collectSoftware(b, rooms)), "components")
	}
}

// The same while nothing changes.
func BenchmarkSoftwareWarm(b *testing.B) {
	rooms := software(b)
	collectSoftware(b, rooms)
	for b.Loop() {
		collectSoftware(b, rooms)
	}
}
