package flow

import (
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
		var kinds string
		for _, b := range bypasses(&kernel.Reading{Sockets: []kernel.Socket{{Family: family}}}) {
			kinds += b.Kind
		}
		if kinds != kind {
			t.Errorf("family %d: %q, want %q", family, kinds, kind)
		}
	}
}
