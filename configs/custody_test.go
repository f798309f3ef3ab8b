package configs

import "testing"

func TestCustodyAlerts(t *testing.T) {
	c := Custody{AlertBytes: map[string]uint64{"direct": 1, "pipeline": 1000, "derived": 0}}
	for _, test := range []struct {
		how  string
		sent uint64
		want bool
	}{
		{"direct", 0, false},
		{"direct", 1, true},
		{"pipeline", 999, false},
		{"pipeline", 1000, true},
		{"derived", 1 << 40, false},
		{"service", 0, false},
		{"service", 1, true}, // nothing is said of it
	} {
		if got := c.Alerts(test.how, test.sent); got != test.want {
			t.Errorf("%d bytes, %s: %t", test.sent, test.how, got)
		}
	}
}

func TestCustodyIgnores(t *testing.T) {
	c := Custody{
		Relays: []string{"/usr/bin/dbus-daemon"},
		Ignore: []CustodyIgnore{{Program: "/usr/bin/updatedb"}, {Program: "/usr/bin/cp", How: []string{"direct"}, Stores: []string{"one"}}},
	}
	for _, test := range []struct {
		program, how, store string
		want                bool
	}{
		{"/usr/bin/dbus-daemon", "pipeline", "one", true},
		{"/usr/bin/dbus-daemon", "direct", "one", false}, // it opened the file itself
		{"/usr/bin/updatedb", "derived", "two", true},
		{"/usr/bin/cp", "direct", "one", true},
		{"/usr/bin/cp", "derived", "one", false},
		{"/usr/bin/cp", "direct", "two", false},
		{"", "direct", "one", false}, // a program that is not known
	} {
		if got := c.Ignores(test.program, test.how, test.store); got != test.want {
			t.Errorf("%+v: %t", test, got)
		}
	}
}
