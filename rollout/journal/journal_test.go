package journal

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"wavelock/rollout"
)

func TestMain(m *testing.M) {
	if role := os.Getenv("JOURNAL_TEST_ROLE"); role != "" {
		os.Exit(play(role, os.Getenv("JOURNAL_TEST_PATH")))
	}
	code := m.Run()
	if server.Server != nil {
		_ = server.Close() // the tests have said what there is to say
	}
	os.Exit(code)
}

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func openAt(t testing.TB, path string) *Journal {
	t.Helper()
	j, err := Open(t.Context(), Config{Path: path, Now: func() time.Time { return noon }, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

// empty is a database after its migrations: they are most of a small test's time.
var empty = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "journal")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "wavelock.db")
	j, err := Open(context.Background(), Config{Path: path})
	if err != nil {
		return nil, err
	}
	if err := j.Close(); err != nil { // puts the log into the file
		return nil, err
	}
	return os.ReadFile(path)
})

// emptyFile is the path of an empty database.
func emptyFile(t testing.TB) string {
	t.Helper()
	file, err := empty()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "wavelock.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// newJournal is an empty one: see TestOnPostgreSQL.
func newJournal(t testing.TB) *Journal { return openAt(t, newPath(t)) }

func newPath(t testing.TB) string {
	if strings.HasPrefix(t.Name(), "TestOnPostgreSQL/") {
		return onPostgres(t)
	}
	return emptyFile(t)
}

func hostName(i int) rollout.HostID { return rollout.HostID(fmt.Sprintf("h%05d.corp.example", i)) }

// planOf is a small plan of n hosts in one wave, in three zones.
func planOf(id rollout.CampaignID, n int) rollout.Plan {
	p := rollout.Plan{Version: rollout.PlanVersion, ID: id, Made: noon, Goal: rollout.GoalClose, Policy: rollout.DefaultPolicy(),
		Waves: []rollout.Wave{{Name: "all", InFlight: n, Limit: n}}}
	for i := range n {
		p.Hosts = append(p.Hosts, rollout.Planned{Class: rollout.ClassHTTPOnly,
			Host: rollout.Host{ID: hostName(i), Domain: "corp.example", Zone: []rollout.Zone{"", "dmz", "Branch Office 7"}[i%3]}})
		p.Waves[0].Hosts = append(p.Waves[0].Hosts, hostName(i))
	}
	return p
}

func create(t testing.TB, j *Journal, id rollout.CampaignID, n int) rollout.Plan {
	t.Helper()
	p := planOf(id, n)
	if err := j.Create(t.Context(), p, rollout.Event{Actor: "ann", At: noon}); err != nil {
		t.Fatal(err)
	}
	return p
}

func action(id rollout.CampaignID, host rollout.HostID, attempt int) rollout.Event {
	return rollout.Event{Campaign: id, At: noon, Kind: rollout.EvAction, Host: host, Wave: 1, Action: rollout.ActSecure, Attempt: attempt}
}

func step(kind rollout.EventKind, id rollout.CampaignID, host rollout.HostID, attempt int, s rollout.StepKind) rollout.Event {
	return rollout.Event{Campaign: id, At: noon, Kind: kind, Host: host, Action: rollout.ActSecure, Attempt: attempt, Step: s}
}

func settled(id rollout.CampaignID, host rollout.HostID, attempt int, o rollout.Outcome) rollout.Event {
	return rollout.Event{Campaign: id, At: noon, Kind: rollout.EvSettled, Host: host, Action: rollout.ActSecure, Attempt: attempt, Outcome: o, Class: rollout.ClassBoth}
}

func said(id rollout.CampaignID, kind rollout.EventKind) rollout.Event {
	return rollout.Event{Campaign: id, At: noon, Kind: kind, Actor: "ann"}
}

func mustAppend(t testing.TB, j *Journal, events ...rollout.Event) []rollout.Event {
	t.Helper()
	written, err := j.Append(t.Context(), events...)
	if err != nil {
		t.Fatal(err)
	}
	return written
}

func eventsOf(t testing.TB, j *Journal, id rollout.CampaignID, after int64) []rollout.Event {
	t.Helper()
	var all []rollout.Event
	for e, err := range j.Events(t.Context(), id, after) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, e)
	}
	return all
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	create(t, j, "spring", 2)
	h := hostName(0)
	local := time.Now().In(time.FixedZone("somewhere", 7200)) // with a monotonic reading and a zone
	first := action("spring", h, 1)
	first.At = local
	written := mustAppend(t, j, first, step(rollout.EvStepOpen, "spring", h, 1, rollout.StepInspect))
	if written[0].Seq != 2 || written[1].Seq != 3 {
		t.Errorf("written as %d and %d, want 2 and 3", written[0].Seq, written[1].Seq)
	}
	if got := eventsOf(t, j, "spring", 1); !reflect.DeepEqual(got, written) {
		t.Errorf("read back %+v\nwant %+v", got, written)
	}
	for i := range 3 * pageSize {
		mustAppend(t, j, rollout.Event{Campaign: "spring", At: noon, Kind: rollout.EvStarted, Detail: fmt.Sprint(i)})
	}
	all := eventsOf(t, j, "spring", 0)
	for i, e := range all {
		if e.Seq != int64(i+1) {
			t.Fatalf("event %d has seq %d", i+1, e.Seq)
		}
	}
	if len(all) != 3+3*pageSize {
		t.Errorf("%d events, want %d", len(all), 3+3*pageSize)
	}
	var of []int64
	for e, err := range j.HostEvents(t.Context(), "spring", h) {
		if err != nil {
			t.Fatal(err)
		}
		of = append(of, e.Seq)
	}
	if !reflect.DeepEqual(of, []int64{2, 3}) {
		t.Errorf("the host's events are %v, want 2 and 3", of)
	}
	if err := j.Verify(t.Context(), "spring"); err != nil {
		t.Error(err)
	}
	seq, head, err := j.Head(t.Context(), "spring")
	if err != nil || seq != int64(len(all)) || len(head) != 64 {
		t.Errorf("head %d %q, %v", seq, head, err)
	}
	if got := eventsOf(t, j, "spring", seq); len(got) != 0 {
		t.Errorf("%d events after the last", len(got))
	}
}

