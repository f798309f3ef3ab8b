package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"cityward/agent/report"
)

// watched is a daemon whose clock brings no round while a test runs, and a machine
// with a way out of the city.
type watched struct {
	*daemonProcess
	config, inside, outside string
	admin                   *admin
}

func watch(t *testing.T) *watched {
	t.Helper()
	return watchPinned(t, "")
}

// captured skips where nothing would wake the daemon.
func (w *watched) captured(t *testing.T) {
	t.Helper()
	if !strings.Contains(w.scrapeUntil(t, `cityward_rounds_total`), `cityward_capture_tier_info{capture="flows",tier="bpf"} 1`) {
		skip(t, "this kernel permits no capture")
	}
}

// published gives a program's flow of the last round.
func (w *watched) published(t *testing.T, program, remote string) *report.Flow {
	t.Helper()
	data, err := w.admin.get(t.Context(), report.Flows)
	if err != nil {
		t.Fatal(err)
	}
	flows, err := report.ReadFlows(data)
	if err != nil {
		t.Fatal(err)
	}
	for i := range flows {
		if isOf(&flows[i], program, remote) {
			return &flows[i]
		}
	}
	return nil
}

// isOf tells a flow from those of whatever else runs on the machine.
func isOf(f *report.Flow, program, remote string) bool {
	return f.Remote != nil && f.Remote.Address == remote && f.Program != nil && f.Program.Executable != nil && *f.Program.Executable == program
}

// What goes out of the city is in a published report within half a second, with
// its program, though no round was due.
func TestWakeUpPublishes(t *testing.T) {
	w := watch(t)
	w.captured(t)
	const flows = 20
	var took []time.Duration
	for i := range flows {
		time.Sleep(300*time.Millisecond + rand.N(300*time.Millisecond)) // anywhere in the daemon's ticks
		shell := "/usr/bin/bash"
		if i%2 == 1 { // a program that nobody has seen yet, whose owner is looked for
			shell = shellNamed(t, "stranger")
		}
		remote := fmt.Sprintf("203.0.113.%d", 100+i)
		ip(t, "netns", "exec", w.inside, shell, "-c", "echo secret > /dev/udp/"+remote+"/443")
		var f *report.Flow
		for end := time.Now().Add(10 * time.Second); f == nil && time.Now().Before(end); {
			time.Sleep(5 * time.Millisecond)
			f = w.published(t, shell, remote)
		}
		if f == nil {
			t.Fatalf("%s is in no report\n%s", remote, w.log())
		}
		took = append(took, time.Since(f.First)) // the kernel's own time of the first packet
		if f.Zone != "outside" || f.Sent != 7 {
			t.Errorf("%s is shown as %+v", remote, f)
		}
	}
	slices.Sort(took)
	t.Logf("from the first packet to the published report, %d flows: p50 %v, p99 %v; the slowest round took %v", flows,
		took[flows/2].Round(time.Millisecond), took[flows-1].Round(time.Millisecond), w.slowest(t).Round(time.Millisecond))
	// A machine that is busy with other things makes rounds slow, after which the
	// daemon rests the longer: there only the half of them must be in time.
	const bound, slow = 2 * time.Second, 100 * time.Millisecond
	if took[flows/2] > bound || took[flows-1] > bound && w.slowest(t) < slow {
		t.Errorf("%v is too late, at most %v", took, bound)
	}
	page := w.scrapeUntil(t, `cityward_short_rounds_total`)
	for _, line := range []string{"cityward_rounds_total 1\n", "cityward_program_outside_sent_bytes_total{program=\"stranger\"} 70\n"} {
		if !strings.Contains(page, line) {
			t.Errorf("the page lacks %s", line)
		}
	}
}

// slowest is how long the longest short round took, by the log.
func (w *watched) slowest(t *testing.T) time.Duration {
	t.Helper()
	var most time.Duration
	for _, round := range regexp.MustCompile(`short=true seconds=(\S+)`).FindAllStringSubmatch(w.log(), -1) {
		took, err := time.ParseDuration(round[1] + "s")
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, took)
	}
	if most == 0 {
		t.Error("no short round was made")
	}
	return most
}

// shellNamed gives a shell that is a program of its own.
func shellNamed(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile("/usr/bin/bash")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, data, 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

// follow starts the command of this test program.
func (w *watched) follow(t *testing.T, stdout io.Writer, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], append([]string{"--config", w.config, "flows", "--follow"}, args...)...)
	cmd.Env = append(os.Environ(), confineVariable+"=0")
	said := &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = stdout, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill() // it may have ended
			_ = cmd.Wait()
		}
	})
	return cmd, said
}

