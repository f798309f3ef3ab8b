package inventory

import "testing"

func TestShare(t *testing.T) {
	var s Share
	if s.Low() != 0 || s.High() != 0 || s.Total() != 0 {
		t.Errorf("nothing has the share %v to %v of %d", s.Low(), s.High(), s.Total())
	}
	for freedom, n := range map[Freedom]int{Free: 6, NonFree: 1, FreedomUnknown: 3} {
		for range n {
			s.Add(freedom)
		}
		if s.Of(freedom) != n {
			t.Errorf("%d are %s, want %d", s.Of(freedom), freedom, n)
		}
	}
	if s.Total() != 10 || s.Low() != 0.6 || s.High() != 0.9 || len(Freedoms()) != 3 {
		t.Errorf("share %v to %v of %d", s.Low(), s.High(), s.Total())
	}
}
