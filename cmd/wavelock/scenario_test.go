package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"wavelock/rollout/lab"
)

// TestScenarios holds the program to its safety claims, one file a claim: each is a
// session with a lab in which something goes wrong. Doors are looked at on the
// computers themselves, not through the program, and every file ends with books: who
// is reached by which door, asked on the wire.
func TestScenarios(t *testing.T) {
	dir := filepath.Join("..", "..", "testdata", "scenario")
	files, err := filepath.Glob(filepath.Join(dir, "*.txtar"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there is no scenario in %s, %v", dir, err)
	}
	for _, f := range files {
		if text, err := os.ReadFile(f); err != nil || !strings.Contains(string(text), "\nbooks . ") {
			t.Errorf("%s does not end with books, %v", f, err)
		}
	}
	testscript.Run(t, testscript.Params{
		Dir: dir,
		Setup: func(e *testscript.Env) error {
			e.Setenv("NO_COLOR", "1")
			port, err := freePort()
			if err != nil {
				return err
			}
			e.Setenv("PORT", port)
			e.Values[labsKey{}] = map[string]*lab.Lab{}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": cmdExits, "lab": cmdLab, "break": cmdBreak, "mend": cmdMend, "rewrite": cmdRewrite, "meddle": cmdMeddle,
			"tries": cmdTries, "reboot": cmdReboot, "door": cmdDoor, "books": cmdBooks, "turned-away": cmdTurnedAway,
			"visit": cmdVisit, "leave": cmdLeave, "await-text": cmdAwaitText, "secretless": cmdSecretless,
		},
	})
}

// reboot DIR HOST restarts a computer.
func cmdReboot(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "reboot DIR HOST")
	ts.Check(labOf(ts, args[0]).Reboot(args[1]))
}

// door DIR HOST PORT open|shut [WITHIN] waits until the computer's port is so.
func cmdDoor(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) >= 4, "door DIR HOST PORT open|shut [WITHIN]")
	port, err := strconv.Atoi(args[2])
	ts.Check(err)
	within := 90 * time.Second
	if len(args) > 4 {
		within, err = time.ParseDuration(args[4])
		ts.Check(err)
	}
	begun := time.Now()
	for ; time.Since(begun) < within; time.Sleep(20 * time.Millisecond) {
		if labOf(ts, args[0]).Open(args[1], port) == (args[3] == "open") {
			ts.Logf("%s of %s is %s after %v", args[2], args[1], args[3], time.Since(begun).Round(time.Millisecond))
			return
		}
	}
	ts.Fatalf("%s of %s is not %s within %v", args[2], args[1], args[3], within)
}

// tries PROGRAM [ARG...] runs a program, however it ends.
func cmdTries(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) > 0, "tries PROGRAM [ARG...]")
	if err := ts.Exec(args[0], args[1:]...); err != nil {
		ts.Logf("%v", err)
	}
}
