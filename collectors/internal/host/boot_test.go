package host

import "testing"

func TestParseBooted(t *testing.T) {
	if got, err := parseBooted([]byte("cpu 1 2\nbtime 1700000000\nprocesses 4\n")); err != nil || got.Unix() != 1700000000 {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "btime x\n", "btime -1\n", "nobtime 4\n"} {
		if got, err := parseBooted([]byte(bad)); err == nil {
			t.Errorf("%q: got %v", bad, got)
		}
	}
}

func FuzzBooted(f *testing.F) {
	f.Add([]byte("cpu 1 2\nbtime 1700000000\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if got, err := parseBooted(data); err == nil && got.Unix() < 0 {
			t.Errorf("got %v", got)
		}
	})
}
