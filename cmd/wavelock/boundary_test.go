package main

import (
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"modernc.org/sqlite"

	"wavelock/rollout"
	"wavelock/rollout/lab"
)

// A controller that is killed, with SIGKILL, exactly when an event is about to be
// written: what the step before has done to the computer is done, and the journal does
// not have it. SQLite does it: a trigger on the journal calls die(), which this test
// binary has and the program has not.
func init() {
	sqlite.MustRegisterScalarFunction("die", 0, func(*sqlite.FunctionContext, []driver.Value) (driver.Value, error) {
		p, err := os.FindProcess(os.Getpid())
		if err == nil {
			err = p.Kill()
		}
		if err == nil {
			select {}
		}
		return nil, err
	})
}

// dieWhen has whoever writes such an event into the journal die of it.
func dieWhen(file, when string) error {
	return inJournal(file, "CREATE TRIGGER die_here AFTER INSERT ON event WHEN "+when+" BEGIN SELECT die(); END")
}

func liveOn(file string) error { return inJournal(file, "DROP TRIGGER die_here") }

func inJournal(file, statement string) error {
	db, err := sql.Open("sqlite", file)
	if err != nil {
		return err
	}
	defer db.Close()
	_, err = db.Exec(statement)
	return err
}

// boundary is an event of the whole way, before which the controller is killed.
type boundary struct {
	name   string
	when   string // in SQL
	closed bool   // HTTP is gone and the undo, too: HTTPS is the only door
	before bool   // nothing was armed yet in the action
}

// eventIs finds an event by what its body has.
func eventIs(of string, e rollout.Event) string {
	var all []string
	for key, value := range map[string]string{"kind": string(e.Kind), "action": string(e.Action), "step": string(e.Step)} {
		if value != "" {
			all = append(all, fmt.Sprintf(`CAST(%s AS TEXT) LIKE '%%"%s":"%s"%%'`, of, key, value))
		}
	}
	return strings.Join(all, " AND ")
}

