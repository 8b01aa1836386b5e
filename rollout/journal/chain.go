package journal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"math"

	"wavelock/rollout"
)

// link is one event of a chain as it is stored.
type link struct {
	campaign rollout.CampaignID
	seq      int64
	host     rollout.HostID
	body     []byte // JSON; what was hashed
	hash     []byte
}

// chain is the hash of an event: over the hash before it and its bytes as stored.
// The first has nothing before it.
func chain(previous, body []byte) []byte {
	s := sha256.New()
	s.Write(previous)
	s.Write(body)
	return s.Sum(nil)
}

// walker goes along a chain and believes only what fits.
type walker struct {
	db       querier
	campaign rollout.CampaignID
	seq      int64  // of the last link
	hash     []byte // of the last link
}

// pageSize is how many links are read at once. Between pages no transaction is open,
// so that a slow reader does not keep the log from being put into the database.
const pageSize = 128

// from is a walker that stands on a link, or before the first.
func from(ctx context.Context, db querier, id rollout.CampaignID, seq int64) (*walker, error) {
	w := &walker{db: db, campaign: id, seq: seq}
	if seq == 0 {
		return w, nil
	}
	err := db.QueryRowContext(ctx, "SELECT hash FROM event WHERE campaign = ? AND seq = ?", string(id), seq).Scan(&w.hash)
	if errors.Is(err, sql.ErrNoRows) {
		return w, nil // there may be none behind it either; if there is, it does not fit
	}
	err = w.failed(err)
	return w, err
}

// page is the next links, limit at most.
func (w *walker) page(ctx context.Context, limit int) ([]link, error) {
	rows, err := w.db.QueryContext(ctx, "SELECT seq, host, body, hash FROM event WHERE campaign = ? AND seq > ? ORDER BY seq LIMIT ?", string(w.campaign), w.seq, limit)
	if err != nil {
		return nil, w.failed(err)
	}
	defer rows.Close()
	var links []link
	for rows.Next() {
		l := link{campaign: w.campaign}
		if err := rows.Scan(&l.seq, &l.host, &l.body, &l.hash); err != nil {
			return links, w.failed(err)
		}
		if err := w.step(l); err != nil {
			return links, err
		}
		links = append(links, l)
	}
	return links, w.failed(rows.Err())
}

func (w *walker) step(l link) error {
	switch {
	case l.seq != w.seq+1:
		return &ChainError{w.campaign, w.seq + 1, fmt.Sprintf("it is missing, the next is %d", l.seq)}
	case !bytes.Equal(l.hash, chain(w.hash, l.body)):
		return &ChainError{w.campaign, l.seq, "its content does not fit its hash"}
	}
	w.seq, w.hash = l.seq, l.hash
	return nil
}

func (w *walker) failed(err error) error {
	if err == nil {
		return nil
	}
	if damaged(err) {
		return &ChainError{w.campaign, w.seq + 1, "the database file is damaged there"}
	}
	return &ReadError{fmt.Sprintf("read the journal of %s", w.campaign), err}
}

// decode is the event of a link. Fields that this program does not know stay in
// the stored bytes, which are never written anew.
func (l link) decode() (rollout.Event, error) {
	var e rollout.Event
	if err := json.Unmarshal(l.body, &e); err != nil {
		return e, &ChainError{l.campaign, l.seq, "it is not an event: " + err.Error()}
	}
	if e.Seq != l.seq || e.Campaign != l.campaign || e.Host != l.host {
		return e, &ChainError{l.campaign, l.seq, "it was written as another event"}
	}
	return e, nil
}

// Events are the campaign's events after a Seq, in order. Each is checked against
// the one before it; the first that does not fit ends the sequence with *ChainError.
func (j *Journal) Events(ctx context.Context, id rollout.CampaignID, after int64) iter.Seq2[rollout.Event, error] {
	return func(yield func(rollout.Event, error) bool) {
		if _, _, err := j.Position(ctx, id); err != nil {
			yield(rollout.Event{}, err)
			return
		}
		w, err := from(ctx, j.read, id, after)
		for err == nil {
			var links []link
			links, err = w.page(ctx, pageSize)
			for _, l := range links {
				e, err := l.decode()
				if !yield(e, err) || err != nil {
					return
				}
			}
			if len(links) < pageSize {
				break
			}
		}
		if err != nil {
			yield(rollout.Event{}, err)
		}
	}
}

