package main

import (
	"errors"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

var update = flag.Bool("update", false, "renew the expected output in scripts")

func TestMain(m *testing.M) {
	switch os.Getenv(confineVariable) {
	case "1":
		os.Exit(runConfined())
	case "0":
		main()
	case "traffic":
		os.Exit(runTraffic())
	case "sink":
		os.Exit(runSink())
	}
	testscript.Main(m, map[string]func(){"cityward": main})
}

// The scripts hold what users hold on to: commands, output, exit status.
func TestScripts(t *testing.T) {
	host, err := filepath.Abs("../../collectors/testdata/host")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOST", host) // a machine of fixture files
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"status": status,
		},
	})
}

// status N COMMAND... runs a command and demands its exit status, which
// testscript's own exec does not tell.
func status(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = exitStatus(err)
	}
	if got != args[0] {
		ts.Fatalf("exit status %s, want %s", got, args[0])
	}
}

func exitStatus(err error) string {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return strconv.Itoa(exit.ExitCode())
	}
	return err.Error()
}
