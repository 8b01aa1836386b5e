package journal

import (
	"bytes"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"wavelock/rollout"
)

func TestFlippedByteIsLocated(t *testing.T) {
	t.Parallel()
	path := emptyFile(t)
	j := openAt(t, path)
	create(t, j, "spring", 1)
	for _, word := range []string{"alpha", "bravo", "charlie", "delta"} {
		e := said("spring", rollout.EvPaused)
		e.Detail = word
		mustAppend(t, j, e)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(file, []byte("charlie"))
	if at < 0 || bytes.Count(file, []byte("charlie")) != 1 {
		t.Fatal("the event's bytes are not in the file once")
	}
	file[at] ^= 0x20
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	j = openAt(t, path)
	broken(t, j, 4)
	// What comes after it cannot be reached along the chain, what stands behind it can.
	if got := eventsOf(t, j, "spring", 4); len(got) != 1 || got[0].Detail != "delta" {
		t.Errorf("read %+v", got)
	}
}

// broken expects Verify and Events to stop at seq.
func broken(t *testing.T, j *Journal, seq int64) {
	t.Helper()
	var c *ChainError
	if err := j.Verify(t.Context(), "spring"); !errors.As(err, &c) || c.Seq != seq {
		t.Errorf("verify: %v, want event %d", err, seq)
	}
	last, stopped := int64(0), false
	for e, err := range j.Events(t.Context(), "spring", 0) {
		if err != nil {
			stopped = true
			if !errors.As(err, &c) || c.Seq != seq {
				t.Errorf("events: %v, want event %d", err, seq)
			}
			break
		}
		last = e.Seq
	}
	if stopped && last >= seq {
		t.Errorf("event %d was believed", last)
	}
}

func TestForgeriesAreLocated(t *testing.T) {
	t.Parallel()
	const drop = "DROP TRIGGER event_is_not_changed; DROP TRIGGER event_is_not_removed; "
	for name, forge := range map[string]struct {
		sql string
		seq int64
	}{
		"an event is removed":                       {"DELETE FROM event WHERE seq = 3", 3},
		"the end is removed":                        {"DELETE FROM event WHERE seq >= 4", 4},
		"two events change places":                  {"UPDATE event SET seq = 100 WHERE seq = 2; UPDATE event SET seq = 2 WHERE seq = 3; UPDATE event SET seq = 3 WHERE seq = 100", 2},
		"a hash is changed":                         {"UPDATE event SET hash = zeroblob(32) WHERE seq = 2", 2},
		"an event is given to a host":               {"UPDATE event SET host = 'h00000.corp.example' WHERE seq = 3", 3},
		"the head is changed":                       {"UPDATE campaign SET head = zeroblob(32)", 5},
		"the head is moved back":                    {"UPDATE campaign SET seq = 4", 5},
		"an event follows that nobody wrote":        {"INSERT INTO event SELECT campaign, 6, host, body, hash FROM event WHERE seq = 5", 6},
		"the plan is exchanged":                     {`UPDATE event SET body = cast(replace(cast(body AS text), '"seed":0', '"seed":1') AS blob) WHERE seq = 1`, 1},
		"an event is taken from another campaign's": {"UPDATE event SET (body, hash) = (SELECT body, hash FROM event WHERE campaign = 'summer') WHERE campaign = 'spring' AND seq = 1", 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJournal(t)
			create(t, j, "spring", 1)
			create(t, j, "summer", 1)
			for range 4 {
				mustAppend(t, j, said("spring", rollout.EvPaused))
			}
			j.exec(t, drop+forge.sql)
			broken(t, j, forge.seq)
		})
	}
}

func TestForgedImageIsRefused(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	create(t, j, "spring", 1)
	open := step(rollout.EvStepOpen, "spring", hostName(0), 1, rollout.StepSaveImage)
	open.Data = []byte(`{"image":{"host":"h","campaign":"spring"}}`)
	mustAppend(t, j, action("spring", hostName(0), 1), open)
	j.exec(t, "DROP TRIGGER event_is_not_changed; UPDATE event SET body = cast(replace(cast(body AS text), '\"host\":\"h\"', '\"host\":\"x\"') AS blob)")
	var c *ChainError
	if image, err := j.Image(t.Context(), "spring", hostName(0)); !errors.As(err, &c) {
		t.Errorf("image %+v, %v", image, err)
	}
}

