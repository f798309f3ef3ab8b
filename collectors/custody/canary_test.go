package custody

import (
	"os"
	"strings"
	"testing"
	"time"

	"cityward/collectors/internal/host"
)

// The look at open files is not believed: it has to find one of this process, and
// in another process it does not.
func TestCanary(t *testing.T) {
	h, err := host.Open("/", time.Now)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	proc, err := h.OpenProc()
	if err != nil {
		t.Fatal(err)
	}
	defer proc.Close()
	if deaf := canary(proc, os.Getpid()); deaf != "" {
		t.Error(deaf)
	}
	if deaf := canary(proc, os.Getppid()); !strings.Contains(deaf, "not found") {
		t.Errorf("in the parent: %q", deaf)
	}
}
