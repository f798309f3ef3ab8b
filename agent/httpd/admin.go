package httpd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// Who may use the admin socket: root, the daemon, and this group if there is one.
const (
	adminGroup = "cityward"
	adminMode  = 0o660
)

func (s *Server) adminHandler() http.Handler {
	mux := http.NewServeMux()
	for _, name := range []string{"findings", "flows", "custody", "inventory", "checks", "status"} {
		mux.HandleFunc("GET /api/v1/"+name, func(w http.ResponseWriter, r *http.Request) { s.document(w, r, name) })
	}
	mux.HandleFunc("POST /-/reload", func(w http.ResponseWriter, _ *http.Request) {
		s.options.Reload()
		text(w, http.StatusAccepted, "reload requested; the status shows whether the configuration was sound")
	})
	return noSniff(mux)
}

// document answers from the last round; flows?fresh from one that begins now.
func (s *Server) document(w http.ResponseWriter, r *http.Request, name string) {
	if !s.ready.Load() {
		refuse(w, http.StatusServiceUnavailable, errors.New("no round is finished yet"))
		return
	}
	if name == "flows" && r.URL.Query().Has("fresh") {
		s.fresh(w, r, name)
		return
	}
	body, err := s.options.Documents.Document(name)
	if err != nil {
		s.options.Log.Error("document is missing", "document", name, "err", err)
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

func (s *Server) fresh(w http.ResponseWriter, r *http.Request, name string) {
	ctx, cancel := context.WithTimeout(r.Context(), freshTimeout)
	defer cancel()
	body, err := s.options.Documents.Fresh(ctx, name)
	if err != nil { // no round in time, or none any more
		refuse(w, http.StatusServiceUnavailable, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(body)
}

func refuse(w http.ResponseWriter, status int, reason error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": reason.Error()})
}

// socket is a listening Unix socket that removes its file when it is closed.
type socket struct {
	net.Listener
	path string
	own  os.FileInfo
}

// listenAdmin makes the admin socket. It is bound in a directory that no other
// user can enter, given its owner and mode, and only then moved to its place: at
// no moment can someone connect who may not. The move also replaces what a
// daemon that was killed left there.
func listenAdmin(ctx context.Context, path string) (*socket, error) {
	if err := vacant(ctx, path); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // the socket's own mode guards it
		return nil, fmt.Errorf("listen for admin: %w", err)
	}
	private, err := os.MkdirTemp(filepath.Dir(path), ".admin-")
	if err != nil {
		return nil, fmt.Errorf("listen for admin: %w", err)
	}
	defer os.RemoveAll(private)
	bound := filepath.Join(private, "s")
	listener, err := new(net.ListenConfig).Listen(ctx, "unix", bound)
	if err != nil {
		return nil, fmt.Errorf("listen for admin: %w", err)
	}
	if unix, ok := listener.(*net.UnixListener); ok {
		unix.SetUnlinkOnClose(false) // it would remove the name it was bound to
	}
	own, err := publish(bound, path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen for admin: %w", err), listener.Close())
	}
	return &socket{listener, path, own}, nil
}

// vacant makes sure that nothing worth keeping is at path.
func vacant(ctx context.Context, path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("listen for admin: %w", err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("listen for admin: %s is there and is no socket", path)
	}
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path) //nolint:forbidigo // asks its own socket whether a daemon lives there
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, fs.ErrNotExist) {
		return nil // its daemon has gone
	}
	if err != nil {
		return fmt.Errorf("listen for admin: %w", err)
	}
	return errors.Join(fmt.Errorf("listen for admin: another daemon answers at %s", path), conn.Close())
}

// publish gives the socket to its group and moves it to its place.
func publish(bound, path string) (os.FileInfo, error) {
	if err := os.Chmod(bound, adminMode); err != nil {
		return nil, err
	}
	if group, err := user.LookupGroup(adminGroup); err == nil {
		id, err := strconv.Atoi(group.Gid)
		if err != nil {
			return nil, fmt.Errorf("read group %s: %w", adminGroup, err)
		}
		// Who may not give the group away keeps the socket to itself.
		if err := os.Lchown(bound, -1, id); err != nil && !errors.Is(err, fs.ErrPermission) {
			return nil, err
		}
	}
	own, err := os.Lstat(bound)
	if err != nil {
		return nil, err
	}
	return own, os.Rename(bound, path)
}

// Close stops listening and removes the file, unless another daemon has put its
// own there.
func (s *socket) Close() error {
	err := s.Listener.Close()
	if there, statErr := os.Lstat(s.path); statErr == nil && os.SameFile(there, s.own) {
		err = errors.Join(err, os.Remove(s.path))
	}
	return err
}