// event is one event, checked against the one before it.
func (j *Journal) event(ctx context.Context, id rollout.CampaignID, seq int64) (rollout.Event, error) {
	w, err := from(ctx, j.read, id, seq-1)
	if err != nil {
		return rollout.Event{}, err
	}
	links, err := w.page(ctx, 1)
	if err != nil {
		return rollout.Event{}, err
	}
	if len(links) == 0 {
		return rollout.Event{}, &ChainError{id, seq, "it is missing"}
	}
	return links[0].decode()
}

// HostEvents are the campaign's events of one host, in order. They are not checked
// against each other: Verify does that for the whole chain.
func (j *Journal) HostEvents(ctx context.Context, id rollout.CampaignID, host rollout.HostID) iter.Seq2[rollout.Event, error] {
	return func(yield func(rollout.Event, error) bool) {
		links, err := j.linksOf(ctx, id, host)
		if err != nil {
			yield(rollout.Event{}, &ReadError{fmt.Sprintf("read the journal of %s", id), err})
			return
		}
		for _, l := range links {
			e, err := l.decode()
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

func (j *Journal) linksOf(ctx context.Context, id rollout.CampaignID, host rollout.HostID) ([]link, error) {
	const query = "SELECT seq, host, body FROM event WHERE campaign = ? AND host = ? AND host <> '' ORDER BY seq"
	var links []link
	err := each(ctx, j.read, query, []any{string(id), string(host)}, func(r row) error {
		l := link{campaign: id}
		err := r.Scan(&l.seq, &l.host, &l.body)
		links = append(links, l)
		return err
	})
	if err != nil {
		return nil, err
	}
	return links, nil
}

// Verify walks the whole chain and answers *ChainError for the first event that is
// not what was written.
func (j *Journal) Verify(ctx context.Context, id rollout.CampaignID) error {
	view, err := j.read.BeginTx(ctx, j.db.oneView()) // of events and head
	if err != nil {
		return &ReadError{fmt.Sprintf("read the journal of %s", id), err}
	}
	defer view.Rollback()
	var tx querier = view
	if j.read.numbered {
		tx = numberedQuerier{view}
	}
	w, err := from(ctx, tx, id, 0)
	if err != nil {
		return err
	}
	var want link
	err = tx.QueryRowContext(ctx, "SELECT seq, head FROM campaign WHERE id = ?", string(id)).Scan(&want.seq, &want.hash)
	if errors.Is(err, sql.ErrNoRows) {
		return &UnknownCampaignError{id}
	}
	for err == nil {
		var links []link
		links, err = w.page(ctx, pageSize)
		for _, l := range links {
			if _, err := l.decode(); err != nil {
				return err
			}
		}
		if len(links) < pageSize {
			break
		}
	}
	switch {
	case err != nil:
		return w.failed(err)
	case w.seq < want.seq:
		return &ChainError{id, w.seq + 1, "it is missing, and so is what came after it"}
	case w.seq > want.seq || !bytes.Equal(w.hash, want.hash):
		return &ChainError{id, w.seq, "the campaign's row knows another end of the chain"}
	}
	return nil
}

// Latest are up to limit events of a campaign before a Seq (0: from the end), the
// newest first, of one host where one is named. They are not checked against each
// other: Verify does that for the whole chain.
func (j *Journal) Latest(ctx context.Context, id rollout.CampaignID, host rollout.HostID, before int64, limit int) ([]rollout.Event, error) {
	if before <= 0 {
		before = math.MaxInt64
	}
	query, args := "SELECT seq, host, body FROM event WHERE campaign = ? AND seq < ?", []any{string(id), before}
	if host != "" {
		query, args = query+" AND host = ? AND host <> ''", append(args, string(host))
	}
	rows, err := j.read.QueryContext(ctx, query+" ORDER BY seq DESC LIMIT ?", append(args, limit)...)
	if err != nil {
		return nil, &ReadError{fmt.Sprintf("read the journal of %s", id), err}
	}
	defer rows.Close()
	var events []rollout.Event
	for rows.Next() {
		l := link{campaign: id}
		if err := rows.Scan(&l.seq, &l.host, &l.body); err != nil {
			return nil, &ReadError{fmt.Sprintf("read the journal of %s", id), err}
		}
		e, err := l.decode()
		if err != nil {
			return nil, err
		}
		events = append(events, e)
	}
	if err := rows.Err(); err != nil {
		return nil, &ReadError{fmt.Sprintf("read the journal of %s", id), err}
	}
	return events, nil
}
