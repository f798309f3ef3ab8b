package main

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// pushed is one alert that a webhook was told.
type pushed struct {
	Check, Status, Subject string
	test                   bool
}

// listenForAlerts takes what is pushed to an address.
func listenForAlerts(t *testing.T, listener net.Listener) <-chan pushed {
	t.Helper()
	heard := make(chan pushed, 1000)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != "hunter2" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		var document struct {
			Test   bool
			Alerts []pushed
		}
		if err := json.NewDecoder(r.Body).Decode(&document); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		for _, alert := range document.Alerts {
			alert.test = document.Test
			heard <- alert
		}
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
	return heard
}

// pushing writes a configuration with one receiver and a store, and the password.
func pushing(t *testing.T, dir, address, store string) (config string) {
	t.Helper()
	writeFile(t, filepath.Join(dir, "password"), "hunter2\n")
	config = filepath.Join(dir, "cityward.toml")
	writeFile(t, config, fmt.Sprintf(`
[listen]
metrics = "127.0.0.1:0"
admin = %q

[round]
interval = "1s"

[capture]
pins = ""
tier = "poll"

[[alerts.receiver]]
name = "on-call"
kind = "webhook"
url = "http://%s/hook"
username = "cityward"
password_file = %q

[[data_store]]
id = "registry"
class = "citizen"
paths = [%q]
`, filepath.Join(dir, "admin.sock"), address, filepath.Join(dir, "password"), store))
	return config
}

// waitForPush waits for an alert of the open store.
func waitForPush(t *testing.T, heard <-chan pushed, status string) {
	t.Helper()
	limit := time.After(30 * time.Second)
	for {
		select {
		case got := <-heard:
			if got.Check == "ACC-002" && got.Status == status {
				return
			}
		case <-limit:
			t.Fatalf("ACC-002 %s is not pushed", status)
		}
	}
}

// What was found while nobody could be told is told by the next run of a daemon
// that was killed, though it is over by then.
func TestAlertOutlivesAKill(t *testing.T) {
	state, dir := t.TempDir(), t.TempDir()
	t.Setenv("STATE_DIRECTORY", state)
	address, store := freeAddress(t), filepath.Join(dir, "store")
	access(t, store, 0o777)
	config := pushing(t, dir, address, store)
	daemon := startDaemon(t, os.Args[0], "0", "run", "--config", config)
	page := daemon.scrapeUntil(t, `cityward_alerts_pending\{receiver="on-call"\} [1-9]`)
	if strings.Contains(page, address) {
		t.Error("the page tells the receiver's address")
	}
	daemon.scrapeUntil(t, `cityward_alerts_failed_total\{receiver="on-call"\} [1-9]`)
	eventually(t, "the alert is in the ledger", func() bool { return keptRows(t, state) > 0 })
	if err := daemon.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = daemon.Wait() // it was killed
	log := daemon.log()

	access(t, store, 0o700)
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	heard := listenForAlerts(t, listener)
	daemon = startDaemon(t, os.Args[0], "0", "run", "--config", config)
	waitForPush(t, heard, "firing")
	waitForPush(t, heard, "resolved")
	daemon.scrapeUntil(t, `cityward_alerts_pending\{receiver="on-call"\} 0`)
	access(t, store, 0o777)
	waitForPush(t, heard, "firing")
	daemon.terminate(t)
	said(t, exitDone, "ledger", "verify")
	if log += daemon.log(); strings.Contains(log, "hunter2") || strings.Contains(log, "/hook") {
		t.Errorf("the log tells a secret:\n%s", log)
	}
}

// access makes a store with a mode, or changes it.
func access(t *testing.T, store string, mode os.FileMode) {
	t.Helper()
	above := filepath.Dir(store)
	if err := errors.Join(os.MkdirAll(store, mode), os.Chmod(store, mode), os.Chmod(above, 0o755), os.Chmod(filepath.Dir(above), 0o755)); err != nil {
		t.Fatal(err)
	}
}

func keptRows(t *testing.T, state string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(state, "ledger.db")+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if db.QueryRowContext(t.Context(), "SELECT count(*) FROM kept WHERE body LIKE '%ACC-002%'").Scan(&n) != nil {
		return 0
	}
	return n
}

// Without a place for the ledger memory keeps what is to be told, and a reload
// brings a receiver.
func TestAlertsWithoutALedger(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("STATE_DIRECTORY", filepath.Join(dir, "none"))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	heard := listenForAlerts(t, listener)
	store := filepath.Join(dir, "store")
	access(t, store, 0o777)
	config := pushing(t, dir, listener.Addr().String(), store)
	with, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, config, strings.Replace(string(with), "/hook", "/elsewhere", 1))
	writeFile(t, filepath.Join(dir, "password"), "wrong")
	daemon := startDaemon(t, os.Args[0], "0", "run", "--config", config)
	daemon.scrapeUntil(t, `cityward_alerts_failed_total\{receiver="on-call"\} [1-9]`)
	writeFile(t, filepath.Join(dir, "password"), "hunter2")
	writeFile(t, config, string(with))
	reloadDaemon(t, daemon)
	waitForPush(t, heard, "firing")
	daemon.terminate(t)
}

func TestAlertsTest(t *testing.T) {
	if _, text := said(t, exitUsage, "alerts", "test", "--config", sound(t)); !strings.Contains(text, "[[alerts.receiver]]") || strings.Count(text, "\n") != 1 {
		t.Errorf("without a receiver: %q", text)
	}
	dir := t.TempDir()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	heard := listenForAlerts(t, listener)
	config := pushing(t, dir, listener.Addr().String(), dir)
	if out, _ := said(t, exitDone, "alerts", "test", "--config", config); out != "on-call: took it\n" {
		t.Errorf("said %q", out)
	}
	if got := <-heard; !got.test || got.Check != "TEST" {
		t.Errorf("heard %+v", got)
	}
	refuse := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(refuse.Close)
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	more := fmt.Sprintf("\n[[alerts.receiver]]\nname = \"other\"\nkind = \"alertmanager\"\nurl = %q\n", refuse.URL+"/hunter2")
	writeFile(t, config, string(text)+more)
	out, said := said(t, exitInternal, "alerts", "test", "--config", config)
	if out != "on-call: took it\nother: post alerts: HTTP status 404 Not Found\n" || said != "cityward: send test alert: 1 of 2 receivers did not take it\n" {
		t.Errorf("said %q and %q", out, said)
	}
}

// sound is a configuration that says nothing.
func sound(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "cityward.toml")
	writeFile(t, file, "")
	return file
}

func reloadDaemon(t *testing.T, d *daemonProcess) {
	t.Helper()
	if err := d.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}
