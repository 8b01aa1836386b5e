package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"wavelock/rollout"
)

// SaveCensus adds looks at hosts to their censuses. SaveHosts does the same with
// the observations of its records; a look that is added twice counts once.
func (j *Journal) SaveCensus(ctx context.Context, looks []rollout.Observation) error {
	for some := range slices.Chunk(looks, hostsAtOnce) {
		if err := j.db.inTx(ctx, func(tx transaction) error { _, err := count(ctx, tx, some); return err }); err != nil {
			return &WriteError{Op: fmt.Sprintf("keep the clients of %d hosts", len(looks)), Err: err}
		}
	}
	return nil
}

// count adds the looks and answers the censuses of their hosts.
func count(ctx context.Context, tx transaction, looks []rollout.Observation) (map[rollout.HostID]rollout.Census, error) {
	known, err := censuses(ctx, tx, looks)
	if err != nil {
		return nil, err
	}
	in := inserter{ctx: ctx, tx: tx, into: "INSERT INTO census (host, body)", tail: "ON CONFLICT (host) DO UPDATE SET body = excluded.body"}
	grown := map[rollout.HostID]bool{}
	for _, o := range looks {
		c := known[o.Host].With(o)
		grown[o.Host] = grown[o.Host] || c.Samples != known[o.Host].Samples
		known[o.Host] = c
	}
	for host := range grown {
		if !grown[host] {
			continue
		}
		body, err := json.Marshal(known[host])
		if err != nil {
			return nil, err
		}
		if err := in.row(string(host), body); err != nil {
			return nil, err
		}
	}
	return known, in.flush()
}

// TakeProbing adds a proof that a person handed in to the census of its host, and a line
// to the record of accesses, both or none. What take refuses is answered as it is.
func (j *Journal) TakeProbing(ctx context.Context, pr rollout.Probing, now time.Time, take func(rollout.Census) (rollout.Census, error)) error {
	err := j.db.inTx(ctx, func(tx transaction) error {
		known, err := censuses(ctx, tx, []rollout.Observation{{Host: pr.Host}})
		if err != nil {
			return err
		}
		c, err := take(known[pr.Host])
		if err != nil {
			return err
		}
		body, err := json.Marshal(c)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "UPDATE census SET body = ? WHERE host = ?", body, string(pr.Host)); err != nil {
			return err
		}
		return witness(ctx, tx, rollout.Access{At: now, Kind: rollout.AccessProbe, Who: pr.By, From: pr.From,
			Detail: fmt.Sprintf("%s, proved from %s at %s: %s", pr.Host, pr.Client, pr.At.UTC().Format(time.RFC3339), pr.Why)})
	})
	var refused *rollout.ProbingError
	switch {
	case errors.As(err, &refused):
		return refused
	case err != nil:
		return &WriteError{Op: fmt.Sprintf("take the proof for %s", pr.Host), Err: err}
	}
	return nil
}

func censuses(ctx context.Context, tx transaction, looks []rollout.Observation) (map[rollout.HostID]rollout.Census, error) {
	known := map[rollout.HostID]rollout.Census{}
	if len(looks) == 0 {
		return known, nil
	}
	ids := make([]any, len(looks))
	for i, o := range looks {
		ids[i] = string(o.Host)
	}
	if err := eachCensus(ctx, tx, " WHERE host IN (?"+strings.Repeat(", ?", len(ids)-1)+")", ids, known); err != nil {
		return nil, err
	}
	return known, nil
}

// eachCensus reads the censuses that fit the condition into known.
func eachCensus(ctx context.Context, q querier, where string, args []any, known map[rollout.HostID]rollout.Census) error {
	return each(ctx, q, "SELECT host, body FROM census"+where, args, func(r row) error {
		var host rollout.HostID
		var body []byte
		if err := r.Scan(&host, &body); err != nil {
			return err
		}
		var c rollout.Census
		if err := json.Unmarshal(body, &c); err != nil {
			return fmt.Errorf("the census of %s: %w", host, err)
		}
		known[host] = c
		return nil
	})
}

// Census is who was seen at the host's ports. A host that was never sampled has a
// census of no samples, which says nothing about it.
func (j *Journal) Census(ctx context.Context, host rollout.HostID) (rollout.Census, error) {
	var body []byte
	var c rollout.Census
	err := j.read.QueryRowContext(ctx, "SELECT body FROM census WHERE host = ?", string(host)).Scan(&body)
	if errors.Is(err, sql.ErrNoRows) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal(body, &c)
	}
	if err != nil {
		return c, &ReadError{fmt.Sprintf("read the census of %s", host), err}
	}
	return c, nil
}

// looksOf are the observations that records hold.
func looksOf(records []Record) []rollout.Observation {
	var looks []rollout.Observation
	for _, r := range records {
		if r.Observation != nil {
			looks = append(looks, *r.Observation)
		}
	}
	return looks
}

// withCensus is the record with the census that belongs to it. The observation may
// be shared with others, so it is copied.
func (r Record) withCensus(c rollout.Census) Record {
	if r.Observation == nil || c.Samples == 0 {
		return r
	}
	o := *r.Observation
	o.Census = rollout.Saw(c)
	r.Observation = &o
	return r
}

// Censuses are those of all hosts that were sampled.
func (j *Journal) Censuses(ctx context.Context) (map[rollout.HostID]rollout.Census, error) {
	all := map[rollout.HostID]rollout.Census{}
	if err := eachCensus(ctx, j.read, "", nil, all); err != nil {
		return nil, &ReadError{"read the censuses", err}
	}
	return all, nil
}
