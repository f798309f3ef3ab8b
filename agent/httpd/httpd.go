// Package httpd answers Prometheus on TCP and the machine's own users on a Unix
// socket.
//
// The two never share a door. What listens on TCP tells figures and health and
// nothing about programs, people or addresses; the details are on the admin
// socket, whose file permissions say who may read them. TLS, client
// certificates and passwords are the exporter-toolkit's, so that a web
// configuration that works for any Prometheus exporter works here.
//
// Nothing here looks at the machine: a request is answered from the last round. Who
// follows flows on the admin socket asks for a round that begins now; that is one
// for all who ask, and the agent bounds how many it makes.
package httpd

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/exporter-toolkit/web"
)

// Limits of a client. A scrape is a few dozen kilobytes every few seconds;
// whatever needs more is not Prometheus.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 5 * time.Minute // longer than a scrape interval, to keep the TLS session
	maxHeader     = 16 << 10
	maxScrapes    = 5 // at once: two servers of a pair, and a person
	stopTimeout   = 5 * time.Second
	freshTimeout  = 20 * time.Second // a full round that is slow may be in the way
)

// Documents gives what the admin socket serves.
type Documents interface {
	// Document gives one document of the last round as JSON.
	Document(name string) ([]byte, error)
	// Fresh gives one of a round that begins after the call.
	Fresh(ctx context.Context, name string) ([]byte, error)
}

// Options is what a server needs.
type Options struct {
	Metrics   string // host:port
	WebConfig string // exporter-toolkit file; "" plain HTTP
	Insecure  bool   // permits Metrics beyond loopback without TLS or a password
	Admin     string // path of the admin socket; "" none
	Gatherer  prometheus.Gatherer
	Documents Documents
	Reload    func() // asks for the configuration to be read again; must not block
	Log       *slog.Logger
}

// Server is the two listeners.
type Server struct {
	options Options
	metrics net.Listener
	admin   *socket // nil without one
	ready   atomic.Bool
}

// New binds both listeners, so that a taken port is an error at the start and
// not later. An admin socket that cannot be had is no reason to leave the
// machine unwatched: it is logged, and the server does without.
func New(ctx context.Context, o Options) (*Server, error) {
	if o.WebConfig != "" {
		if err := web.Validate(o.WebConfig); err != nil {
			return nil, fmt.Errorf("read web configuration %s: %w", o.WebConfig, err)
		}
	}
	if name, _, err := net.SplitHostPort(o.Metrics); err == nil && name != "" && name != "localhost" {
		if _, err := netip.ParseAddr(name); err != nil {
			return nil, fmt.Errorf("listen for scrapes: %q is a name, and names are not looked up", name)
		}
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", o.Metrics)
	if err != nil {
		return nil, fmt.Errorf("listen for scrapes: %w", err)
	}
	if err := permit(listener.Addr(), &o); err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	s := &Server{options: o, metrics: listener}
	if o.Admin != "" {
		if s.admin, err = listenAdmin(ctx, o.Admin); err != nil {
			o.Log.Error("admin socket is missing, commands that ask the daemon will not work", "err", err)
		}
	}
	return s, nil
}

// Addr is where metrics are served.
func (s *Server) Addr() net.Addr { return s.metrics.Addr() }

// Ready says that the first round is finished.
func (s *Server) Ready() { s.ready.Store(true) }

// Serve answers until ctx ends, then lets requests finish for a short while. It
// may be called once.
func (s *Server) Serve(ctx context.Context) error {
	scrapes := s.server(s.metricsHandler())
	stopped := make(chan error, 2)
	running := 1
	go func() {
		flags := &web.FlagConfig{WebConfigFile: &s.options.WebConfig}
		stopped <- web.Serve(s.metrics, scrapes, flags, s.options.Log)
	}()
	admin := s.server(s.adminHandler())
	if s.admin != nil {
		running++
		go func() { stopped <- admin.Serve(s.admin) }()
	}

	var failure error
	select {
	case <-ctx.Done():
	case err := <-stopped:
		running--
		failure = failed(err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	failure = errors.Join(failure, stop(ctx, scrapes), stop(ctx, admin))
	_ = s.metrics.Close() // closed already, unless web.Serve refused its configuration
	for range running {
		failure = errors.Join(failure, failed(<-stopped))
	}
	return failure
}

// failed tells a server that broke from one that was asked to stop.
func failed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return fmt.Errorf("serve: %w", err)
}

// stop ends a server; what has not finished in time is cut off.
func stop(ctx context.Context, server *http.Server) error {
	if err := server.Shutdown(ctx); err != nil {
		return server.Close()
	}
	return nil
}

func (s *Server) server(handler http.Handler) *http.Server {
	return &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.options.Log.Handler(), slog.LevelWarn),
	}
}
