package flow

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"cityward/collectors/internal/kernel"
	"cityward/collectors/inventory"
)

func TestBypasses(t *testing.T) {
	for family, kind := range map[uint16]string{
		unix.AF_PACKET: inventory.BypassPacket, unix.AF_XDP: inventory.BypassXDP, 0: inventory.BypassTunnel,
		unix.AF_VSOCK: inventory.BypassOther, unix.AF_INET: "", unix.AF_UNIX: "",
	} {
		var kinds []string
		for _, b := range bypasses(&kernel.Reading{Sockets: []kernel.Socket{{Family: family}}}, false) {
			kinds = append(kinds, b.Kind)
		}
		if got := strings.Join(kinds, " "); got != kind {
			t.Errorf("family %d: %q, want %q", family, got, kind)
		}
	}
	// Who sends is told of.
	r := &kernel.Reading{Sockets: []kernel.Socket{{Family: unix.AF_VSOCK}}}
	if got := bypasses(r, true); got != nil {
		t.Errorf("held only: %+v", got)
	}
	r.Frames = []kernel.Frames{{Kind: kernel.FramesOther, Bytes: 7}, {Kind: kernel.FramesPacket, Bytes: 9}}
	want := []inventory.Bypass{{Kind: inventory.BypassOther, Bytes: 7}, {Kind: inventory.BypassPacket, Bytes: 9}}
	if got := bypasses(r, true); !slices.Equal(got, want) {
		t.Errorf("sent: %+v", got)
	}
}
