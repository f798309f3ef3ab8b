package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A daemon that is reloaded with a broken file keeps what it had, says so, and
// takes a sound file again.
func TestReload(t *testing.T) {
	dir := t.TempDir()
	config := filepath.Join(dir, "cityward.toml")
	write := func(text string) {
		t.Helper()
		listen := fmt.Sprintf("[listen]\nmetrics = \"127.0.0.1:0\"\nadmin = %q\n\n[round]\ninterval = \"1s\"\n\n[capture]\npins = \"\"\n", filepath.Join(dir, "admin.sock"))
		if err := os.WriteFile(config, []byte(listen+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	hangup := func(d *daemonProcess) {
		t.Helper()
		if err := d.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	store := fmt.Sprintf("\n[[data_store]]\nid = \"registry\"\nclass = \"citizen\"\npaths = [%q]\n", dir)
	write(store)
	daemon := startDaemon(t, os.Args[0], "0", "run", "--config", config)
	daemon.scrapeUntil(t, `cityward_data_store_info\{.*store="registry"`)
	daemon.scrapeUntil(t, `cityward_config_valid 1`)

	write(store + "nonsense = 1\n")
	hangup(daemon)
	page := daemon.scrapeUntil(t, `cityward_config_valid 0`)
	if !strings.Contains(page, `store="registry"`) {
		t.Error("the old policy is not in force any more")
	}
	if !strings.Contains(daemon.log(), "cityward.toml:") {
		t.Errorf("the log does not say where the mistake is:\n%s", daemon.log())
	}

	write(strings.ReplaceAll(store, "registry", "archive"))
	hangup(daemon)
	daemon.scrapeUntil(t, `cityward_data_store_info\{.*store="archive"`)
	daemon.scrapeUntil(t, `cityward_config_valid 1`)
	if err := daemon.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := daemon.Wait(); err != nil {
		t.Errorf("SIGTERM ends it with %v\n%s", err, daemon.log())
	}
	if _, err := os.Stat(filepath.Join(dir, "admin.sock")); !os.IsNotExist(err) {
		t.Errorf("the admin socket is left behind: %v", err)
	}
}
