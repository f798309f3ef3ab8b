package alerts

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"cityward/configs"
)

// Bounds of a request.
const (
	dialWithin   = 5 * time.Second
	answerWithin = 10 * time.Second
	idleFor      = 30 * time.Second
	maxAnswer    = 64 << 10 // that is read, to use the connection again; nobody looks at it
	maxSecret    = 64 << 10
)

// client calls one receiver. No error of it tells the URL, which may hold a secret,
// or anything that was read from a file.
type client struct {
	receiver *configs.Receiver
	http     *http.Client
	to       string
}

func newClient(receiver *configs.Receiver) *client {
	c := &client{receiver: receiver, to: receiver.URL}
	if receiver.Kind == configs.Alertmanager {
		if u, err := url.Parse(receiver.URL); err == nil {
			c.to = u.JoinPath("api/v2/alerts").String()
		}
	}
	// Names are resolved by Go's own resolver, which runs nothing and loads nothing.
	dialer := &net.Dialer{Timeout: dialWithin, Resolver: &net.Resolver{PreferGo: true}}
	c.http = &http.Client{
		Timeout: answerWithin,
		// What is sent is for this receiver only.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy:       nil, // the environment has no say
			DialContext: dialer.DialContext,
			DialTLSContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				return c.dialTLS(ctx, dialer, network, address)
			},
			MaxIdleConnsPerHost: 1, IdleConnTimeout: idleFor, ResponseHeaderTimeout: answerWithin, MaxResponseHeaderBytes: maxAnswer,
		},
	}
	return c
}

// dialTLS reads certificates at each connection, so that they can be renewed.
func (c *client) dialTLS(ctx context.Context, dialer *net.Dialer, network, address string) (net.Conn, error) {
	config, err := c.tls(address)
	if err != nil {
		return nil, err
	}
	plain, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	conn := tls.Client(plain, config)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, errors.Join(err, plain.Close())
	}
	return conn, nil
}

func (c *client) tls(address string) (*tls.Config, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if c.receiver.ServerName != "" {
		config.ServerName = c.receiver.ServerName
	}
	if file := c.receiver.CAFile; file != "" {
		data, err := readSecret("ca_file", file)
		if err != nil {
			return nil, err
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(data) {
			return nil, errors.New("read ca_file: it holds no certificate in PEM")
		}
	}
	if c.receiver.CertFile == "" {
		return config, nil
	}
	cert, err := readSecret("cert_file", c.receiver.CertFile)
	if err != nil {
		return nil, err
	}
	key, err := readSecret("key_file", c.receiver.KeyFile)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("read cert_file and key_file: %w", err)
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}

// refusalError is an answer that is no acceptance.
type refusalError struct {
	status int
	after  time.Duration // how long the receiver asks to be left alone
}

func (e *refusalError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("post alerts: HTTP status %d %s", e.status, http.StatusText(e.status)))
}

// content reports whether it is about what was sent, and not about who sent it,
// where to or when.
func (e *refusalError) content() bool {
	switch e.status {
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return true
	}
	return false
}

// post sends a document and waits until it is taken.
func (c *client) post(ctx context.Context, body []byte) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.to, bytes.NewReader(body))
	if err != nil {
		return errors.New("post alerts: the url is none")
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "cityward")
	if err := c.authenticate(request); err != nil {
		return fmt.Errorf("post alerts: %w", err)
	}
	response, err := c.http.Do(request)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // without the URL
		}
		return fmt.Errorf("post alerts: %w", err)
	}
	_, _ = io.CopyN(io.Discard, response.Body, maxAnswer) // the status is the answer
	_ = response.Body.Close()
	if response.StatusCode/100 == 2 {
		return nil
	}
	return &refusalError{response.StatusCode, retryAfter(response.Header.Get("Retry-After"))}
}

// retryAfter reads the seconds of a Retry-After (RFC 9110); a date counts as none.
func retryAfter(text string) time.Duration {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 16)
	if err != nil {
		return 0
	}
	return time.Duration(n) * time.Second
}

func (c *client) authenticate(request *http.Request) error {
	if file := c.receiver.BearerTokenFile; file != "" {
		token, err := readLine("bearer_token_file", file)
		if err != nil {
			return err
		}
		request.Header.Set("Authorization", "Bearer "+token)
	}
	if c.receiver.Username != "" {
		password, err := readLine("password_file", c.receiver.PasswordFile)
		if err != nil {
			return err
		}
		request.SetBasicAuth(c.receiver.Username, password)
	}
	return nil
}

// readLine reads a secret of one line.
func readLine(key, file string) (string, error) {
	data, err := readSecret(key, file)
	if err != nil {
		return "", err
	}
	line := strings.TrimRight(string(data), "\r\n")
	// The HTTP library would refuse these, and might say what it refuses.
	if line == "" || strings.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("read %s: want one line that is not empty", key)
	}
	return line, nil
}

func readSecret(key, file string) ([]byte, error) {
	// Opening a FIFO would wait for a writer, perhaps for ever.
	info, err := os.Stat(file)
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: file, Err: errors.New("not a regular file")}
	}
	var data []byte
	if err == nil && info.Size() > maxSecret {
		err = &fs.PathError{Op: "read", Path: file, Err: errors.New("larger than 64 KiB")}
	}
	if err == nil {
		data, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return data, nil
}
