package configs

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
)

// What a value of each form must look like. These functions see one string and
// say what is wrong with it; where it stands is known to their callers.

// quote writes a string for TOML and for people. Strings that were read hold no
// control characters.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// parseWords reads a text that must say something.
func parseWords(s string) (string, error) {
	if strings.TrimSpace(s) == "" {
		return "", errors.New("is empty")
	}
	return s, nil
}

// parseNetwork reads a network in its canonical form.
func parseNetwork(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		if a, err := netip.ParseAddr(s); err == nil && a.Zone() == "" {
			return p, fmt.Errorf("%s is an address, write %s", quote(s), quote(netip.PrefixFrom(a, a.BitLen()).String()))
		}
		return p, fmt.Errorf("%s is no network, want one such as \"10.20.0.0/16\"", quote(s))
	}
	switch masked := p.Masked(); {
	case p.Addr().Is4In6():
		return p, fmt.Errorf("%s is IPv4 mapped into IPv6, write it as IPv4", quote(s))
	case p != masked:
		return p, fmt.Errorf("%s has bits beyond /%d, was %s meant?", quote(s), p.Bits(), quote(masked.String()))
	}
	return p, nil
}

// parseOwnNetwork reads a network that a city may call its own or approve as a
// destination. Wider ones would quietly switch the product off.
func parseOwnNetwork(s string) (netip.Prefix, error) {
	p, err := parseNetwork(s)
	if err == nil && (p.Addr().Is4() && p.Bits() < 8 || p.Addr().Is6() && p.Bits() < 7) {
		return p, fmt.Errorf("%s is too wide: at least /8, or /7 for IPv6", quote(s))
	}
	return p, err
}

// parseCountry reads an ISO 3166-1 alpha-2 code. Only its shape is known here.
func parseCountry(s string) (string, error) {
	upper := strings.ToUpper(s)
	switch {
	case upper == "UK":
		return "", fmt.Errorf("%s is not the code of the United Kingdom, write \"GB\"", quote(s))
	case upper == "EU":
		return "", fmt.Errorf("%s is no country, list its members", quote(s))
	case len(s) != 2 || strings.Trim(upper, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "":
		return "", fmt.Errorf("%s is no country code, want two letters such as \"ES\"", quote(s))
	case s != upper:
		return "", fmt.Errorf("%s is not in capitals, write %s", quote(s), quote(upper))
	}
	return s, nil
}

// parseDomain reads a domain name as it is sent over the network.
func parseDomain(s string) (string, error) {
	plain := strings.TrimPrefix(strings.Trim(strings.ToLower(s), "."), "*.")
	for label := range strings.SplitSeq(plain, ".") {
		if label == "" || len(label) > 63 || len(plain) > 253 || label[0] == '-' || label[len(label)-1] == '-' ||
			strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return "", fmt.Errorf("%s is no domain name, want one such as \"city.example\" (other alphabets as xn--)", quote(s))
		}
	}
	if s != plain {
		return "", fmt.Errorf("%s is written %s; what is below a domain belongs to it", quote(s), quote(plain))
	}
	return s, nil
}

// parsePath reads an absolute path without detours.
func parsePath(s string) (string, error) {
	switch clean := path.Clean(s); {
	case !strings.HasPrefix(s, "/"):
		return "", fmt.Errorf("%s is not absolute, want a path that begins with /", quote(s))
	case s != clean:
		return "", fmt.Errorf("%s is written %s", quote(s), quote(clean))
	}
	return s, nil
}

// parseStorePath reads a directory or file of a store.
func parseStorePath(s string) (string, error) {
	if path.Clean(s) == "/" {
		return "", errors.New("the whole machine is no data store, name its directories")
	}
	return parsePath(s)
}

// parseSocket reads the path of a Unix socket to make. The kernel takes 107
// bytes (unix(7)).
func parseSocket(s string) (string, error) {
	if len(s) > 107 {
		return "", errors.New("is longer than the 107 bytes of a socket's path")
	}
	return parsePath(s)
}

// parseID reads the id of a store or a transfer.
func parseID(s string) (string, error) {
	if s == "" || len(s) > 64 || strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
		return "", fmt.Errorf("%s is no id, want up to 64 of a to z, 0 to 9 and -", quote(s))
	}
	return s, nil
}

// parsePrincipal reads the name of a user, or group:NAME.
func parsePrincipal(s string) (string, error) {
	name := strings.TrimPrefix(s, "group:")
	if name == "" || len(name) > 256 || strings.TrimSpace(name) != name || strings.ContainsAny(name, ":,/") {
		return "", fmt.Errorf("%s is no user, want a name such as \"postgres\", or \"group:registry\"", quote(s))
	}
	return s, nil
}

// oneOf reads a word of a list.
func oneOf(words ...string) func(string) (string, error) {
	return func(s string) (string, error) {
		if slices.Contains(words, s) {
			return s, nil
		}
		return "", fmt.Errorf("%s is none of %s", quote(s), strings.Join(words, ", "))
	}
}

// parseService reads tcp:PORT, udp:PORT or unix:PATH.
func parseService(s string) (Service, error) {
	protocol, rest, _ := strings.Cut(s, ":")
	switch protocol {
	case "unix":
		p, err := parsePath(rest)
		return Service{Protocol: protocol, Path: p}, err
	case "tcp", "udp":
		if n, err := strconv.ParseUint(rest, 10, 16); err == nil && n > 0 && rest[0] != '0' {
			return Service{Protocol: protocol, Port: uint16(n)}, nil
		}
		return Service{}, fmt.Errorf("%s has no port from 1 to 65535", quote(s))
	}
	return Service{}, fmt.Errorf("%s is no service, want one such as \"tcp:5432\" or \"unix:/run/db.sock\"", quote(s))
}

