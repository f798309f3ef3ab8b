// Cityward shows a city what runs on its servers, under which licences, where
// it connects, and whether citizens' data stays on hardware the city controls.
//
// The program is one binary with a file for each subcommand. This package wires
// the rooms together and holds no logic of theirs.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit statuses: promises to scripts.
const (
	exitDone     = 0
	exitFindings = 1 // findings at or above --fail-on
	exitUsage    = 2 // usage or configuration
	exitBlind    = 3 // could not see enough to say
	exitInternal = 4
)

// statusError ends the program with a status; its error may be nil when all has
// been said.
type statusError struct {
	status int
	err    error
}

func (e *statusError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.status)
	}
	return e.err.Error()
}

func (e *statusError) Unwrap() error { return e.err }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is the program: tests call it in their own process.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot(stdout, stderr)
	root.SetArgs(args)
	at := exitUsage // what cobra itself refuses: flags, arguments, names of commands
	root.PersistentPreRun = func(*cobra.Command, []string) { at = exitInternal }
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitDone
	}
	var status *statusError
	if !errors.As(err, &status) {
		status = &statusError{at, err}
	}
	if status.err != nil {
		fmt.Fprintf(stderr, "cityward: %v\n", status.err)
	}
	return status.status
}

// internal marks an error that the user can do nothing about.
func internal(err error) error { return &statusError{exitInternal, err} }

// usage marks an error in what the user wrote.
func usage(err error) error { return &statusError{exitUsage, err} }
