package configs

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Alerts is what is pushed to receivers.
type Alerts struct {
	Severity  string        // the lowest that is pushed
	GroupWait time.Duration // how long a new finding waits for others
	Repeat    time.Duration // of what still fails, to an Alertmanager
	Hold      time.Duration // how long a finding fails at an Alertmanager at least
	Keep      time.Duration // how long the end of a finding waits for its receiver
	Batch     int           // findings in one request at most
	Rate      int           // requests a minute at most
	Receivers []Receiver    // [[alerts.receiver]]
}

// Kinds of receivers.
const (
	Alertmanager = "alertmanager" // API v2
	Webhook      = "webhook"
)

// Receiver is whom the daemon calls. Files are read at each use.
type Receiver struct {
	Name            string
	Kind            string
	URL             string
	CAFile          string // "": whom the machine trusts
	CertFile        string // with KeyFile, or neither
	KeyFile         string
	ServerName      string // in its certificate; "": the host of the URL
	Username        string // with PasswordFile, or neither
	PasswordFile    string
	BearerTokenFile string
	Insecure        bool // permits http beyond this machine
}

func (a *Alerts) read(t *table) {
	set(t, "severity", &a.Severity, parsed(oneOf("info", "low", "medium", "high", "critical")))
	set(t, "group_wait", &a.GroupWait, parsed(between(0, 10*time.Minute)))
	set(t, "repeat", &a.Repeat, parsed(between(time.Second, time.Hour)))
	set(t, "hold", &a.Hold, parsed(between(0, day)))
	set(t, "keep", &a.Keep, parsed(between(time.Hour, 90*day)))
	set(t, "batch", &a.Batch, count(1, 5000))
	set(t, "rate", &a.Rate, count(1, 6000))
	a.Receivers = readReceivers(t.rows("receiver"))
	t.close()
}

func readReceivers(rows []*table) []Receiver {
	var receivers []Receiver
	if len(rows) > maxReceivers {
		rows[maxReceivers].fail("name", "is one receiver too many, at most %d are read", maxReceivers)
		rows = rows[:maxReceivers]
	}
	name := once(parsed(parseID))
	for _, t := range rows {
		var r Receiver
		need(t, "name", &r.Name, name)
		need(t, "kind", &r.Kind, parsed(oneOf(Alertmanager, Webhook)))
		need(t, "url", &r.URL, parsed(parseURL))
		for _, k := range r.keys() {
			set(t, k.key, k.value, optional(k.parse))
		}
		set(t, "insecure", &r.Insecure, expect[bool])
		t.close()
		r.judge(t)
		receivers = append(receivers, r)
	}
	return receivers
}

// receiverKey is a key that may be left out.
type receiverKey struct {
	key   string
	value *string
	parse func(string) (string, error)
}

func (r *Receiver) keys() []receiverKey {
	return []receiverKey{
		{"ca_file", &r.CAFile, parsePath},
		{"cert_file", &r.CertFile, parsePath},
		{"key_file", &r.KeyFile, parsePath},
		{"server_name", &r.ServerName, parseServerName},
		{"username", &r.Username, parseUsername},
		{"password_file", &r.PasswordFile, parsePath},
		{"bearer_token_file", &r.BearerTokenFile, parsePath},
	}
}

// maxReceivers bounds what is kept for them, and the series of their metrics.
const maxReceivers = 10

// judge looks at what keys demand of each other.
func (r *Receiver) judge(t *table) {
	pair := func(one, other string) {
		if !empty(t, one) && empty(t, other) {
			t.fail(one, "needs %s, too", other)
		}
	}
	pair("cert_file", "key_file")
	pair("key_file", "cert_file")
	pair("username", "password_file")
	pair("password_file", "username")
	if !empty(t, "bearer_token_file") && (!empty(t, "username") || !empty(t, "password_file")) {
		t.fail("bearer_token_file", "is one way to authenticate and username another, want one of them")
	}
	if !strings.HasPrefix(r.URL, "http://") {
		return
	}
	for _, key := range []string{"ca_file", "cert_file", "key_file", "server_name"} {
		if !empty(t, key) {
			t.fail(key, "is of no use with http, was https meant?")
		}
	}
	if u, err := url.Parse(r.URL); err == nil && !r.Insecure && !here(u.Hostname()) {
		t.fail("url", "sends findings that can be read on the way, want https, or insecure = true")
	}
}

// here reports whether a host is this machine.
func here(host string) bool {
	address, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && address.Unmap().IsLoopback()
}

// parseURL reads the address of a receiver. What is wrong is not shown: it may hold
// a secret.
func parseURL(s string) (string, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "":
		return "", errors.New(`is no URL, want one such as "https://alertmanager.city.example:9093"`)
	case u.User != nil:
		return "", errors.New("holds a user, want username and password_file")
	case strings.Contains(s, "#"):
		return "", errors.New("holds a fragment, which is never sent")
	case u.Scheme+"://" != s[:min(len(s), len(u.Scheme)+3)]:
		return "", fmt.Errorf("is written %s://…", u.Scheme)
	}
	if port := u.Port(); port != "" || strings.HasSuffix(u.Host, ":") {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return "", errors.New("has no port from 1 to 65535")
		}
	}
	return s, nil
}

// parseServerName reads a name, or an address, that a certificate may hold.
func parseServerName(s string) (string, error) {
	if _, err := netip.ParseAddr(s); err == nil {
		return s, nil
	}
	return parseDomain(s)
}

// parseUsername reads a user of HTTP's basic authentication (RFC 7617).
func parseUsername(s string) (string, error) {
	if strings.Contains(s, ":") {
		return "", errors.New("holds a colon, which no user name can")
	}
	return s, nil
}