// boundaries are those of a campaign that nobody interrupted. The looks of a brown-out repeat themselves.
func boundaries(t *testing.T, file string) (all []boundary) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.Query("SELECT body FROM event ORDER BY seq")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	armed, disarmed, times := false, false, map[string]int{}
	for rows.Next() {
		var body []byte
		var e rollout.Event
		if err := rows.Scan(&body); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(body, &e); err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSpace(fmt.Sprintf("%s %s %s", e.Action, e.Kind, e.Step))
		// The end of a step is written together with the beginning of the next one.
		if e.Kind == rollout.EvStepOpen || e.Kind == rollout.EvSettled || e.Kind == rollout.EvAction {
			if times[name]++; times[name] <= 2 {
				is := eventIs("new.body", e)
				if times[name] == 2 {
					is += " AND 1 < (SELECT count(*) FROM event e WHERE " + eventIs("e.body", e) + ")"
				}
				all = append(all, boundary{fmt.Sprint(name, " ", times[name]), is, disarmed, !armed})
			}
		}
		armed = e.Kind != rollout.EvAction && (armed || e.Step == rollout.StepArm)
		disarmed = disarmed || e.Action == rollout.ActClose && e.Step == rollout.StepDisarm
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestKilledAtEveryStepBoundary takes a computer the whole way, brown-out included, and
// kills the controller at each boundary between two steps. Then 5986 is cut for as long
// as HTTP is gone, and nobody comes: the computer has to open itself to us within
// undo_after and a minute. Then the network is mended and the same command goes on: the
// computer ends closed or as it was. Of the boundaries at which nothing is armed yet a
// third is tried; all: WAVELOCK_MATRIX=all.
func TestKilledAtEveryStepBoundary(t *testing.T) {
	t.Parallel()
	const most = 36
	l, err := lab.Start(t.Context(), lab.Config{Hosts: most, Seed: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	shared := t.TempDir()
	if err := l.WriteFiles(shared); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := wavelock(t, "--config", filepath.Join(shared, "wavelock.yaml"), "assess"); code != exitOK {
		t.Fatal(errs)
	}
	names := l.Names()
	first := cell(t, l, shared, names[0])
	first.goesOn(t)
	if doors := doorsOf(l, first.host, admin); doors != "https" {
		t.Fatalf("nobody interrupted it, and %s lets in by %s", first.host, doors)
	}
	all := boundaries(t, first.journal())
	if len(all) < 20 || len(all) >= most {
		t.Fatalf("%d boundaries", len(all))
	}
	for i, b := range all {
		if b.before && i%3 != 0 && os.Getenv("WAVELOCK_MATRIX") != "all" {
			continue
		}
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			cell(t, l, shared, names[i+1]).killedAt(t, b)
		})
	}
}

// killed is a campaign for one computer, with a folder and a journal of its own.
type killed struct {
	lab       *lab.Lab
	dir, host string
}

func (k *killed) journal() string { return filepath.Join(k.dir, "wavelock.db") }

// cell plans the campaign, on what was seen of all computers.
func cell(t *testing.T, l *lab.Lab, shared, host string) *killed {
	t.Helper()
	k := &killed{l, t.TempDir(), host}
	for _, name := range []string{"wavelock.yaml", "ca.pem", "password", "wavelock.db"} {
		text, err := os.ReadFile(filepath.Join(shared, name))
		if err == nil {
			if name == "wavelock.yaml" {
				s := strings.Replace(string(text), "\nselect:\n", fmt.Sprintf("\nselect:\n  names: [%q]\n", host), 1)
				text = []byte(strings.Replace(s, "\npolicy:\n", "\npolicy:\n  quiesce: 1s\n", 1))
			}
			err = os.WriteFile(filepath.Join(k.dir, name), text, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if code, _, errs := k.wavelock(t, "plan", "--out", k.plan()); code != exitOK {
		t.Fatalf("plan ends with %d: %s", code, errs)
	}
	return k
}

func (k *killed) plan() string { return filepath.Join(k.dir, "spring.json") }

func (k *killed) wavelock(t *testing.T, args ...string) (code int, out, errs string) {
	t.Helper()
	return wavelock(t, append([]string{"--config", filepath.Join(k.dir, "wavelock.yaml")}, args...)...)
}

// goesOn runs the plan until nothing more comes of it.
func (k *killed) goesOn(t *testing.T) {
	t.Helper()
	var code int
	var out, errs string
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); {
		if code, out, errs = k.wavelock(t, "run", k.plan(), "--yes"); code == exitOK || code == exitHalted {
			return
		}
		if code != exitWaiting {
			break
		}
		time.Sleep(300 * time.Millisecond) // a brown-out is looked at by whoever comes
	}
	t.Fatalf("the run ends with %d\n%s\n%s", code, out, errs)
}

func (k *killed) killedAt(t *testing.T, b boundary) {
	if err := dieWhen(k.journal(), b.when); err != nil {
		t.Fatal(err)
	}
	if out, err := program(k.dir, "run", k.plan(), "--yes", "--stay", "--quiet").CombinedOutput(); !strings.Contains(fmt.Sprint(err), "killed") {
		t.Fatalf("it is not killed: %v\n%s", err, out)
	}
	const undo, grace = 8 * time.Second, time.Minute
	if !b.closed {
		if err := k.lab.Break(k.host, "cut-https"); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		doors := doorsOf(k.lab, k.host, admin)
		for at := doors; at == "none"; at = doorsOf(k.lab, k.host, admin) {
			if time.Since(began) > undo+grace {
				t.Fatalf("%s is shut on both doors %v after the controller was killed", k.host, time.Since(began))
			}
			time.Sleep(100 * time.Millisecond)
		}
		t.Logf("killed at %s, let in by %s, open after %v", b.name, doors, time.Since(began).Round(100*time.Millisecond))
		if err := k.lab.Mend(k.host, "cut-https"); err != nil {
			t.Fatal(err)
		}
	}
	if err := liveOn(k.journal()); err != nil {
		t.Fatal(err)
	}
	k.goesOn(t)
	doors := doorsOf(k.lab, k.host, admin)
	if doors != "https" && doors != "http" || b.closed && doors != "https" {
		t.Errorf("killed at %s it ends with %s", b.name, doors)
	}
	if code, out, errs := k.wavelock(t, "journal", "verify"); code != exitOK {
		t.Errorf("the journal: %d\n%s\n%s", code, out, errs)
	}
	t.Logf("ends with %s", doors)
}
