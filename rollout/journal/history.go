package journal

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"wavelock/rollout"
)

// sight is what the database knows of a host before it is seen anew.
type sight struct {
	class rollout.Class
	seen  string
	told  bool // its class is in the history
}

// sights are those of some hosts.
func sights(ctx context.Context, tx querier, records []Record) (map[rollout.HostID]sight, error) {
	if len(records) == 0 {
		return nil, nil
	}
	ids := make([]any, len(records))
	for i, r := range records {
		ids[i] = string(r.Host.ID)
	}
	known := map[rollout.HostID]sight{}
	err := each(ctx, tx, "SELECT id, class, seen, summary IS NOT NULL FROM host WHERE id IN (?"+strings.Repeat(", ?", len(ids)-1)+")", ids, func(r row) error {
		var id rollout.HostID
		var s sight
		err := r.Scan(&id, &s.class, &s.seen, &s.told)
		known[id] = s
		return err
	})
	if err != nil {
		return nil, err
	}
	return known, nil
}

// tell adds to the history what the records change of it.
func tell(ctx context.Context, tx querier, records []Record) error {
	known, err := sights(ctx, tx, records)
	if err != nil {
		return err
	}
	var last int64
	var head []byte
	err = tx.QueryRowContext(ctx, "SELECT n, hash FROM class_change ORDER BY n DESC LIMIT 1").Scan(&last, &head)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	in := inserter{ctx: ctx, tx: tx, into: "INSERT INTO class_change (n, body, hash)"}
	for _, r := range records {
		class := classOf(r)
		before, old := known[r.Host.ID]
		if old && (stamp(r.SeenAt) < before.seen || (before.told && before.class == class)) {
			continue
		}
		known[r.Host.ID] = sight{class, stamp(r.SeenAt), true}
		last++
		body, err := json.Marshal(rollout.ClassChange{N: last, At: r.SeenAt.UTC().Round(0), Host: r.Host.ID, Class: class})
		if err != nil {
			return err
		}
		head = chain(head, body)
		if err := in.row(last, body, head); err != nil {
			return err
		}
	}
	return in.flush()
}

// classOf is the record's class; a host that was never seen is of the unknown one.
func classOf(r Record) rollout.Class {
	if r.Class == "" {
		return rollout.ClassUnknown
	}
	return r.Class
}

// History are the changes of hosts' classes after a position, in the order in which
// they became known. Each is checked against the one before it.
func (j *Journal) History(ctx context.Context, after int64) iter.Seq2[rollout.ClassChange, error] {
	return func(yield func(rollout.ClassChange, error) bool) {
		fail := func(err error) { yield(rollout.ClassChange{}, &ReadError{"read the history of the coverage", err}) }
		n, hash := after, []byte(nil)
		if after > 0 {
			if err := j.read.QueryRowContext(ctx, "SELECT hash FROM class_change WHERE n = ?", after).Scan(&hash); err != nil {
				fail(err)
				return
			}
		}
		for {
			some, head, err := j.someChanges(ctx, n, hash)
			for _, c := range some {
				if !yield(c, nil) {
					return
				}
			}
			if err != nil {
				fail(err)
				return
			}
			if len(some) < historyPage {
				return
			}
			n, hash = some[len(some)-1].N, head
		}
	}
}

// historyPage is how many changes are read at once.
const historyPage = 4096

func (j *Journal) someChanges(ctx context.Context, after int64, hash []byte) ([]rollout.ClassChange, []byte, error) {
	rows, err := j.read.QueryContext(ctx, "SELECT n, body, hash FROM class_change WHERE n > ? ORDER BY n LIMIT ?", after, historyPage)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	var some []rollout.ClassChange
	for rows.Next() {
		var n int64
		var body, stored []byte
		if err := rows.Scan(&n, &body, &stored); err != nil {
			return some, hash, err
		}
		var c rollout.ClassChange
		if err := json.Unmarshal(body, &c); err != nil || n != after+1 || c.N != n || !bytes.Equal(stored, chain(hash, body)) {
			return some, hash, &HistoryError{N: after + 1}
		}
		some, after, hash = append(some, c), n, stored
	}
	return some, hash, rows.Err()
}

