package inventory

// Share counts software by its freedom. The share of free software lies between
// two bounds, since the unknown may be either.
type Share struct{ Free, NonFree, Unknown int }

// Freedoms lists the three answers.
func Freedoms() []Freedom { return []Freedom{Free, NonFree, FreedomUnknown} }

// Add counts one.
func (s *Share) Add(f Freedom) {
	switch f {
	case Free:
		s.Free++
	case NonFree:
		s.NonFree++
	case FreedomUnknown:
		s.Unknown++
	}
}

// Of is the count of one answer.
func (s *Share) Of(f Freedom) int {
	switch f {
	case Free:
		return s.Free
	case NonFree:
		return s.NonFree
	case FreedomUnknown:
	}
	return s.Unknown
}

// Total is how many were counted.
func (s *Share) Total() int { return s.Free + s.NonFree + s.Unknown }

// Low is the share, 0 to 1, with the unknown counted as not free; 0 of nothing.
func (s *Share) Low() float64 { return s.ratio(s.Free) }

// High is the share, 0 to 1, with the unknown counted as free; 0 of nothing.
func (s *Share) High() float64 { return s.ratio(s.Free + s.Unknown) }

func (s *Share) ratio(part int) float64 { return float64(part) / float64(max(s.Total(), 1)) }

// LessFree gives of two answers about the same software the one that promises
// less, the first where they promise alike: whoever can add a row about software
// that others have, too, must not make theirs free.
func LessFree(a, b Licence) Licence {
	promise := func(f Freedom) int {
		switch f {
		case NonFree:
			return 0
		case Free:
			return 2
		case FreedomUnknown:
		}
		return 1
	}
	if promise(b.Freedom) < promise(a.Freedom) {
		return b
	}
	return a
}
