package kernel

import (
	"testing"
	"time"
)

// A total that shrinks hides no loss that comes after.
func TestRecent(t *testing.T) {
	var r Recent
	now := time.Now()
	for i, step := range []struct {
		after time.Duration
		total uint64
		want  bool
	}{
		{0, 0, false},
		{time.Minute, 100, true},
		{59 * time.Minute, 20, true},
		{2 * time.Minute, 20, false},
		{time.Minute, 30, true},
		{time.Hour, 30, false},
	} {
		now = now.Add(step.after)
		if got := r.Within(step.total, now); got != step.want {
			t.Errorf("step %d: %v, want %v", i, got, step.want)
		}
	}
}
