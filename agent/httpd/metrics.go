package httpd

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v3"
)

// landing tells neither the host nor the version: anyone who can reach the port
// may read it.
const landing = `<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Cityward</title></head>
<body>
<h1>Cityward</h1>
<p>Checks that citizens' data stays on the city's own hardware.</p>
<ul>
<li><a href="/metrics">Metrics</a></li>
<li><a href="/-/healthy">Healthy</a></li>
<li><a href="/-/ready">Ready</a></li>
</ul>
</body>
</html>
`

// permit refuses to listen where others can reach an address that nothing
// protects. It looks at the address that was bound, whatever name led to it, and
// into the web configuration, since an empty one protects nothing.
func permit(bound net.Addr, o *Options) error {
	address, ok := bound.(*net.TCPAddr)
	if o.Insecure || ok && address.IP.IsLoopback() {
		return nil
	}
	if o.WebConfig != "" {
		protected, err := protects(o.WebConfig)
		if err != nil {
			return fmt.Errorf("read web configuration %s: %w", o.WebConfig, err)
		}
		if protected {
			return nil
		}
	}
	return fmt.Errorf("listen on %s: beyond loopback it needs a web configuration with TLS or passwords, or insecure = true", bound)
}

// protects reports whether a valid web configuration asks for TLS or a password.
func protects(file string) (bool, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return false, err
	}
	var config web.Config
	if err := yaml.Unmarshal(data, &config); err != nil {
		return false, err
	}
	return config.TLSConfig.IsEnabled() || len(config.Users) > 0, nil
}

func (s *Server) metricsHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.options.Gatherer, promhttp.HandlerOpts{
		EnableOpenMetrics:   true,
		MaxRequestsInFlight: maxScrapes,
		// Half a page looks like a whole one: rather none, and up is 0.
		ErrorHandling: promhttp.HTTPErrorOnError,
		ErrorLog:      scrapeLog{s},
	}))
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) {
		text(w, http.StatusOK, "healthy")
	})
	mux.HandleFunc("GET /-/ready", func(w http.ResponseWriter, _ *http.Request) {
		if s.ready.Load() {
			text(w, http.StatusOK, "ready")
		} else {
			text(w, http.StatusServiceUnavailable, "no round is finished yet")
		}
	})
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'")
		_, _ = io.WriteString(w, landing)
	})
	return noSniff(mux)
}

func text(w http.ResponseWriter, status int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, line+"\n")
}

func noSniff(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r)
	})
}

// scrapeLog logs what goes wrong with a scrape.
type scrapeLog struct{ *Server }

// Println implements [promhttp.Logger].
func (l scrapeLog) Println(v ...any) {
	l.options.Log.Error("scrape failed", "err", fmt.Sprint(v...))
}
