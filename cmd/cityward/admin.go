package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"time"
)

// Bounds of an answer: a table of flows that is full is some tens of megabytes,
// and a round that is slow may be in the way.
const (
	maxAnswer   = 256 << 20
	waitForIt   = 30 * time.Second
	explainDeaf = "start it, or look without one: cityward scan"
)

// errNoDaemon is that of a machine where no daemon can be asked.
var errNoDaemon = errors.New("none answers")

// admin asks a daemon on its admin socket.
type admin struct {
	client *http.Client
	path   string
}

func newAdmin(path string) *admin {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path) //nolint:forbidigo // a command that a person runs asks the daemon of this machine
	}
	return &admin{&http.Client{Transport: &http.Transport{DialContext: dial}, Timeout: waitForIt}, path}
}

// get gives one document.
func (a *admin) get(ctx context.Context, document string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://admin/api/v1/"+document, http.NoBody)
	if err != nil {
		return nil, err
	}
	response, err := a.client.Do(request)
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("ask the daemon at %s: permission denied: be root or in the group cityward", a.path)
	}
	if op, refused := errors.AsType[*net.OpError](err); refused && op.Op == "dial" {
		return nil, fmt.Errorf("ask the daemon: %w at %s: %s", errNoDaemon, a.path, explainDeaf)
	}
	if err != nil {
		return nil, fmt.Errorf("ask the daemon at %s: %w", a.path, err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("ask the daemon at %s: %w", a.path, err)
	}
	if response.StatusCode == http.StatusOK {
		return body, nil
	}
	var refusal struct{ Error string }
	if json.Unmarshal(body, &refusal) != nil || refusal.Error == "" {
		refusal.Error = response.Status
	}
	return nil, fmt.Errorf("ask the daemon at %s: %s", a.path, refusal.Error)
}
