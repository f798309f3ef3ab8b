package metrics

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/exporter-toolkit/web"
	"go.yaml.in/yaml/v3"

	"cityward/agent/alerts"
	"cityward/configs"
)

// shipped is where the rules and examples for users are.
const shipped = "../../configs/prometheus"

// alert is an alerting rule.
type alert struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func shippedAlerts(t *testing.T) []alert {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(shipped, "cityward.rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Rules []alert `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	var all []alert
	for _, group := range file.Groups {
		all = append(all, group.Rules...)
	}
	if len(all) == 0 {
		t.Fatal("no rules")
	}
	return all
}

// A rule on a metric that nobody exports never fires, and nobody notices.
func TestEveryMetricOfARuleIsExported(t *testing.T) {
	room := alerts.New(alerts.Options{
		Config: configs.Alerts{Receivers: []configs.Receiver{{Name: "r", Kind: configs.Webhook}}}, Log: slog.New(slog.DiscardHandler), Now: time.Now,
	})
	t.Cleanup(room.Close)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(observed(full()), room)
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	labels := make(map[string][]string)
	for _, family := range families {
		labels[family.GetName()] = []string{"job", "instance"}
		for _, metric := range family.GetMetric() {
			for _, pair := range metric.GetLabel() {
				labels[family.GetName()] = append(labels[family.GetName()], pair.GetName())
			}
		}
	}
	selector := regexp.MustCompile(`(cityward_\w+)(?:\{([^}]*)\})?`)
	matcher := regexp.MustCompile(`(\w+)\s*(?:=~|!~|!=|=)`)
	for _, rule := range shippedAlerts(t) {
		for _, found := range selector.FindAllStringSubmatch(rule.Expr, -1) {
			known, exported := labels[found[1]]
			if !exported {
				t.Errorf("%s watches %s, which is not exported", rule.Alert, found[1])
				continue
			}
			for _, m := range matcher.FindAllStringSubmatch(found[2], -1) {
				if !slices.Contains(known, m[1]) {
					t.Errorf("%s matches %s by the label %s, which it does not have", rule.Alert, found[1], m[1])
				}
			}
		}
	}
}

func TestEveryAlertSaysWhatToDo(t *testing.T) {
	severities := []string{"critical", "high", "warning", "info"}
	for _, rule := range shippedAlerts(t) {
		// CheckFailing takes the severity of the check.
		if s, set := rule.Labels["severity"]; set && !slices.Contains(severities, s) || !set && !strings.Contains(rule.Expr, "severity") {
			t.Errorf("%s has the severity %q", rule.Alert, s)
		}
		for _, name := range []string{"summary", "description", "runbook"} {
			if rule.Annotations[name] == "" {
				t.Errorf("%s has no %s", rule.Alert, name)
			}
		}
	}
}

func TestEveryAlertIsTested(t *testing.T) {
	data, err := os.ReadFile(filepath.Join(shipped, "rules_test.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Tests []struct {
			Cases []struct {
				Expr    string `yaml:"expr"`
				Samples []struct {
					Labels string `yaml:"labels"`
				} `yaml:"exp_samples"`
			} `yaml:"promql_expr_test"`
		} `yaml:"tests"`
	}
	if err := yaml.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`alertname=~?"([^"]+)"`)
	for _, rule := range shippedAlerts(t) {
		var fires, silent bool
		for _, test := range file.Tests {
			for _, c := range test.Cases {
				asked := regexp.MustCompile("^(?:" + name.FindStringSubmatch(c.Expr)[1] + ")$")
				if !asked.MatchString(rule.Alert) {
					continue
				}
				expected := false
				for _, sample := range c.Samples {
					expected = expected || name.FindStringSubmatch(sample.Labels)[1] == rule.Alert
				}
				fires, silent = fires || expected, silent || !expected
			}
		}
		if !fires || !silent {
			t.Errorf("%s: a case in which it fires: %t; one in which it must not: %t", rule.Alert, fires, silent)
		}
	}
}

// tool finds a program of Debian's prometheus packages.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	const what = "%s is missing: apt-get install prometheus prometheus-alertmanager"
	if os.Getenv("CI") != "" {
		t.Fatalf(what, name)
	}
	t.Skipf(what, name)
	return ""
}

func TestRulesAndExamplesWithTheirPrograms(t *testing.T) {
	tests := []struct {
		name, program string
		arguments     []string // the last names a file of the shipped folder
	}{
		{"rules", "promtool", []string{"check", "rules", "cityward.rules.yml"}},
		{"unit tests", "promtool", []string{"test", "rules", "rules_test.yml"}},
		{"scrape example", "promtool", []string{"check", "config", "scrape.example.yml"}},
		{"alertmanager example", "amtool", []string{"check-config", "alertmanager.example.yml"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := copyShipped(t)
			tt.arguments[len(tt.arguments)-1] = filepath.Join(dir, tt.arguments[len(tt.arguments)-1])
			out, err := exec.CommandContext(t.Context(), tool(t, tt.program), tt.arguments...).CombinedOutput()
			if err != nil {
				t.Errorf("%s %s: %v\n%s", tt.program, strings.Join(tt.arguments, " "), err, out)
			}
		})
	}
}

// The daemon itself reads the web example, so its own library judges it.
func TestWebExample(t *testing.T) {
	if err := web.Validate(filepath.Join(copyShipped(t), "web.example.yml")); err != nil {
		t.Error(err)
	}
}

// copyShipped copies the shipped files to a folder that also holds the
// certificates which the examples name, and makes them name that folder.
func copyShipped(t *testing.T) string {
	t.Helper()
	certificate, key := selfSigned(t)
	dir := t.TempDir()
	files, err := os.ReadDir(shipped)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		data, err := os.ReadFile(filepath.Join(shipped, file.Name()))
		if err != nil {
			t.Fatal(err)
		}
		text := strings.NewReplacer("/etc/prometheus", dir, "/etc/cityward", dir).Replace(string(data))
		write(t, filepath.Join(dir, file.Name()), []byte(text))
	}
	if err := os.Mkdir(filepath.Join(dir, "tls"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"ca", "server", "prometheus"} {
		write(t, filepath.Join(dir, "tls", name+".crt"), certificate)
		write(t, filepath.Join(dir, "tls", name+".key"), key)
	}
	return dir
}

func write(t *testing.T, file string, data []byte) {
	t.Helper()
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// selfSigned gives a certificate that nobody has to trust, in PEM.
func selfSigned(t *testing.T) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}