// parseListen reads host:port. The host is an address, localhost, or nothing for
// all addresses: no name is resolved. Port 0 lets the system choose.
func parseListen(s string) (string, error) {
	i := strings.LastIndexByte(s, ':')
	if i < 0 {
		return "", fmt.Errorf("%s has no port, want one such as \"127.0.0.1:19777\"", quote(s))
	}
	host, port := s[:i], s[i+1:]
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("%s has no port from 0 to 65535", quote(s))
	}
	if host == "" || host == "localhost" {
		return s, nil
	}
	if _, err := netip.ParseAddrPort(s); err != nil {
		return "", fmt.Errorf("%s has no address before the port, want one such as \"127.0.0.1:19777\" or \"[::1]:19777\"", quote(s))
	}
	return s, nil
}

// loopback reports whether a listen address is reached from this machine only.
func loopback(listen string) bool {
	if strings.HasPrefix(listen, "localhost:") {
		return true
	}
	ap, err := netip.ParseAddrPort(listen)
	return err == nil && ap.Addr().Unmap().IsLoopback()
}

const day = 24 * time.Hour

// ParseDuration reads a duration as [time.ParseDuration] does, and days: "90d",
// "1d12h".
func ParseDuration(s string) (time.Duration, error) {
	days, rest, found := strings.Cut(s, "d")
	if !found {
		days, rest = "0", s
	} else if rest == "" {
		rest = "0"
	}
	n, err := strconv.ParseUint(days, 10, 16) // 179 years: no overflow
	d, errRest := time.ParseDuration(rest)
	if err != nil || errRest != nil || d > math.MaxInt64/4 || found && d < 0 {
		return 0, fmt.Errorf("%s is no duration, want one such as \"15s\", \"10m\", \"24h\" or \"90d\"", quote(s))
	}
	return time.Duration(n)*day + d, nil
}

// formatDuration writes a duration shortly, for ParseDuration to read.
func formatDuration(d time.Duration) string {
	if d >= day && d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Bounds of the ledger: a smaller one would hold no day of a busy machine.
const (
	leastSize = 16 << 20
	mostSize  = 1 << 40
)

// parseSize reads a size in MiB or GiB: "512MiB".
func parseSize(s string) (int64, error) {
	for unit, bytes := range map[string]int64{"MiB": 1 << 20, "GiB": 1 << 30} {
		digits, found := strings.CutSuffix(s, unit)
		if !found {
			continue
		}
		n, err := strconv.ParseUint(digits, 10, 21) // at most 2 PiB: no overflow
		if err != nil {
			break
		}
		if size := int64(n) * bytes; size >= leastSize && size <= mostSize {
			return size, nil
		}
		return 0, fmt.Errorf("%s is out of range, want %s to %s", quote(s), formatSize(leastSize), formatSize(mostSize))
	}
	return 0, fmt.Errorf("%s is no size, want one such as \"512MiB\" or \"2GiB\"", quote(s))
}

// formatSize writes a size for parseSize to read.
func formatSize(n int64) string {
	if n%(1<<30) == 0 {
		return strconv.FormatInt(n>>30, 10) + "GiB"
	}
	return strconv.FormatInt(n>>20, 10) + "MiB"
}

// between reads a duration within bounds.
func between(least, most time.Duration) func(string) (time.Duration, error) {
	return func(s string) (time.Duration, error) {
		d, err := ParseDuration(s)
		if err == nil && (d < least || d > most) {
			err = fmt.Errorf("%s is out of range, want %s to %s", quote(s), formatDuration(least), formatDuration(most))
		}
		return d, err
	}
}

// port reads a port number.
func port(v value) (uint16, bool) {
	n, ok := expect[int64](v)
	if ok && (n < 1 || n > math.MaxUint16) {
		v.fail("%d is no port, want 1 to 65535", n)
		return 0, false
	}
	return uint16(n), ok
}

// count reads a whole number within bounds.
func count(least, most int64) reader[int] {
	return func(v value) (int, bool) {
		n, ok := expect[int64](v)
		if ok && (n < least || n > most) {
			v.fail("%d is out of range, want %d to %d", n, least, most)
			return 0, false
		}
		return int(n), ok
	}
}

// share reads a number from 0 to 1.
func share(v value) (float64, bool) {
	if n, ok := v.raw.(int64); ok {
		v.raw = float64(n)
	}
	f, ok := expect[float64](v)
	switch {
	case !ok:
		return 0, false
	case f > 1 && f <= 100:
		v.fail("%v is more than 1, was %v meant?", f, f/100)
		return 0, false
	case !(f >= 0 && f <= 1): // not a number, too
		v.fail("%v is out of range, want 0 to 1", f)
		return 0, false
	}
	return f, true
}

// lastDay reads a date and gives the end of that day in UTC.
func lastDay(v value) (time.Time, bool) {
	t, ok := v.raw.(time.Time)
	if !ok || kind(v.raw) != "a date" {
		v.fail("is %s, want a date without quotes such as 2027-03-31", kind(v.raw))
		return time.Time{}, false
	}
	return endOf(t.Date()), true
}

func endOf(year int, month time.Month, dayOfMonth int) time.Time {
	return time.Date(year, month, dayOfMonth+1, 0, 0, 0, 0, time.UTC).Add(-1)
}