// HistoryHead is the position and hash of the newest change; 0 and nothing before the first.
func (j *Journal) HistoryHead(ctx context.Context) (n int64, hash string, err error) {
	return j.historyHash(ctx, "SELECT n, hash FROM class_change ORDER BY n DESC LIMIT 1")
}

// HistoryHash is the hash of the history at a position: what a report wrote down then.
func (j *Journal) HistoryHash(ctx context.Context, n int64) (string, error) {
	_, hash, err := j.historyHash(ctx, "SELECT n, hash FROM class_change WHERE n = ?", n)
	return hash, err
}

func (j *Journal) historyHash(ctx context.Context, query string, args ...any) (n int64, hash string, err error) {
	var raw []byte
	err = j.read.QueryRowContext(ctx, query, args...).Scan(&n, &raw)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return 0, "", &ReadError{"read the history of the coverage", err}
	}
	return n, hex.EncodeToString(raw), nil
}

// HashAt is the hash of a campaign's event: the head of its chain at that time.
// It is empty when there is no such event.
func (j *Journal) HashAt(ctx context.Context, id rollout.CampaignID, seq int64) (string, error) {
	var raw []byte
	err := j.read.QueryRowContext(ctx, "SELECT hash FROM event WHERE campaign = ? AND seq = ?", string(id), seq).Scan(&raw)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", &ReadError{fmt.Sprintf("read the journal of %s", id), err}
	}
	return hex.EncodeToString(raw), nil
}

// Summaries are the hosts that were written after a revision, and the newest
// revision. It reads what the writer made of them, not the observations.
func (j *Journal) Summaries(ctx context.Context, after int64) (some []rollout.Summary, rev int64, err error) {
	fail := func(err error) ([]rollout.Summary, int64, error) {
		return nil, after, &ReadError{"read the summaries of hosts", err}
	}
	rows, err := j.read.QueryContext(ctx, "SELECT rev, summary, CASE WHEN summary IS NULL THEN body END FROM host WHERE rev > ? ORDER BY rev, id", after)
	if err != nil {
		return fail(err)
	}
	defer rows.Close()
	var stored []storedSummary
	rev = after
	for rows.Next() {
		var s storedSummary
		if err := rows.Scan(&rev, &s.summary, &s.body); err != nil {
			return fail(err)
		}
		stored = append(stored, s)
	}
	if err := rows.Err(); err != nil {
		return fail(err)
	}
	some = make([]rollout.Summary, len(stored))
	g := errgroup.Group{} // decoding is most of the time that a large fleet takes
	g.SetLimit(runtime.GOMAXPROCS(0))
	for from := 0; from < len(stored); from += historyPage {
		to := min(from+historyPage, len(stored))
		g.Go(func() (err error) {
			for i := from; i < to && err == nil; i++ {
				some[i], err = j.decodeSummary(stored[i].summary, stored[i].body)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fail(err)
	}
	return some, rev, nil
}

type storedSummary struct{ summary, body []byte }

// decodeSummary takes what was kept, or for a host of an older database makes it.
func (j *Journal) decodeSummary(summary, body []byte) (s rollout.Summary, err error) {
	if summary != nil {
		err = json.Unmarshal(summary, &s)
		return s, err
	}
	var r Record
	if err := json.Unmarshal(body, &r); err != nil {
		return s, err
	}
	return j.summarize(r), nil
}

func (j *Journal) summarize(r Record) rollout.Summary {
	at := r.SeenAt
	if at.IsZero() {
		at = time.Unix(0, 0).UTC()
	}
	return rollout.Summarize(r.Host, r.Problem, r.Observation, j.cfg.Policy, j.cfg.Posture, at)
}

// Host is what is known of one host; ok is false when nothing is.
func (j *Journal) Host(ctx context.Context, id rollout.HostID) (r Record, ok bool, err error) {
	var body []byte
	err = j.read.QueryRowContext(ctx, "SELECT body FROM host WHERE id = ?", string(id)).Scan(&body)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return r, false, nil
	case err == nil:
		err = json.Unmarshal(body, &r)
	}
	if err != nil {
		return r, false, &ReadError{fmt.Sprintf("read what is known of %s", id), err}
	}
	return r, true, nil
}
