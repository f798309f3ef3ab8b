package alerts

import (
	"context"
	"encoding/json"
	"time"

	"cityward/configs"
)

// testFor is how long a test alert fires at an Alertmanager.
const testFor = 5 * time.Minute

// Try tells one receiver of a marked test alert, at once, and says whether it was
// taken. Nothing of it is queued.
func Try(ctx context.Context, receiver configs.Receiver, machineName string, now time.Time) error {
	body, err := testBody(&receiver, clean(machineName), now.UTC())
	if err != nil {
		return err
	}
	c := newClient(&receiver)
	defer c.http.CloseIdleConnections()
	return c.post(ctx, body)
}

func testBody(receiver *configs.Receiver, machineName string, now time.Time) ([]byte, error) {
	const summary = "A test of alerts: nothing is wrong, and nothing is to be done"
	if receiver.Kind == configs.Alertmanager {
		return json.Marshal([]posted{{
			Labels:      map[string]string{"alertname": testAlert, "severity": "info", "instance": machineName, "test": "true"},
			Annotations: map[string]string{"summary": summary, "description": "Somebody ran cityward alerts test on " + machineName + "."},
			StartsAt:    now, EndsAt: now.Add(testFor),
		}})
	}
	f, err := json.Marshal(map[string]any{
		"check": "TEST", "title": summary, "severity": "info", "result": "fail", "disposition": "open", "subject": nil,
		"reason": "somebody ran cityward alerts test", "since": now, "facts": map[string]any{}, "method": nil, "confidence": nil,
		"remedy": "None: this is a test.", "waiver": nil, "maps": map[string]any{},
	})
	if err != nil {
		return nil, err
	}
	s := state{Status: "firing", Starts: now}
	alert, err := s.beside(f)
	if err != nil {
		return nil, err
	}
	return json.Marshal(document{Version: Version, Sent: now, Test: true, Machine: machine{machineName}, Alerts: []json.RawMessage{alert}})
}
