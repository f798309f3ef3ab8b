package ledger

// flowSums adds flows up over hours.
type flowSums struct {
	at    map[sumKey]*Flow
	flows []*Flow // in the order in which they were first seen
}

type sumKey struct {
	program                             [5]string
	direction, protocol, zone, operator string
	local, remote                       Endpoint
}

func (s *flowSums) add(f *Flow) {
	key := sumKey{direction: f.Direction, protocol: f.Protocol, zone: f.Zone}
	if p := f.Program; p != nil {
		key.program = [5]string{plain(p.Executable), plain(p.User), plain(p.Unit), plain(p.Container), plain(p.Package)}
	}
	if f.Local != nil {
		key.local = *f.Local
	}
	if f.Remote != nil {
		key.remote, key.operator = f.Remote.Endpoint, plain(f.Remote.Operator)
	}
	sum := s.at[key]
	if sum == nil {
		if s.at == nil {
			s.at = make(map[sumKey]*Flow)
		}
		s.at[key] = f
		s.flows = append(s.flows, f)
		return
	}
	sum.Sent += f.Sent
	sum.Received += f.Received
	sum.Connections += f.Connections
	if f.First.Before(sum.First) {
		sum.First = f.First
	}
	if f.Last.After(sum.Last) {
		sum.Last = f.Last
	}
}

func plain(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}
