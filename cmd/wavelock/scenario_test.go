package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"wavelock/rollout"
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
			"rebind": cmdRebind, "dies": cmdDies, "lives": cmdLives, "let-in": cmdLetIn, "drift-plan": cmdDriftPlan, "is-killed": cmdIsKilled, "delete-journal": cmdDeleteJournal,
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

// dies DIR ACTION STEP has whoever is about to begin that step, or to end the action where STEP is "settled", killed.
func cmdDies(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 3, "dies DIR ACTION STEP|settled")
	e := rollout.Event{Kind: rollout.EvStepOpen, Action: rollout.ActionKind(args[1]), Step: rollout.StepKind(args[2])}
	if args[2] == string(rollout.EvSettled) {
		e.Kind, e.Step = rollout.EvSettled, ""
	}
	ts.Check(dieWhen(ts.MkAbs(filepath.Join(args[0], "wavelock.db")), eventIs("new.body", e)))
}

// lives DIR ends that.
func cmdLives(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "lives DIR")
	ts.Check(liveOn(ts.MkAbs(filepath.Join(args[0], "wavelock.db"))))
}

// is-killed PROGRAM [ARG...] runs a program that has to be killed.
func cmdIsKilled(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) > 0, "is-killed PROGRAM [ARG...]")
	if err := ts.Exec(args[0], args[1:]...); err == nil || !strings.Contains(err.Error(), "killed") {
		ts.Fatalf("it is not killed: %v", err)
	}
}

// let-in DIR HOST PORT waits until a stranger gets in there, for as long as an undo may take and a minute.
func cmdLetIn(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 3, "let-in DIR HOST PORT")
	port, err := strconv.Atoi(args[2])
	ts.Check(err)
	for begun := time.Now(); time.Since(begun) < 68*time.Second; time.Sleep(50 * time.Millisecond) {
		if wsmanAnswers(labOf(ts, args[0]), args[1], port, stranger) {
			ts.Logf("a stranger gets in after %v", time.Since(begun).Round(time.Millisecond))
			return
		}
	}
	ts.Fatalf("%s lets no stranger in on %d", args[1], port)
}

// drift-plan NAME GOAL sets a variable to the name of the campaign that drift has opened.
func cmdDriftPlan(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 2, "drift-plan NAME GOAL")
	files, err := filepath.Glob(ts.MkAbs("drift-" + args[1] + "-*.json"))
	ts.Check(err)
	if len(files) != 1 {
		ts.Fatalf("there are the plans %v", files)
	}
	ts.Setenv(args[0], strings.TrimSuffix(filepath.Base(files[0]), ".json"))
}

// delete-journal DIR deletes the database with whatever lies beside it.
func cmdDeleteJournal(ts *testscript.TestScript, neg bool, args []string) {
	need(ts, neg, len(args) == 1, "delete-journal DIR")
	files, err := filepath.Glob(ts.MkAbs(filepath.Join(args[0], "wavelock.db*")))
	ts.Check(err)
	if len(files) == 0 {
		ts.Fatalf("there is no database in %s", args[0])
	}
	for _, f := range files {
		ts.Check(os.Remove(f))
	}
}