// TestChainIsWhatTheAuditorComputes computes the chain as the documentation says it:
// SHA-256 over the previous hash and the stored bytes.
func TestChainIsWhatTheAuditorComputes(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	create(t, j, "spring", 1)
	mustAppend(t, j, said("spring", rollout.EvApproved), said("spring", rollout.EvPaused))
	rows, err := j.read.QueryContext(t.Context(), "SELECT body FROM event WHERE campaign = 'spring' ORDER BY seq")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var hash []byte
	for rows.Next() {
		var body []byte
		if err := rows.Scan(&body); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(append(hash, body...))
		hash = sum[:]
	}
	if _, head, err := j.Head(t.Context(), "spring"); err != nil || head != hex.EncodeToString(hash) {
		t.Errorf("the head is %s, computed %x, %v", head, hash, err)
	}
}

func TestReaderMayStopAndWrite(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	create(t, j, "spring", 1)
	n := 0
	for _, err := range j.Events(t.Context(), "spring", 0) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 20 {
			break
		}
		mustAppend(t, j, said("spring", rollout.EvStarted)) // goes on being read
	}
	if seq, _, err := j.Position(t.Context(), "spring"); err != nil || seq > 20 {
		t.Errorf("seq %d, %v", seq, err)
	}
}

func TestPlanIsPartOfTheChain(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	p := create(t, j, "spring", 50)
	got, err := j.Plan(t.Context(), "spring")
	if err != nil {
		t.Fatal(err)
	}
	if got.Hash() != p.Hash() || !reflect.DeepEqual(got, p) {
		t.Error("the plan is not the one that was created")
	}
	if err := j.Create(t.Context(), p, rollout.Event{At: noon}); err != nil {
		t.Errorf("the same plan again: %v", err)
	}
	p.Seed++
	var conflict *ConflictError
	if err := j.Create(t.Context(), p, rollout.Event{At: noon}); !errors.As(err, &conflict) {
		t.Errorf("another plan under the same name: %v", err)
	}
	if n := len(eventsOf(t, j, "spring", 0)); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
	var unknown *UnknownCampaignError
	if _, err := j.Plan(t.Context(), "summer"); !errors.As(err, &unknown) {
		t.Errorf("plan of nothing: %v", err)
	}
	if _, err := j.Append(t.Context(), said("summer", rollout.EvPaused)); !errors.As(err, &unknown) {
		t.Errorf("a word to nothing: %v", err)
	}
	if err := j.Verify(t.Context(), "summer"); !errors.As(err, &unknown) {
		t.Errorf("verify nothing: %v", err)
	}
}

func TestUnknownFieldsSurvive(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	create(t, j, "spring", 1)
	mustAppend(t, j, said("spring", rollout.EvApproved))
	// A newer program has written an event with a field that this one does not know.
	body := []byte(`{"seq":3,"campaign":"spring","at":"2026-11-23T12:00:00Z","kind":"omen","omen":{"sky":"red"}}`)
	c := j.rowOf(t, "spring")
	hash := chain(c.head, body)
	j.exec(t, "INSERT INTO event (campaign, seq, host, body, hash) VALUES ('spring', 3, '', ?, ?)", body, hash)
	j.exec(t, "UPDATE campaign SET seq = 3, head = ? WHERE id = 'spring'", hash)
	mustAppend(t, j, said("spring", rollout.EvPaused))
	if err := j.Verify(t.Context(), "spring"); err != nil {
		t.Error(err)
	}
	if e := eventsOf(t, j, "spring", 2)[0]; e.Kind != "omen" {
		t.Errorf("kind %q", e.Kind)
	}
	var stored []byte
	if err := j.read.QueryRowContext(t.Context(), "SELECT body FROM event WHERE seq = 3").Scan(&stored); err != nil || string(stored) != string(body) {
		t.Errorf("stored %s, %v", stored, err)
	}
}

