package httpd

import (
	"context"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

func unixClient(t *testing.T, path string) *http.Client {
	t.Helper()
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestAdminSocket(t *testing.T) {
	var reloads atomic.Int32
	o := options(t)
	o.Admin = filepath.Join(t.TempDir(), "run", "admin.sock") // the directory is made
	o.Reload = func() { reloads.Add(1) }
	s := serve(t, o)
	client := unixClient(t, o.Admin)

	info, err := os.Lstat(o.Admin)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != fs.ModeSocket|0o660 {
		t.Errorf("mode %v, want a socket with 0660", info.Mode())
	}
	if response := get(t, client, "http://admin/api/v1/status"); response.status != http.StatusServiceUnavailable ||
		response.body != `{"error":"no round is finished yet"}`+"\n" {
		t.Errorf("before the first round: %d %s", response.status, response.body)
	}
	s.Ready()
	for _, name := range []string{"findings", "flows", "inventory", "checks", "status"} {
		response := get(t, client, "http://admin/api/v1/"+name)
		if response.status != http.StatusOK || response.body != `{"document":"`+name+`"}` {
			t.Errorf("%s: %d %s", name, response.status, response.body)
		}
		if got := response.header.Get("Content-Type"); got != "application/json" {
			t.Errorf("%s: Content-Type %q", name, got)
		}
	}
	if response := get(t, client, "http://admin/api/v1/custody"); response.status != http.StatusInternalServerError ||
		response.body != `{"error":"make document: on purpose"}`+"\n" {
		t.Errorf("a document that cannot be made: %d %s", response.status, response.body)
	}
	for _, path := range []string{"/api/v1/scan", "/api/v1/", "/metrics", "/"} {
		if response := get(t, client, "http://admin"+path); response.status != http.StatusNotFound {
			t.Errorf("%s: status %d, want 404", path, response.status)
		}
	}
	if response := get(t, client, "http://admin/-/reload"); response.status != http.StatusMethodNotAllowed {
		t.Errorf("GET reloads: status %d", response.status)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://admin/-/reload", nil)
	if err != nil {
		t.Fatal(err)
	}
	if response := do(t, client, request); response.status != http.StatusAccepted || reloads.Load() != 1 {
		t.Errorf("reload: status %d, %d reloads", response.status, reloads.Load())
	}
}

func TestFreshFlows(t *testing.T) {
	o := options(t)
	o.Admin = filepath.Join(t.TempDir(), "admin.sock")
	s := serve(t, o)
	client := unixClient(t, o.Admin)
	if response := get(t, client, "http://admin/api/v1/flows?fresh"); response.status != http.StatusServiceUnavailable {
		t.Errorf("before the first round: %d %s", response.status, response.body)
	}
	s.Ready()
	if response := get(t, client, "http://admin/api/v1/flows?fresh"); response.status != http.StatusOK || response.body != `{"fresh":"flows"}` {
		t.Errorf("%d %s", response.status, response.body)
	}
	// A short round does not look at software, so that cannot be fresh.
	if response := get(t, client, "http://admin/api/v1/inventory?fresh"); response.body != `{"document":"inventory"}` {
		t.Errorf("%d %s", response.status, response.body)
	}
}

func TestFreshFlowsAtTheEnd(t *testing.T) {
	o := options(t)
	o.Admin = filepath.Join(t.TempDir(), "admin.sock")
	o.Documents = broken{}
	s := serve(t, o)
	s.Ready()
	if response := get(t, unixClient(t, o.Admin), "http://admin/api/v1/flows?fresh"); response.status != http.StatusServiceUnavailable ||
		response.body != `{"error":"wait for a round: the daemon stops"}`+"\n" {
		t.Errorf("%d %s", response.status, response.body)
	}
}

func TestAdminSocketsPlace(t *testing.T) {
	stale := func(t *testing.T, path string) { // as a daemon leaves it that was killed
		t.Helper()
		listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		listener.SetUnlinkOnClose(false)
		listener.Close()
	}
	alive := func(t *testing.T, path string) {
		t.Helper()
		listener, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
	}
	file := func(t *testing.T, path string) {
		t.Helper()
		if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	link := func(t *testing.T, path string) {
		t.Helper()
		if err := os.Symlink("elsewhere", path); err != nil {
			t.Fatal(err)
		}
	}
	tests := []struct {
		name    string
		prepare func(*testing.T, string)
		want    string // in the error; "" none
	}{
		{"free", func(*testing.T, string) {}, ""},
		{"stale socket", stale, ""},
		{"living daemon", alive, "another daemon answers"},
		{"file", file, "is no socket"},
		{"symbolic link", link, "is no socket"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "admin.sock")
			tt.prepare(t, path)
			s, err := listenAdmin(t.Context(), path)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Fatalf("error %v, want one about %q", err, tt.want)
				}
				if _, err := os.Lstat(path); err != nil {
					t.Errorf("what was there is gone: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(left) != 0 {
				t.Errorf("left behind: %s", left)
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".admin-*")); len(left) != 0 {
				t.Errorf("left behind: %s", left)
			}
		})
	}
}

func TestAdminSocketOfASuccessorStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "admin.sock")
	s, err := listenAdmin(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	successor, err := listenAdmin(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer successor.Close()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the successor's socket was removed: %v", err)
	}
}

func TestAdminSocketIsNoCondition(t *testing.T) {
	o := options(t)
	o.Admin = "/proc/admin.sock" // nobody can make a file there
	s := serve(t, o)
	if response := get(t, http.DefaultClient, "http://"+s.Addr().String()+"/-/healthy"); response.status != http.StatusOK {
		t.Errorf("status %d without an admin socket", response.status)
	}
}
