package httpd

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// secretHash is the bcrypt hash of "secret".
const secretHash = "$2a$04$rwBX2ngVyLTbl4x8uA.uve7la3hVgGUc94X.WpHJoINctj3B/Uwoa"

// documents serves a line a document and fails on one of them.
type documents struct{}

func (documents) Document(name string) ([]byte, error) {
	if name == "custody" {
		return nil, errors.New("make document: on purpose")
	}
	return []byte(`{"document":"` + name + `"}`), nil
}

func (documents) Fresh(ctx context.Context, name string) ([]byte, error) {
	if _, bounded := ctx.Deadline(); !bounded {
		return nil, errors.New("make document: it may wait for ever")
	}
	return []byte(`{"fresh":"` + name + `"}`), nil
}

// broken has no round any more.
type broken struct{ documents }

func (broken) Fresh(context.Context, string) ([]byte, error) {
	return nil, errors.New("wait for a round: the daemon stops")
}

func options(t *testing.T) Options {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "answer", Help: "An answer."}, func() float64 { return 42 }))
	return Options{
		Metrics:   "127.0.0.1:0",
		Gatherer:  registry,
		Documents: documents{},
		Reload:    func() {},
		Log:       slog.New(slog.DiscardHandler),
	}
}

// serve starts a server that the end of the test stops.
func serve(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return s
}

// answer is a response that was read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

func get(t *testing.T, client *http.Client, url string, header ...string) answer {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	return do(t, client, request)
}

func do(t *testing.T, client *http.Client, request *http.Request) answer {
	t.Helper()
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(body)}
}

func TestMetricsListener(t *testing.T) {
	s := serve(t, options(t))
	s.Ready()
	tests := []struct {
		path   string
		status int
		media  string
		body   string
	}{
		{"/metrics", 200, "text/plain", "answer 42\n"},
		{"/-/healthy", 200, "text/plain", "healthy\n"},
		{"/-/ready", 200, "text/plain", "ready\n"},
		{"/", 200, "text/html", `href="/metrics"`},
		{"/favicon.ico", 404, "text/plain", "not found"},
		{"/api/v1/flows", 404, "text/plain", "not found"},
		{"/-/reload", 404, "text/plain", "not found"},
		{"/debug/pprof/", 404, "text/plain", "not found"},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			response := get(t, http.DefaultClient, "http://"+s.Addr().String()+tt.path)
			if response.status != tt.status {
				t.Errorf("status %d, want %d", response.status, tt.status)
			}
			if got := response.header.Get("Content-Type"); !strings.HasPrefix(got, tt.media) {
				t.Errorf("Content-Type %q, want %q", got, tt.media)
			}
			if !strings.Contains(response.body, tt.body) {
				t.Errorf("body %q lacks %q", response.body, tt.body)
			}
			if response.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Error("browsers may guess the type")
			}
		})
	}
}

func TestMetricsFormats(t *testing.T) {
	s := serve(t, options(t))
	url := "http://" + s.Addr().String() + "/metrics"
	response := get(t, http.DefaultClient, url, "Accept", "application/openmetrics-text; version=1.0.0")
	if got := response.header.Get("Content-Type"); !strings.HasPrefix(got, "application/openmetrics-text; version=1.0.0") {
		t.Errorf("asked for OpenMetrics, got %q", got)
	}
	if !strings.HasSuffix(response.body, "# EOF\n") {
		t.Errorf("OpenMetrics page does not end: %q", response.body)
	}
	response = get(t, http.DefaultClient, url, "Accept-Encoding", "gzip")
	if got := response.header.Get("Content-Encoding"); got != "gzip" {
		t.Errorf("asked for gzip, got %q", got)
	}
}

func TestReadyAfterTheFirstRound(t *testing.T) {
	s := serve(t, options(t))
	base := "http://" + s.Addr().String()
	if response := get(t, http.DefaultClient, base+"/-/ready"); response.status != http.StatusServiceUnavailable {
		t.Errorf("ready before the first round: %d", response.status)
	}
	if response := get(t, http.DefaultClient, base+"/-/healthy"); response.status != http.StatusOK {
		t.Errorf("not healthy before the first round: %d", response.status)
	}
	s.Ready()
	if response := get(t, http.DefaultClient, base+"/-/ready"); response.status != http.StatusOK {
		t.Errorf("not ready after it: %d", response.status)
	}
}