func (j *Journal) exec(t testing.TB, query string, args ...any) {
	t.Helper()
	if _, err := j.write.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatal(err)
	}
}

func (j *Journal) rowOf(t testing.TB, id rollout.CampaignID) campaignRow {
	t.Helper()
	var c campaignRow
	if err := j.read.QueryRowContext(t.Context(), "SELECT seq, version, head FROM campaign WHERE id = ?", string(id)).Scan(&c.seq, &c.version, &c.head); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestEventsAreNeverChanged(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	create(t, j, "spring", 1)
	for _, query := range []string{"UPDATE event SET body = '{}'", "DELETE FROM event"} {
		if _, err := j.write.ExecContext(t.Context(), query); err == nil {
			t.Errorf("%s is allowed", query)
		}
	}
}

func TestBeforeImage(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	create(t, j, "spring", 1)
	h := hostName(0)
	if image, err := j.Image(t.Context(), "spring", h); image != nil || err != nil {
		t.Fatalf("image %v, %v before there is one", image, err)
	}
	withImage := func(kind rollout.EventKind, campaign string) rollout.Event {
		e := step(kind, "spring", h, 1, rollout.StepSaveImage)
		data, err := json.Marshal(rollout.Result{Image: &rollout.BeforeImage{Host: h, At: noon, Campaign: campaign}})
		if err != nil {
			t.Fatal(err)
		}
		e.Data = data
		return e
	}
	mustAppend(t, j, action("spring", h, 1), withImage(rollout.EvStepOpen, "first"))
	mustAppend(t, j, withImage(rollout.EvStepDone, "second"))
	image, err := j.Image(t.Context(), "spring", h)
	if err != nil || image == nil || image.Campaign != "first" || image.Host != h {
		t.Errorf("image %+v, %v; want the first", image, err)
	}
}

func TestCampaignsAreCounted(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	if list, err := j.Campaigns(t.Context()); err != nil || len(list) != 0 {
		t.Fatalf("%v, %v", list, err)
	}
	create(t, j, "spring", 6)
	create(t, j, "autumn", 1)
	for i := range 5 {
		mustAppend(t, j, action("spring", hostName(i), 1))
	}
	mustAppend(t, j, settled("spring", hostName(0), 1, rollout.Passed), settled("spring", hostName(1), 1, rollout.Passed), settled("spring", hostName(2), 1, rollout.Failed))
	mustAppend(t, j, said("spring", rollout.EvPaused))
	list, err := j.Campaigns(t.Context())
	if err != nil || len(list) != 2 {
		t.Fatalf("%v, %v", list, err)
	}
	c := list[1]
	want := Campaign{ID: "spring", Hash: c.Hash, Created: noon, Hosts: 6, Last: rollout.EvPaused, Seq: 10, Running: 2,
		Outcomes: map[rollout.Outcome]int{rollout.Passed: 2, rollout.Failed: 1}}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestKnownHosts(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	var records []Record
	for i := range 2*hostsAtOnce + 3 {
		records = append(records, Record{Host: rollout.Host{ID: hostName(i), Domain: "corp.example"}, Class: rollout.ClassHTTPOnly, SeenAt: noon,
			Observation: &rollout.Observation{Host: hostName(i), At: noon, Via: rollout.HTTP}})
	}
	if err := j.SaveHosts(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	got, err := j.Hosts(t.Context())
	if err != nil || !reflect.DeepEqual(got, records) {
		t.Fatalf("%d hosts, %v; not what was kept", len(got), err)
	}
	newer, older := records[0], records[1]
	newer.SeenAt, newer.Problem, newer.Observation = noon.Add(time.Nanosecond), "no name", nil
	older.SeenAt, older.Class = noon.Add(-time.Second), rollout.ClassBoth
	if err := j.SaveHosts(t.Context(), []Record{newer, older}); err != nil {
		t.Fatal(err)
	}
	got, err = j.Hosts(t.Context())
	if err != nil || !reflect.DeepEqual(got[0], newer) || !reflect.DeepEqual(got[1], records[1]) {
		t.Errorf("the newer sight does not win: %+v %+v, %v", got[0], got[1], err)
	}
}

func TestClosedJournalRefuses(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	create(t, j, "spring", 1)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	var werr *WriteError
	if _, err := j.Append(t.Context(), said("spring", rollout.EvPaused)); !errors.As(err, &werr) {
		t.Errorf("append to a closed journal: %v", err)
	}
	if err := j.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
}

func TestCancelledCallerWritesNothing(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	create(t, j, "spring", 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := j.Append(ctx, said("spring", rollout.EvPaused))
	var werr *WriteError
	if !errors.Is(err, context.Canceled) || errors.As(err, &werr) {
		t.Errorf("got %v, want a cancellation that is no failure of the journal", err)
	}
	if seq, _, err := j.Position(t.Context(), "spring"); seq != 1 || err != nil {
		t.Errorf("seq %d, %v", seq, err)
	}
}
