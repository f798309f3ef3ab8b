package alerts

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cityward/checks/finding"
	"cityward/configs"
)

// The password is hunter2.
const webConfig = `tls_server_config:
  cert_file: server.crt
  key_file: server.key
  client_auth_type: RequireAndVerifyClientCert
  client_ca_file: ca.crt
basic_auth_users:
  cityward: $2a$04$qWgMINWqSNIgtv0kxKVU2.zQ9G4eHrmB2qST0JMgxRmTAHzukA7xO
`

// alertmanager is Debian's, which tells a webhook.
type alertmanager struct {
	address string
	client  *http.Client
	scheme  string
	told    chan *notification
}

// notification is what it tells.
type notification struct {
	Status      string            `json:"status"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
	StartsAt    time.Time         `json:"startsAt"`
	EndsAt      time.Time         `json:"endsAt"`
}

func runAlertmanager(t *testing.T, dir, address string, secure bool) *alertmanager {
	t.Helper()
	program, err := exec.LookPath("prometheus-alertmanager")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("prometheus-alertmanager is missing")
		}
		t.Skip("prometheus-alertmanager is missing: apt-get install prometheus-alertmanager")
	}
	a := &alertmanager{address: address, client: http.DefaultClient, scheme: "http", told: make(chan *notification, 100)}
	onCall := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var message struct{ Alerts []*notification }
		_ = json.NewDecoder(r.Body).Decode(&message)
		for _, n := range message.Alerts {
			a.told <- n
		}
	}))
	t.Cleanup(onCall.Close)
	config := write(t, filepath.Join(dir, "alertmanager.yml"), fmt.Sprintf(`route: {receiver: hook, group_by: [alertname, instance, subject], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}
receivers:
  - name: hook
    webhook_configs: [{url: '%s', send_resolved: true}]
`, onCall.URL))
	args := []string{"--config.file=" + config, "--storage.path=" + filepath.Join(dir, "data"), "--web.listen-address=" + address, "--cluster.listen-address="}
	if secure {
		a.scheme = "https"
		args = append(args, "--web.config.file="+write(t, filepath.Join(dir, "web.yml"), webConfig))
		a.client = &http.Client{Transport: &http.Transport{TLSClientConfig: clientTLS(t, dir)}}
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.Background(), program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
		log.Close()
		if text, _ := os.ReadFile(log.Name()); t.Failed() {
			t.Logf("log of Alertmanager:\n%s", text)
		}
	})
	return a
}

func clientTLS(t *testing.T, dir string) *tls.Config {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "client.crt"), filepath.Join(dir, "client.key"))
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(data)
	return &tls.Config{Certificates: []tls.Certificate{pair}, RootCAs: pool, ServerName: "receiver.city.example"}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// activeAlert is an alert as its API shows it.
type activeAlert struct{ Labels map[string]string }

// active gives the alerts that it has now.
func (a *alertmanager) active(t *testing.T) []activeAlert {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.scheme+"://"+a.address+"/api/v2/alerts", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth("cityward", "hunter2")
	response, err := a.client.Do(request)
	if err != nil {
		return nil
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	var all []activeAlert
	if json.Unmarshal(body, &all) != nil {
		return nil
	}
	return all
}

func (a *alertmanager) next(t *testing.T) *notification {
	t.Helper()
	select {
	case n := <-a.told:
		return n
	case <-time.After(30 * time.Second):
		t.Fatal("Alertmanager tells nobody")
		return nil
	}
}

// The whole life of a finding at a real Alertmanager, which comes up only after the
// finding was there.
func TestAlertmanager(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(map[bool]string{false: "plain", true: "TLS"}[secure], func(t *testing.T) {
			dir := t.TempDir()
			certify(t, dir)
			address := freeAddress(t)
			receiver := configs.Receiver{Name: "am", Kind: configs.Alertmanager, URL: "http://" + address}
			if secure {
				receiver = secured(dir, "https://"+address+"/")
				receiver.Kind = configs.Alertmanager
				receiver.Username, receiver.PasswordFile = "cityward", write(t, filepath.Join(dir, "password"), "hunter2\n")
			}
			c := settings(receiver)
			c.Repeat, c.Hold = time.Second, 2*time.Second
			room, log := open(t, c, nil)
			leak, lasts := fails("NET-001", "civil-registry → 203.0.113.7:443", finding.Critical), fails("DAT-001", "", finding.Critical)
			room.Observe(reported(leak, lasts))
			lines, _ := room.all()
			until(t, "a failure", func() bool { return lines[0].figures(time.Now()).failed > 0 })
			room.Observe(reported(lasts)) // over before anybody could be told

			a := runAlertmanager(t, dir, address, secure)
			lifeAtAlertmanager(t, a, room, leak, lasts)
			if text := log.String(); strings.Contains(text, "hunter2") || strings.Contains(text, "http") {
				t.Errorf("the log tells the receiver's address or password:\n%s", text)
			}
		})
	}
}

func lifeAtAlertmanager(t *testing.T, a *alertmanager, room *Room, leak, lasts finding.Finding) {
	t.Helper()
	told := make(map[string]*notification)
	for len(told) < 2 {
		n := a.next(t)
		told[n.Status+" "+n.Labels["check"]] = n
	}
	n := told["firing NET-001"]
	if n == nil || told["firing DAT-001"] == nil {
		t.Fatalf("told %v", told)
	}
	want := map[string]string{
		"alertname": "CitizenDataOutsideCity", "check": "NET-001", "severity": "critical", "instance": "db1", "subject": leak.Subject,
	}
	if fmt.Sprint(n.Labels) != fmt.Sprint(want) || !n.StartsAt.Equal(leak.Since) {
		t.Errorf("labels %v since %v, want %v since %v", n.Labels, n.StartsAt, want, leak.Since)
	}
	if _, there := told["firing DAT-001"].Labels["subject"]; there {
		t.Error("a finding about the machine has a subject")
	}
	for name, part := range map[string]string{
		"summary": "NET-001 fails on db1", "description": "program: /usr/bin/x\nsent_bytes: 7", "remedy": "Mend it.", "ledger_head": `"row":7`,
	} {
		if !strings.Contains(n.Annotations[name], part) {
			t.Errorf("%s is %q, want %q in it", name, n.Annotations[name], part)
		}
	}
	for n = a.next(t); n.Status != "resolved" || n.Labels["check"] != "NET-001"; n = a.next(t) {
		continue
	}
	if !n.EndsAt.Before(time.Now().Add(time.Second)) {
		t.Errorf("it ended at %v", n.EndsAt)
	}
	// What lasts is told again, so that it lives longer than three repeats.
	time.Sleep(4 * time.Second)
	if all := a.active(t); len(all) != 1 || all[0].Labels["check"] != "DAT-001" {
		t.Errorf("active are %v", all)
	}
	room.Observe(reported())
	for n = a.next(t); n.Status != "resolved" || n.Labels["check"] != "DAT-001"; n = a.next(t) {
		continue
	}
	room.Observe(reported(lasts))
	if n = a.next(t); n.Status != "firing" {
		t.Errorf("of a finding that is back: %s", n.Status)
	}
	room.Close() // a daemon that is gone says nothing any more
	for n = a.next(t); n.Status != "resolved"; n = a.next(t) {
		continue
	}
}

// An Alertmanager takes whatever a machine may come up with.
func TestAlertmanagerTakesHostileText(t *testing.T) {
	dir, address := t.TempDir(), freeAddress(t)
	a := runAlertmanager(t, dir, address, false)
	until(t, "Alertmanager is ready", func() bool { return a.active(t) != nil })
	room, log := open(t, settings(configs.Receiver{Name: "am", Kind: configs.Alertmanager, URL: "http://" + address}), nil)
	f := fails("NET-002", "evil\x00\n\xff\u202e{{ template }}"+strings.Repeat("é", 2000), finding.High)
	f.Reason, f.Facts = "\x1b[31m", map[string]any{"\xff": "\xfe", "list": []string{"a", "b"}, "nothing": nil}
	room.Observe(reported(f))
	n := a.next(t)
	if len(n.Labels["subject"]) > maxLabel || !strings.HasPrefix(n.Labels["subject"], "evil___") {
		t.Errorf("subject %q", n.Labels["subject"])
	}
	if log.String() != "" {
		t.Errorf("log: %s", log.String())
	}
	if err := Try(t.Context(), room.Config.Receivers[0], "db1", time.Now()); err != nil {
		t.Error(err)
	}
	if n := a.next(t); n.Labels["alertname"] != testAlert || n.Labels["test"] != "true" {
		t.Errorf("told %v", n.Labels)
	}
}
