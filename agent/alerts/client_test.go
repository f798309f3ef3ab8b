package alerts

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
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cityward/configs"
)

func write(t testing.TB, file, text string) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// certify makes an authority and what it signed for both ends, in files.
func certify(t testing.TB, dir string) {
	t.Helper()
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "city authority"}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
	signer := certificate(t, dir, "ca", authority, authority, nil)
	certificate(t, dir, "server", &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{"receiver.city.example"}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, authority, signer)
	certificate(t, dir, "client", &x509.Certificate{
		SerialNumber: big.NewInt(3), DNSNames: []string{"db1.city.example"}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, authority, signer)
}

func certificate(t testing.TB, dir, name string, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for ending, block := range map[string]*pem.Block{"crt": {Type: "CERTIFICATE", Bytes: der}, "key": {Type: "PRIVATE KEY", Bytes: private}} {
		var text bytes.Buffer
		if err := pem.Encode(&text, block); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name+"."+ending), text.String())
	}
	return key
}

// guarded is a webhook over TLS that asks for a certificate.
func guarded(t *testing.T, dir string, handler http.Handler) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "server.crt"), filepath.Join(dir, "server.key"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	data, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool.AppendCertsFromPEM(data)
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = nil
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

func secured(dir, url string) configs.Receiver {
	r := webhook(url)
	r.CAFile, r.CertFile, r.KeyFile = filepath.Join(dir, "ca.crt"), filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key")
	r.ServerName = "receiver.city.example"
	return r
}

// Certificates and secrets are read at each use, so they can be changed while the
// daemon runs.
func TestRotation(t *testing.T) {
	dir := t.TempDir()
	certify(t, dir)
	password := filepath.Join(dir, "password")
	e := newEar()
	e.answer = func(_ *heard, r *http.Request) int {
		if user, given, _ := r.BasicAuth(); user != "cityward" || given != "second" {
			return http.StatusUnauthorized
		}
		return http.StatusOK
	}
	receiver := secured(dir, guarded(t, dir, e))
	receiver.Username, receiver.PasswordFile = "cityward", password
	attempt := func() error { return Try(t.Context(), receiver, "db1", time.Now()) }

	if err := attempt(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a password: %v", err)
	}
	write(t, password, "first\n")
	if err := attempt(); err == nil || err.Error() != "post alerts: HTTP status 401 Unauthorized" {
		t.Errorf("with a wrong one: %v", err)
	}
	write(t, password, "second\n")
	if err := attempt(); err != nil {
		t.Error(err)
	}
	if got := e.next(t); !got.Test || got.words() != "firing TEST " {
		t.Errorf("heard %s", got.body)
	}
	key, err := os.ReadFile(receiver.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	write(t, receiver.KeyFile, "none")
	if err := attempt(); err == nil || !strings.Contains(err.Error(), "read cert_file and key_file") {
		t.Errorf("without a key: %v", err)
	}
	write(t, receiver.KeyFile, string(key))
	if err := attempt(); err != nil {
		t.Error(err)
	}
	stranger := receiver
	stranger.ServerName = "other.city.example"
	if err := Try(t.Context(), stranger, "db1", time.Now()); err == nil || !strings.Contains(err.Error(), "receiver.city.example, not other.city.example") {
		t.Errorf("of another name: %v", err)
	}
	stranger = receiver
	stranger.CAFile = ""
	if err := Try(t.Context(), stranger, "db1", time.Now()); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("of an authority that nobody trusts: %v", err)
	}
	stranger = receiver
	stranger.CertFile, stranger.KeyFile = "", ""
	if err := Try(t.Context(), stranger, "db1", time.Now()); err == nil {
		t.Error("a stranger is let in")
	}
}

func TestBearerToken(t *testing.T) {
	e := newEar()
	var given atomic.Value
	e.answer = func(_ *heard, r *http.Request) int {
		given.Store(r.Header.Get("Authorization"))
		return http.StatusOK
	}
	receiver := webhook(listen(t, e))
	receiver.BearerTokenFile = write(t, filepath.Join(t.TempDir(), "token"), "secret-token\r\n")
	if err := Try(t.Context(), receiver, "db1", time.Now()); err != nil {
		t.Fatal(err)
	}
	if given.Load() != "Bearer secret-token" {
		t.Errorf("given %q", given.Load())
	}
}

// No failure tells what stands in a file or in a URL.
func TestErrorsTellNoSecret(t *testing.T) {
	const secret = "hunter2"
	dir := t.TempDir()
	refuse := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Echo", r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(r.Header.Get("Authorization") + secret))
	}))
	t.Cleanup(refuse.Close)
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, refuse.URL+"/"+secret, http.StatusTemporaryRedirect)
	}))
	t.Cleanup(far.Close)
	file := func(name, text string) string { return write(t, filepath.Join(dir, name), text) }
	tests := map[string]configs.Receiver{
		"refused":       {URL: refuse.URL + "/" + secret, Username: "u", PasswordFile: file("p", secret)},
		"redirected":    {URL: far.URL + "/" + secret, BearerTokenFile: file("t", secret)},
		"down":          {URL: "http://127.0.0.1:1/" + secret, BearerTokenFile: file("t2", secret)},
		"two lines":     {URL: refuse.URL, BearerTokenFile: file("t3", secret+"\n"+secret)},
		"control":       {URL: refuse.URL, BearerTokenFile: file("t4", secret+"\x00")},
		"empty":         {URL: refuse.URL + "/" + secret, BearerTokenFile: file("t5", "\n")},
		"large":         {URL: refuse.URL, BearerTokenFile: file("t6", strings.Repeat(secret, maxSecret))},
		"directory":     {URL: refuse.URL, BearerTokenFile: dir},
		"no authority":  {URL: "https://127.0.0.1:1/", CAFile: file("ca", secret)},
		"no key":        {URL: "https://127.0.0.1:1/", CertFile: file("c", secret), KeyFile: file("k", secret)},
		"no name":       {URL: "http://" + secret + ".invalid."},
		"broken scheme": {URL: "http://[" + secret},
	}
	for name, receiver := range tests {
		receiver.Name, receiver.Kind = "a", configs.Webhook
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		err := Try(ctx, receiver, "db1", time.Now())
		cancel()
		if err == nil {
			t.Errorf("%s: taken", name)
			continue
		}
		// The name of a host is no secret: without it nobody could mend a wrong one.
		if text := strings.ReplaceAll(err.Error(), secret+".invalid", ""); strings.Contains(text, secret) || strings.Contains(text, "\n") {
			t.Errorf("%s: %s", name, text)
		}
	}
}

