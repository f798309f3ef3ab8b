package main

import (
	"bytes"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// step is one command of a console block and the output shown below it.
type step struct {
	command string
	shown   []string
}

// consoleBlocks reads the commands of a Markdown file.
func consoleBlocks(t *testing.T, file string) []step {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var steps []step
	inside := false
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\n")
		switch command, found := strings.CutPrefix(line, "$ "); {
		case line == "```console":
			inside = true
		case strings.HasPrefix(line, "```"):
			inside = false
		case inside && found:
			steps = append(steps, step{command: command})
		case inside:
			last := &steps[len(steps)-1]
			last.shown = append(last.shown, line)
		}
	}
	return steps
}

// Every console block is run, but make test, which runs this test.
func TestReadme(t *testing.T) {
	steps := consoleBlocks(t, filepath.Join(repository(t), "README.md"))
	if len(steps) < 5 {
		t.Fatalf("only %d commands were found", len(steps))
	}
	dir, bin := t.TempDir(), t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, s := range steps {
		t.Run(s.command, func(t *testing.T) {
			switch s.command {
			case "make test":
			case "make run":
				compareSkeleton(t, s.shown, makeRun(t))
			default:
				cmd := exec.CommandContext(t.Context(), "bash", "-euc", s.command)
				cmd.Dir = dir
				cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
				out, err := cmd.Output()
				if err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				compareLines(t, s.shown, string(out))
			}
		})
	}
}

// makeRun runs make run until it serves, asks it as Prometheus would, and ends
// it as Ctrl-C would.
func makeRun(t *testing.T) string {
	t.Helper()
	// A connection to show, on a machine that may have none.
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	open, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "make", "run")
	cmd.Dir = repository(t)
	cmd.Stdout = &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := false
	for end := time.Now().Add(3 * time.Minute); !ready && time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if response, err := http.Get("http://127.0.0.1:19777/-/ready"); err == nil {
			ready = response.StatusCode == http.StatusOK
			response.Body.Close()
		}
	}
	page := get(t, "http://127.0.0.1:19777/metrics")
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // make tells that it was interrupted
	if !ready || !strings.Contains(page, "cityward_build_info") {
		t.Fatalf("it did not come to serve metrics:\n%s", out.String())
	}
	if !strings.Contains(out.String(), "http://127.0.0.1:19777/metrics") {
		t.Error("it does not say where it serves")
	}
	return out.String()
}

// compareSkeleton compares what every machine shows: the headings of tables and
// columns, and the checks in their order, up to the findings.
func compareSkeleton(t *testing.T, shown []string, got string) {
	t.Helper()
	// A heading has no small letter; a check is known by the form of its id.
	heading := regexp.MustCompile(`^ *([A-Z]{3,}[A-Z ]*|  [A-Z]{3}-[0-9]{3}  .*)$`)
	skeleton := func(lines []string) []string {
		var words []string
		for _, line := range lines {
			if m := heading.FindStringSubmatch(line); m != nil {
				words = append(words, strings.Fields(m[1])[0])
			}
			if strings.HasPrefix(line, "FINDINGS") {
				break
			}
		}
		// A machine without a connection or an engine has no columns there.
		return slices.DeleteFunc(words, func(w string) bool { return w == "ZONE" || w == "ENGINE" })
	}
	want, have := skeleton(shown), skeleton(strings.Split(got, "\n"))
	if !slices.Equal(want, have) || len(want) < 15 {
		t.Errorf("the README shows %v, this machine %v\n%s", want, have, got)
	}
}

// compareLines compares line by line; … stands for any lines. Numbers and
// column widths are the machine's own, and so is a check's result.
func compareLines(t *testing.T, shown []string, got string) {
	t.Helper()
	var pattern strings.Builder
	for _, line := range shown {
		if strings.TrimSpace(line) == "…" {
			pattern.WriteString(`(?:.*\n)*`)
			continue
		}
		words := strings.Fields(line)
		for i, word := range words {
			words[i] = regexp.QuoteMeta(word)
		}
		text := regexp.MustCompile(`[0-9]+`).ReplaceAllString(strings.Join(words, ` +`), `[0-9]+`)
		text = regexp.MustCompile(`\bunknown\b`).ReplaceAllString(text, `\w+`)
		pattern.WriteString(` *` + text + ` *\n`)
	}
	if !regexp.MustCompile(`^` + pattern.String() + `$`).MatchString(got) {
		t.Errorf("the README shows\n%s\nthe program writes\n%s", strings.Join(shown, "\n"), got)
	}
}
