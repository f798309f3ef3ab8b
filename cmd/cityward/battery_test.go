package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// scenario is a small script with real programs, which runs on the city server and
// sends to a port of its own.
type scenario struct {
	name, script string

	before string // runs before the daemon does, until it ends by itself
	needs  string // a directory without which it cannot be tried
	gap    string // not demanded where the daemon says that it does not see that

	// Of a leak: whose data, which program carries it and how that one holds it.
	store, carrier, how string
	least               int  // bytes of the store that leave; 0 as many as its file has
	loose               bool // some of what the carrier sent was before it held anything
	six                 bool // over IPv6
	inbound             bool // clients fetch it, so that nobody but the daemon counts
	forward             string

	port int
	dir  string
	log  string
	exit error
	took time.Duration // from the first byte outside to the published finding
	seen shownFinding
}

// inStepsOf is how many scenarios run at once.
const inStepsOf = 6

// subject is what a leak's finding is called.
func (s *scenario) subject() string {
	switch {
	case s.inbound && s.how == "direct" && s.carrier == "postgres":
		return s.store + " ← " + outsideAddress + " on port 5432"
	case s.inbound:
		return fmt.Sprintf("%s ← %s on port %d", s.store, outsideAddress, s.port)
	case s.six:
		return fmt.Sprintf("%s → [%s]:%d", s.store, outside6, s.port)
	}
	return fmt.Sprintf("%s → %s:%d", s.store, outsideAddress, s.port)
}

// command makes a script one of the city server, bounded in time.
func (l *lab) command(s *scenario, script string) *exec.Cmd {
	cmd := exec.Command("nsenter", in(l.inside, "timeout", "40", "bash", "-euo", "pipefail", "-c", script, s.name)...)
	cmd.Dir = s.dir
	cmd.Env = append(slices.Clone(l.env), "W="+s.dir, fmt.Sprint("PORT=", s.port), fmt.Sprint("LOCAL=", s.port+20000),
		fmt.Sprintf("U=http://%s:%d/", outsideAddress, s.port))
	return cmd
}

// prepare gives each scenario a port and a directory, and starts what has to run
// before the daemon. It gives those ports whose connections go on to a server.
func (l *lab) prepare(t *testing.T, all []*scenario) map[int]string {
	t.Helper()
	forward := make(map[int]string)
	for i, s := range all {
		s.port, s.dir = firstPort+1+i, l.path(fmt.Sprintf("work/%d", i))
		s.log = filepath.Join(s.dir, "log")
		if err := os.MkdirAll(s.dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if s.forward != "" {
			forward[s.port] = s.forward
		}
	}
	if last := firstPort + len(all); last >= timedPort {
		t.Fatalf("%d scenarios have too few ports", len(all))
	}
	return forward
}

// begin starts what a scenario wants to run before the daemon.
func (l *lab) begin(t *testing.T, all []*scenario) {
	t.Helper()
	for _, s := range all {
		if s.before == "" {
			continue
		}
		cmd := l.command(s, s.before)
		cmd.Args = slices.Replace(cmd.Args, 3, 4, "300") // in which it has to be told to go on
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Signal(unix.SIGTERM)
			_ = cmd.Wait()
		})
		eventually(t, s.name+" is ready", func() bool {
			_, err := os.Stat(filepath.Join(s.dir, "ready"))
			return err == nil
		})
	}
}

// run runs scenarios, a few at a time.
func (l *lab) run(t *testing.T, all []*scenario) {
	t.Helper()
	var group sync.WaitGroup
	places := make(chan struct{}, inStepsOf)
	for _, s := range all {
		places <- struct{}{}
		group.Go(func() {
			defer func() { <-places }()
			log, err := os.OpenFile(s.log, os.O_CREATE|os.O_WRONLY, 0o600) // who may read holds what others wrote
			if err != nil {
				t.Error(err)
				return
			}
			defer log.Close()
			cmd := l.command(s, s.script)
			cmd.Stdout, cmd.Stderr = log, log
			s.exit = cmd.Run()
		})
	}
	group.Wait()
}

// Every leak is reported with its store, its carrier, its destination and its
// bytes; of what is harmless nothing is.
func TestLeakBattery(t *testing.T) {
	l := newLab(t)
	checkTableOf(t, slices.Concat(leaks(), restarts()), harmless())
	leaks, harmless := available(t, leaks()), available(t, harmless())
	all := slices.Concat(leaks, harmless)
	l.servers(t, l.prepare(t, all))
	l.begin(t, all)
	l.start(t, "")
	o := l.observe(t)
	began := time.Now()
	l.run(t, all)
	t.Logf("%d scenarios ran in %v", len(all), time.Since(began).Round(time.Second))
	o.settle(leaks)
	time.Sleep(time.Until(began.Add(40 * time.Second))) // two rounds at least
	reported, admitted, gaps := 0, 0, l.gaps(t)
	for _, s := range leaks {
		t.Run(s.name, func(t *testing.T) {
			problem := o.problem(s)
			if problem == "" && s.exit == nil {
				reported++
				return
			}
			if s.exit == nil && s.gap != "" && strings.Contains(gaps, s.gap) {
				admitted++
				t.Logf("not seen on this machine, and the daemon says so: %s", s.gap)
				return
			}
			t.Errorf("%s (%v): %s; its output:\n%s%s", s.subject(), s.exit, problem, s.said(), l.links(t, s))
		})
	}
	// Whoever took data is a declared reader in all of them.
	if strangers := o.failing(func(*shownFinding) bool { return true }, "CUS-001"); len(strangers) > 0 {
		t.Error(strangers)
	}
	clean := 0
	for _, s := range harmless {
		t.Run(s.name, func(t *testing.T) {
			reports := o.reports(s)
			if len(reports) == 0 && s.exit == nil {
				clean++
				return
			}
			t.Errorf("port %d (%v): %v; its output:\n%s%s", s.port, s.exit, reports, s.said(), l.links(t, s))
		})
	}
	t.Logf("%d of %d leaks are reported, %d are in a gap that is; of %d of %d harmless scenarios nothing is\n%s",
		reported, len(leaks), admitted, clean, len(harmless), results(leaks))
}

// available leaves out what cannot be tried here.
func available(t *testing.T, all []*scenario) []*scenario {
	t.Helper()
	return slices.DeleteFunc(all, func(s *scenario) bool {
		if s.needs == "" {
			return false
		}
		_, err := os.Stat(s.needs)
		if err != nil {
			t.Logf("not tried, since there is no %s: %s", s.needs, s.name)
		}
		return err != nil
	})
}

// said is what a script printed.
func (s *scenario) said() string {
	text, _ := os.ReadFile(s.log)
	return string(text)
}