// What is sent is for the receiver that was configured.
func TestNoRedirectIsFollowed(t *testing.T) {
	elsewhere := newEar()
	to := listen(t, elsewhere)
	server := httptest.NewServer(http.RedirectHandler(to, http.StatusPermanentRedirect))
	t.Cleanup(server.Close)
	if err := Try(t.Context(), webhook(server.URL), "db1", time.Now()); err == nil || err.Error() != "post alerts: HTTP status 308 Permanent Redirect" {
		t.Error(err)
	}
	elsewhere.silent(t, 50*time.Millisecond)
}

// The environment of whoever starts the daemon does not turn alerts elsewhere.
func TestNoProxyOfTheEnvironment(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://127.0.0.1:1")
	t.Setenv("http_proxy", "http://127.0.0.1:1")
	transport, ok := newClient(&configs.Receiver{}).http.Transport.(*http.Transport)
	if !ok || transport.Proxy != nil {
		t.Error("a proxy may be used")
	}
}

// An endless answer is not read to its end.
func TestAnswerIsBounded(t *testing.T) {
	ended := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		defer close(ended)
		for {
			if _, err := w.Write(make([]byte, 4096)); err != nil {
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	if err := Try(t.Context(), webhook(server.URL), "db1", time.Now()); err != nil {
		t.Error(err)
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("the answer is still read")
	}
}

// A connection is used again, and closed when it is not used for a while.
func TestConnectionIsKept(t *testing.T) {
	e := newEar()
	server := httptest.NewUnstartedServer(e)
	var connections atomic.Int32
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			connections.Add(1)
		}
	}
	server.Start()
	t.Cleanup(server.Close)
	receiver := webhook(server.URL)
	c := newClient(&receiver)
	for range 5 {
		if err := c.post(t.Context(), []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections for five requests", n)
	}
	if transport, ok := c.http.Transport.(*http.Transport); !ok || transport.IdleConnTimeout != idleFor {
		t.Error("an idle connection stays")
	}
}

func TestPauses(t *testing.T) {
	for failures := 1; failures < 100; failures++ {
		full := min(pauseLeast<<min(failures-1, 10), pauseMost)
		if got := pauseAfter(failures, 0); got < full/2 || got > full {
			t.Errorf("after %d failures %v, want %v to %v", failures, got, full/2, full)
		}
	}
	if got := pauseAfter(1, time.Hour); got > 5*pauseMost || got < 5*pauseMost/2 {
		t.Errorf("asked for an hour: %v", got)
	}
	for text, want := range map[string]time.Duration{"": 0, "7": 7 * time.Second, "-1": 0, "99999999999": 0, "Wed, 21 Oct 2015 07:28:00 GMT": 0} {
		if got := retryAfter(text); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestBucket(t *testing.T) {
	var b bucket
	at := time.Unix(0, 0)
	taken := 0
	for i := range 600 { // a minute in steps of 100 ms
		if b.take(at.Add(time.Duration(i)*100*time.Millisecond), 60) == 0 {
			taken++
		}
	}
	if taken < burst+58 || taken > burst+60 {
		t.Errorf("%d requests in a minute, want 60 and a burst of %d", taken, burst)
	}
}