func TestLandingPageLeaksNothing(t *testing.T) {
	hostname, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, options(t))
	response := get(t, http.DefaultClient, "http://"+s.Addr().String()+"/")
	told := fmt.Sprint(response.header, response.body)
	for _, secret := range []string{hostname, "version", "linux", "go1."} {
		if strings.Contains(strings.ToLower(told), strings.ToLower(secret)) {
			t.Errorf("landing page tells %q:\n%s", secret, told)
		}
	}
}

func TestNothingUnprotectedBeyondLoopback(t *testing.T) {
	certificates := newCertificates(t)
	tests := []struct {
		name      string
		address   string
		webConfig string
		insecure  bool
		want      string
	}{
		{"loopback", "127.0.0.1:0", "", false, ""},
		{"loopback of the newer protocol", "[::1]:0", "", false, ""},
		{"everywhere", "0.0.0.0:0", "", false, "beyond loopback"},
		{"everywhere by default", ":0", "", false, "beyond loopback"},
		{"everywhere, on purpose", "0.0.0.0:0", "", true, ""},
		{"a web configuration that protects nothing", "0.0.0.0:0", "http_server_config: {http2: true}\n", false, "beyond loopback"},
		{"an empty web configuration", "0.0.0.0:0", "{}\n", false, "beyond loopback"},
		{"a password", "0.0.0.0:0", "basic_auth_users: {prometheus: " + secretHash + "}\n", false, ""},
		{"TLS", "0.0.0.0:0", certificates.webConfig(""), false, ""},
		{"a broken web configuration", "127.0.0.1:0", "tls_server_config: {cert: x}\n", false, "read web configuration"},
		{"a missing certificate", "127.0.0.1:0", "tls_server_config: {cert_file: /nowhere, key_file: /nowhere}\n", false, "read web configuration"},
		{"a name", "metrics.city.example:0", "", false, "names are not looked up"},
		{"this machine's name", "localhost:0", "", false, ""},
		{"no port", "127.0.0.1", "", false, "listen for scrapes"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := options(t)
			o.Metrics, o.Insecure = tt.address, tt.insecure
			if tt.webConfig != "" {
				o.WebConfig = webConfig(t, tt.webConfig)
			}
			s, err := New(t.Context(), o)
			if err == nil {
				defer s.metrics.Close()
			}
			if tt.want == "" && err != nil {
				t.Fatalf("refused: %v", err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Fatalf("error %v, want one about %q", err, tt.want)
			}
		})
	}
}

func TestPassword(t *testing.T) {
	o := options(t)
	o.WebConfig = webConfig(t, "basic_auth_users:\n  prometheus: "+secretHash+"\n")
	s := serve(t, o)
	for password, want := range map[string]int{"": 401, "wrong": 401, "secret": 200} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr().String()+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		if password != "" {
			request.SetBasicAuth("prometheus", password)
		}
		if response := do(t, http.DefaultClient, request); response.status != want {
			t.Errorf("password %q: status %d, want %d", password, response.status, want)
		}
	}
}

func TestClientCertificate(t *testing.T) {
	certificates := newCertificates(t)
	o := options(t)
	o.WebConfig = webConfig(t, certificates.webConfig("RequireAndVerifyClientCert"))
	s := serve(t, o)
	url := "https://" + s.Addr().String() + "/metrics"

	if response := get(t, certificates.client(true), url); response.status != http.StatusOK {
		t.Errorf("with a certificate: status %d", response.status)
	}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if response, err := certificates.client(false).Do(request); err == nil {
		response.Body.Close()
		t.Error("a client without a certificate was let in")
	}
}

// collector runs a function in place of collecting.
type collector func(chan<- prometheus.Metric)

func (collector) Describe(chan<- *prometheus.Desc)               {}
func (collect collector) Collect(found chan<- prometheus.Metric) { collect(found) }

