//go:build linux && (amd64 || arm64)

package kernel

// channelsOf gives what was noted of an execution, and how many more there were.
func channelsOf(row *flowsProgram) (all []Channel, more int) {
	n := int(row.ChannelCount)
	if n == 0 {
		return nil, 0
	}
	all = make([]Channel, min(n, len(row.Channels)))
	for i := range all {
		c := &row.Channels[i]
		all[i] = Channel{ID: c.Id, Kind: c.Kind, Reads: c.Mode&1 != 0, Writes: c.Mode&2 != 0}
		if c.Kind == ChannelSocket {
			all[i].Peer = uint64(c.Place)
		} else {
			all[i].Device = userDevice(c.Place)
		}
	}
	return all, n - len(all)
}
