//go:build linux && (amd64 || arm64)

package kernel

import "fmt"

// noteReported writes what the reading before this one gave: whoever asks for the
// next has dealt with it.
func (k *Kernel) noteReported() error {
	for key, volume := range k.reported {
		row := flowsVolume{Sent: volume.Sent, Received: volume.Received, Connections: volume.Connections}
		if err := k.maps[flowsMapReported].Put(&key, &row); err != nil {
			return fmt.Errorf("note what was read: %w", err)
		}
	}
	clear(k.reported)
	return nil
}

// recallReported reads what a process before this one had dealt with.
func (k *Kernel) recallReported() error {
	var key flowsFlowKey
	var row flowsVolume
	rows := k.maps[flowsMapReported].Iterate()
	for rows.Next(&key, &row) {
		k.earlier[key] = Volume{row.Sent, row.Received, row.Connections}
	}
	if err := rows.Err(); err != nil {
		return fmt.Errorf("recall what was read: %w", err)
	}
	return nil
}
