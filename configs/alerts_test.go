package configs

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// TestDefaultDocumentsReceivers demands that the examples set every field, one or
// another.
func TestDefaultDocumentsReceivers(t *testing.T) {
	main, _ := examples(t)
	set := make(map[string]bool)
	for _, r := range parse(t, []byte(main)).Alerts.Receivers {
		for field, v := range reflect.ValueOf(r).Fields() {
			set[field.Name] = set[field.Name] || !v.IsZero()
		}
	}
	for field := range reflect.TypeFor[Receiver]().Fields() {
		if !set[field.Name] {
			t.Errorf("%s has no value: the default does not document its key", field.Name)
		}
	}
}

func TestReceiverURLs(t *testing.T) {
	tests := []struct {
		url string
		ok  bool
	}{
		{"https://city.example", true},
		{"https://city.example:9093/a/b?c=d", true},
		{"http://localhost:9093", true},
		{"http://127.0.0.2", true},
		{"http://[::1]:1", true},
		{"http://localhost.city.example", false},
		{"http://10.0.0.1", false},
		{"https://", false},
		{"https:///path", false},
		{"https:city.example", false},
		{"https://city.example:", false},
		{"https://city.example:65536", false},
		{"unix:///run/x.sock", false},
		{"city.example", false},
		{"", false},
	}
	for _, tt := range tests {
		text := fmt.Sprintf("[[alerts.receiver]]\nname = \"a\"\nkind = \"webhook\"\nurl = %q", tt.url)
		if _, err := Parse("t", []byte(text)); (err == nil) != tt.ok {
			t.Errorf("%s: %v", tt.url, err)
		}
	}
}

func TestReceiversAreBounded(t *testing.T) {
	var text strings.Builder
	for i := range maxReceivers + 1 {
		fmt.Fprintf(&text, "[[alerts.receiver]]\nname = \"r%d\"\nkind = \"webhook\"\nurl = \"https://a.example\"\n", i)
	}
	_, err := Parse("t", []byte(text.String()))
	if err == nil || !strings.HasPrefix(err.Error(), "t:42:8: alerts.receiver.name: is one receiver too many") {
		t.Error(err)
	}
}

// What is wrong with a URL is said without the URL, which may hold a secret.
func TestURLsAreNotShown(t *testing.T) {
	for _, url := range []string{"https://user:hunter2@a.example", "https://hunter2%zz", "hunter2", "https://a.example/#hunter2", "https://a.example:hunter2"} {
		if _, err := parseURL(url); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", url, err)
		}
	}
}
