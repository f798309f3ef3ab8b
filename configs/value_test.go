package configs

import (
	"strings"
	"testing"
	"time"
)

// The files in testdata/broken show what is refused and how it is said; these
// tests show what is accepted and the edges.

func TestForms(t *testing.T) {
	forms := []struct {
		name     string
		parse    func(string) error
		good     string
		bad      string
		splitter string
	}{
		{"network", errOf(parseNetwork), "10.0.0.0/8 198.51.100.7/32 0.0.0.0/0 ::/0 2001:DB8::/32 ::1/128", "10.0.0.0 10.0.0.0/33 10.0.0.1/8 fe80::%eth0/64 010.0.0.0/8 /8 x", " "},
		{"own network", errOf(parseOwnNetwork), "10.0.0.0/8 fc00::/7 2001:db8::/32", "10.0.0.0/7 0.0.0.0/1 2000::/6 ::/0", " "},
		{"country", errOf(parseCountry), "ES GB XK", "UK EU es E ESP É É1", " "},
		{"domain", errOf(parseDomain), "city.example a xn--espaa-rta.example _dmarc.city.example 1.example", "a..b -a.example a-.example a_b.ex!mple city.example. *.a . " + strings.Repeat("a", 64), " "},
		{"path", errOf(parsePath), "/ /a /a.b/c", "a ./a ../a /a/ /a/../b //a", " "},
		{"store path", errOf(parseStorePath), "/srv", "/ // /.. srv", " "},
		{"socket", errOf(parseSocket), "/" + strings.Repeat("a", 106), "/" + strings.Repeat("a", 107), " "},
		{"id", errOf(parseID), "a a-1 9 " + strings.Repeat("a", 64), "A a_b a.b é " + strings.Repeat("a", 65), " "},
		{"principal", errOf(parsePrincipal), "postgres|group:registry|DOM\\user|group:domain users|_apt|www-data", "|group:|a:b|a,b| a|a |a/b", "|"},
		{"service", errOf(parseService), "tcp:1 tcp:65535 udp:53 unix:/run/a", "tcp: tcp:0 tcp:65536 tcp:+1 tcp:01 TCP:1 icmp:1 unix:a unix: 5432", " "},
		{"listen", errOf(parseListen), "127.0.0.1:0 :19777 [::1]:1 localhost:65535", "1 127.0.0.1 127.0.0.1:x 127.0.0.1:65536 a.example:1 ::1:1", " "},
		{"check", errOf(parseCheck), "DAT-004", "DAT-04 DAT-0044 dat-004 DATA-004 DAT004", " "},
		{"justification", errOf(parseJustification), "twenty characters or|ááááááááááááááááááááá", "too short|                              |", "|"},
	}
	for _, form := range forms {
		for s := range strings.SplitSeq(form.good, form.splitter) {
			if err := form.parse(s); err != nil {
				t.Errorf("%s: %v", form.name, err)
			}
		}
		for s := range strings.SplitSeq(form.bad, form.splitter) {
			if form.parse(s) == nil {
				t.Errorf("%s: %q is accepted", form.name, s)
			}
		}
	}
}

func errOf[T any](parse func(string) (T, error)) func(string) error {
	return func(s string) error {
		_, err := parse(s)
		return err
	}
}

func TestDuration(t *testing.T) {
	tests := []struct {
		text string
		want time.Duration
		back string
	}{
		{"500ms", 500 * time.Millisecond, "500ms"},
		{"15s", 15 * time.Second, "15s"},
		{"90s", 90 * time.Second, "1m30s"},
		{"10m", 10 * time.Minute, "10m"},
		{"24h", day, "1d"},
		{"36h", 36 * time.Hour, "36h"},
		{"1d12h", 36 * time.Hour, "36h"},
		{"90d", 90 * day, "90d"},
		{"1h0m5s", time.Hour + 5*time.Second, "1h0m5s"},
		{"0s", 0, "0s"},
		{"100m", 100 * time.Minute, "1h40m"},
	}
	for _, tt := range tests {
		got, err := ParseDuration(tt.text)
		if err != nil || got != tt.want || formatDuration(got) != tt.back {
			t.Errorf("%s: %v, %v, %s", tt.text, got, err, formatDuration(got))
		}
	}
	for _, bad := range []string{"", "d", "5", "-1d", "1d-1h", "1.5d", "99999d", "1dd", "2562047h", "soon"} {
		if got, err := ParseDuration(bad); err == nil {
			t.Errorf("%q is %v", bad, got)
		}
	}
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"15s", "1d12h", "90d", "-1h", "1h0m0.5s"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseDuration(s)
		if err != nil || d < 0 {
			return
		}
		if again, err := ParseDuration(formatDuration(d)); err != nil || again != d {
			t.Fatalf("%q: %v is written %q, and that is %v, %v", s, d, formatDuration(d), again, err)
		}
	})
}

func TestServiceString(t *testing.T) {
	for _, s := range []string{"tcp:5432", "udp:53", "unix:/run/db.sock"} {
		if got, err := parseService(s); err != nil || got.String() != s {
			t.Errorf("%s: %s, %v", s, got, err)
		}
	}
}

func TestSuggest(t *testing.T) {
	known := []string{"networks", "name", "no_citizen_data", "id"}
	tests := []struct{ word, want string }{
		{"netwroks", "networks"},
		{"network", "networks"},
		{"nmae", "name"},
		{"Name", "name"},
		{"no-citizen-data", "no_citizen_data"},
		{"colour", ""},
		{"", ""},
		{"x", ""},
		{strings.Repeat("networks", 100), ""},
	}
	for _, tt := range tests {
		want := tt.want
		if want != "" {
			want = ", did you mean " + want + "?"
		}
		if got := suggest(tt.word, known); got != want {
			t.Errorf("%q: %q, want %q", tt.word, got, want)
		}
	}
}

func TestErrorString(t *testing.T) {
	tests := []struct {
		err  Error
		want string
	}{
		{Error{"/etc/cityward/cityward.toml", 3, 1, "city.name", "is missing"}, "/etc/cityward/cityward.toml:3:1: city.name: is missing"},
		{Error{"", 3, 1, "", "is missing"}, "3:1: is missing"},
	}
	for _, tt := range tests {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}
