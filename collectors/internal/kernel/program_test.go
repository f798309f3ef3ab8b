package kernel

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// tally is what a program of the generator moved by its own count of what its
// calls returned.
type tally struct{ sent, received, connections uint64 }

// program is a running generator. It says who it is ("am"), when it is ready,
// and at its end what it moved; programs that it starts say so on the same pipe.
type program struct {
	cmd    *exec.Cmd
	input  io.WriteCloser
	output bytes.Buffer // of errors
	ready  chan struct{}
	ended  chan struct{}
	who    []Flow // itself first
	moved  map[int]tally
}

func start(t *testing.T, n namespace, job string) *program {
	t.Helper()
	return startWith(t, n, job)
}

// startWith gives it descriptors from 3 on, which are closed here.
func startWith(t *testing.T, n namespace, job string, files ...*os.File) *program {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	p := &program{
		cmd:   exec.CommandContext(ctx, "/proc/self/exe"),
		ready: make(chan struct{}), ended: make(chan struct{}), moved: make(map[int]tally),
	}
	p.cmd.Env = environment(job)
	p.cmd.Stderr = &p.output
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if p.input, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	p.cmd.ExtraFiles = files
	n.start(t, p.cmd)
	for _, f := range files {
		_ = f.Close()
	}
	go p.listen(out)
	t.Cleanup(func() { cancel(); <-p.ended; _ = p.cmd.Wait() })
	return p
}

func (p *program) listen(out io.Reader) {
	defer close(p.ended)
	for s := bufio.NewScanner(out); s.Scan(); {
		var pid int
		var a, b, c uint64
		switch n, _ := fmt.Sscan(strings.Join(strings.Fields(s.Text())[1:], " "), &pid, &a, &b, &c); {
		case s.Text() == "ready":
			close(p.ready)
		case strings.HasPrefix(s.Text(), "am ") && n == 3:
			p.who = append(p.who, Flow{Owner: Execution{PID: pid, Start: a}, NetNS: b})
		case strings.HasPrefix(s.Text(), "moved ") && n == 4:
			p.moved[pid] = tally{a, b, c}
		}
	}
}

func (p *program) awaitReady(t *testing.T) {
	t.Helper()
	select {
	case <-p.ready:
	case <-p.ended:
		_ = p.cmd.Wait()
		t.Fatalf("ended before it was ready: %s", &p.output)
	}
}

// proceed lets a program go on that waits for the end of its input.
func (p *program) proceed(t *testing.T) {
	t.Helper()
	if err := p.input.Close(); err != nil {
		t.Fatal(err)
	}
}

// say lets a program read a byte of its input.
func (p *program) say(t *testing.T) {
	t.Helper()
	if _, err := p.input.Write([]byte{1}); err != nil {
		t.Fatal(err)
	}
}

// end waits for it and all that it started.
func (p *program) end(t *testing.T) {
	t.Helper()
	<-p.ended
	if err := p.cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, &p.output)
	}
}

func (p *program) kill(t *testing.T) {
	t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-p.ended
	if err := p.cmd.Wait(); err == nil {
		t.Error("ended by itself before it was killed")
	}
}

// What follows runs in the generator.

var moved struct{ sent, received, connections atomic.Uint64 }

func introduce() error {
	start, netns, err := identity()
	if err != nil {
		return err
	}
	fmt.Println("am", os.Getpid(), start, netns)
	return nil
}

func report() {
	fmt.Println("moved", os.Getpid(), moved.sent.Load(), moved.received.Load(), moved.connections.Load())
}

func sayReady() { fmt.Println("ready") }

// awaitProceed returns when the test closes the input.
func awaitProceed() { _, _ = io.Copy(io.Discard, os.Stdin) }

type arguments []string

func (a arguments) number(i int) int {
	n, err := strconv.Atoi(a[i])
	if err != nil {
		panic(err)
	}
	return n
}

// traffic is what the generator can do besides the jobs of the other tests.
func traffic() map[string]func(arguments) error {
	all := make(map[string]func(arguments) error)
	for _, kind := range []map[string]func(arguments) error{
		tcpTraffic(), streamTraffic(), udpTraffic(), manyTraffic(), rawTraffic(), linkTraffic(), processTraffic(), burstTraffic(), passingTraffic(),
		mountTraffic(),
	} {
		for name, part := range kind {
			if all[name] != nil {
				panic("two parts of the generator are called " + name)
			}
			all[name] = part
		}
	}
	return all
}