// output is a file that a program writes and a test reads.
func output(t *testing.T) (*os.File, func() string) {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { file.Close() })
	return file, func() string {
		data, err := os.ReadFile(file.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
}

func ends(t *testing.T, cmd *exec.Cmd, said *bytes.Buffer, status int, text string) {
	t.Helper()
	_ = cmd.Wait() // the state says how
	if got := cmd.ProcessState.ExitCode(); got != status || !regexp.MustCompile(text).MatchString(said.String()) {
		t.Errorf("%v: ends with %v and %q, want status %d and %s", cmd.Args[3:], cmd.ProcessState, said, status, text)
	}
}

func TestFollow(t *testing.T) {
	w := watch(t)
	tableFile, table := output(t)
	linesFile, lines := output(t)
	recordsFile, records := output(t)
	asTable, tableSaid := w.follow(t, tableFile)
	asLines, linesSaid := w.follow(t, linesFile, "--format", "json", "--zone", "outside")
	asRecords, recordsSaid := w.follow(t, recordsFile, "--format", "csv", "--zone", "outside")
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	toNobody, nobodySaid := w.follow(t, write)
	write.Close()
	eventually(t, "all follow", func() bool { return strings.Contains(table(), "TIME") && strings.Contains(records(), "first,last") })
	if _, err := read.Read(make([]byte, 1)); err != nil { // the heading
		t.Fatal(err)
	}
	read.Close()
	time.Sleep(followEvery) // json has no heading that says it began

	w.exchange(t)
	closed := regexp.MustCompile(`(?m) out +outside +tcp +/usr/bin/bash +203\.0\.113\.7:443 +\+\d+ B +\+\d+ B +0$`)
	eventually(t, "the end of the connection is shown", func() bool { return closed.MatchString(table()) })
	eventually(t, "every format has it", func() bool {
		return strings.Contains(lines(), `"open_connections":0`) && strings.Contains(records(), ",7,11,1,0\n")
	})
	checkTable(t, table())
	checkLines(t, lines())
	ends(t, toNobody, nobodySaid, exitDone, `^$`)

	for cmd, signal := range map[*exec.Cmd]syscall.Signal{asLines: syscall.SIGINT, asRecords: syscall.SIGTERM} {
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
	}
	ends(t, asLines, linesSaid, exitDone, `^$`)
	ends(t, asRecords, recordsSaid, exitDone, `^$`)
	if err := w.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	ends(t, asTable, tableSaid, exitInternal, `^cityward: ask the daemon[^\n]*\n$`)
	if err := w.Wait(); err != nil {
		t.Errorf("the daemon ends with %v", err)
	}
}

// exchange connects a shell to a peer beyond the city, which sends 11 bytes and is
// sent 7, a look apart.
func (w *watched) exchange(t *testing.T) {
	t.Helper()
	listener := listenIn(t, w.outside, outsideAddress+":443")
	script := `exec 4<>"/dev/tcp/$1/443"; read -r _ <&4; echo secret >&4; read -r _ <&4`
	startProgram(t, "ip", "netns", "exec", w.inside, "/usr/bin/bash", "-c", script, "talk", outsideAddress)
	conn, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	time.Sleep(2 * followEvery)
	if _, err := io.WriteString(conn, "hello city\n"); err != nil {
		t.Fatal(err)
	}
	if n, err := io.ReadFull(conn, make([]byte, 7)); err != nil {
		t.Fatal(n, err)
	}
	time.Sleep(2 * followEvery)
}

// checkTable adds up what moved.
func checkTable(t *testing.T, table string) {
	t.Helper()
	row := regexp.MustCompile(`(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ  out  outside   tcp    /usr/bin/bash +203\.0\.113\.7:443 +\+(\d+) B +\+(\d+) B +([01])$`)
	rows := row.FindAllStringSubmatch(table, -1)
	sent, received := 0, 0
	for _, r := range rows {
		var s, n int
		if _, err := fmt.Sscan(r[1], &s); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(r[2], &n); err != nil {
			t.Fatal(err)
		}
		sent, received = sent+s, received+n
	}
	if sent != 7 || received != 11 || len(rows) < 2 || strings.Count(table, "TIME") != 1 {
		t.Errorf("%d lines with %d bytes sent and %d received, want 7 and 11:\n%s", len(rows), sent, received, table)
	}
}

// checkLines reads one flow a line, with totals.
func checkLines(t *testing.T, lines string) {
	t.Helper()
	var last report.Flow
	for line := range strings.Lines(lines) {
		var f report.Flow
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if f.Zone != "outside" {
			t.Errorf("another zone: %s", line)
		}
		if isOf(&f, "/usr/bin/bash", outsideAddress) && f.Remote.Port == 443 { // others may test, too
			last = f
		}
	}
	if last.Sent != 7 || last.Received != 11 || last.Connections != 1 || last.Open != 0 {
		t.Errorf("the last line about it is %+v; all:\n%s", last, lines)
	}
}

// A daemon that is there and has nothing to say yet is told from one that is not.
func TestFlowsOfADaemonThatRefuses(t *testing.T) {
	dir := t.TempDir()
	listener, err := net.Listen("unix", filepath.Join(dir, "admin.sock"))
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	config := filepath.Join(dir, "cityward.toml")
	writeFile(t, config, fmt.Sprintf("[listen]\nadmin = %q\n", listener.Addr()))
	for answer, want := range map[string]string{
		"HTTP/1.0 503 Service Unavailable\r\n\r\n{\"error\":\"no round is finished yet\"}": "no round is finished yet",
		"HTTP/1.0 404 Not Found\r\n\r\nnothing":                                            "404 Not Found",
		"HTTP/1.0 200 OK\r\n\r\n[{\"pid\":":                                                "read flows: unexpected end of JSON input",
		"":                                                                                 "EOF",
	} {
		go func() {
			if conn, err := listener.Accept(); err == nil {
				_, _ = conn.Read(make([]byte, 4096))
				_, _ = io.WriteString(conn, answer)
				conn.Close()
			}
		}()
		var stdout, stderr bytes.Buffer
		status := run(t.Context(), []string{"--config", config, "flows"}, &stdout, &stderr)
		if status != exitInternal || !strings.Contains(stderr.String(), want) || strings.Count(stderr.String(), "\n") != 1 || stdout.Len() > 0 {
			t.Errorf("%q: status %d, %q, want one line about %s", answer, status, stderr.String(), want)
		}
	}
}