func gatherer(collect collector) prometheus.Gatherer {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collect)
	return registry
}

func TestScrapesAtOnceAreBounded(t *testing.T) {
	o := options(t)
	release := make(chan struct{})
	o.Gatherer = gatherer(func(chan<- prometheus.Metric) { <-release })
	s := serve(t, o)
	url := "http://" + s.Addr().String() + "/metrics"
	statuses := make(chan int)
	for range maxScrapes + 1 {
		go func() {
			response, err := http.Get(url)
			if err != nil {
				statuses <- 0
				return
			}
			response.Body.Close()
			statuses <- response.StatusCode
		}()
	}
	if got := <-statuses; got != http.StatusServiceUnavailable { // the only one that can answer
		t.Errorf("scrape %d: status %d, want 503", maxScrapes+1, got)
	}
	close(release)
	for range maxScrapes {
		if got := <-statuses; got != http.StatusOK {
			t.Errorf("status %d, want 200", got)
		}
	}
}

func TestFailedScrapeIsNoPage(t *testing.T) {
	var log bytes.Buffer
	o := options(t)
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	o.Gatherer = gatherer(func(found chan<- prometheus.Metric) {
		found <- prometheus.NewInvalidMetric(prometheus.NewDesc("answer", "An answer.", nil, nil), errors.New("on purpose"))
	})
	s := serve(t, o)
	if response := get(t, http.DefaultClient, "http://"+s.Addr().String()+"/metrics"); response.status != http.StatusInternalServerError {
		t.Errorf("status %d, want 500", response.status)
	}
	if !strings.Contains(log.String(), "on purpose") {
		t.Errorf("log does not say why: %s", log.String())
	}
}

func TestStopLetsRequestsFinish(t *testing.T) {
	o := options(t)
	release := make(chan struct{})
	o.Gatherer = gatherer(func(chan<- prometheus.Metric) { <-release })
	s, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	var status atomic.Int64
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		response, err := http.Get("http://" + s.Addr().String() + "/metrics")
		if err == nil {
			status.Store(int64(response.StatusCode))
			response.Body.Close()
		}
	}()
	release <- struct{}{} // the request is being answered
	cancel()
	<-answered
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if status.Load() != http.StatusOK {
		t.Errorf("status %d, want 200", status.Load())
	}
	if _, err := net.DialTimeout("tcp", s.Addr().String(), time.Second); err == nil {
		t.Error("still listens after Serve returned")
	}
}

func TestServeFailsOnAWebConfigurationThatBroke(t *testing.T) {
	o := options(t)
	o.Admin = filepath.Join(t.TempDir(), "admin.sock")
	o.WebConfig = webConfig(t, "{}\n")
	s, err := New(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(o.WebConfig, []byte("no: such key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), "serve: ") {
		t.Errorf("Serve: %v, want an error", err)
	}
	if _, err := os.Lstat(o.Admin); err == nil {
		t.Error("admin socket is left behind")
	}
}

func webConfig(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "web.yml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// certificates is an authority, and a certificate and key of both ends.
type certificates struct {
	dir  string
	pool *x509.CertPool
	pair tls.Certificate
}

func newCertificates(t *testing.T) *certificates {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certificatePEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	c := &certificates{dir: t.TempDir(), pool: x509.NewCertPool()}
	c.pool.AppendCertsFromPEM(certificatePEM)
	if c.pair, err = tls.X509KeyPair(certificatePEM, keyPEM); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"cert.pem": certificatePEM, "key.pem": keyPEM} {
		if err := os.WriteFile(filepath.Join(c.dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

func (c *certificates) webConfig(clientAuth string) string {
	text := "tls_server_config:\n  cert_file: " + c.dir + "/cert.pem\n  key_file: " + c.dir + "/key.pem\n"
	if clientAuth != "" {
		text += "  client_auth_type: " + clientAuth + "\n  client_ca_file: " + c.dir + "/cert.pem\n"
	}
	return text
}

func (c *certificates) client(certified bool) *http.Client {
	config := &tls.Config{RootCAs: c.pool}
	if certified {
		config.Certificates = []tls.Certificate{c.pair}
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
}