// TestWhatCannotBeWritten shows the sentences, that nothing is left half-written,
// and that the journal goes on when the cause is gone.
func TestWhatCannotBeWritten(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ breaks, mends, want string }{
		"full":      {"PRAGMA max_page_count = 1", "PRAGMA max_page_count = 1000000", "write events of spring: the disk is full"},
		"read-only": {"PRAGMA query_only = 1", "PRAGMA query_only = 0", "write events of spring: the database is read-only"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			j := newJournal(t)
			create(t, j, "spring", 1)
			e := said("spring", rollout.EvPaused)
			e.Detail = strings.Repeat("why ", 500_000)
			j.exec(t, c.breaks)
			_, err := j.Append(t.Context(), e)
			var werr *WriteError
			if !errors.As(err, &werr) || werr.Error() != c.want || werr.Hint() == "" {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if err := j.SaveHosts(t.Context(), []Record{{Host: rollout.Host{ID: "h"}, Problem: e.Detail}}); !errors.As(err, &werr) {
				t.Errorf("keep hosts: %v", err)
			}
			if _, ok, err := j.Decide(t.Context(), "spring", 1, []rollout.Event{e}, nil); ok || !errors.As(err, &werr) {
				t.Errorf("decide: %v, %v", ok, err)
			}
			if seq, _, err := j.Position(t.Context(), "spring"); seq != 1 || err != nil {
				t.Errorf("seq %d, %v", seq, err)
			}
			j.exec(t, c.mends)
			if w := mustAppend(t, j, e); w[0].Seq != 2 {
				t.Errorf("seq %d", w[0].Seq)
			}
			if err := j.Verify(t.Context(), "spring"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFailedCommitLeavesNothingOpen has a commit refused, which leaves SQLite's
// transaction open and lets database/sql believe that it has ended.
func TestFailedCommitLeavesNothingOpen(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	create(t, j, "spring", 1)
	err := j.db.inTx(t.Context(), func(tx transaction) error {
		_, err := tx.ExecContext(t.Context(), "PRAGMA defer_foreign_keys = 1; INSERT INTO event VALUES ('nothing', 1, '', x'', x'')")
		return err
	})
	if err == nil {
		t.Fatal("an event without a campaign was committed")
	}
	mustAppend(t, j, said("spring", rollout.EvPaused))
	if n := j.count(t, "SELECT count(*) FROM event"); n != 2 {
		t.Errorf("%d events, want 2", n)
	}
}

func TestEventThatIsNoJSONIsRefusedAlone(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	create(t, j, "spring", 1)
	e := said("spring", rollout.EvPaused)
	e.Data = []byte("{")
	var werr *WriteError
	if _, err := j.Append(t.Context(), e); !errors.As(err, &werr) {
		t.Errorf("got %v", err)
	}
	mustAppend(t, j, said("spring", rollout.EvPaused))
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	open := func(name string) error {
		j, err := Open(t.Context(), Config{Path: filepath.Join(dir, name)})
		if err == nil {
			j.Close()
		}
		return err
	}
	var werr *WriteError
	if err := open("missing/wavelock.db"); !errors.As(err, &werr) || !strings.Contains(werr.Hint(), "folder") {
		t.Errorf("no folder: %v", err)
	}
	text := []byte(strings.Repeat("this is no database\n", 200))
	if err := os.WriteFile(filepath.Join(dir, "text"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open("text"); !errors.As(err, &werr) || !strings.HasSuffix(werr.Error(), "the file is not a database") {
		t.Errorf("a text: %v", err)
	}
	if left, err := os.ReadFile(filepath.Join(dir, "text")); err != nil || !bytes.Equal(left, text) {
		t.Error("the text was changed")
	}
	other, err := sql.Open("sqlite", filepath.Join(dir, "other"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Exec("CREATE TABLE recipes (name TEXT)"); err != nil {
		t.Fatal(err)
	}
	other.Close()
	var foreign *ForeignError
	if err := open("other"); !errors.As(err, &foreign) {
		t.Errorf("another program's database: %v", err)
	}
}
