package journal

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"time"

	"wavelock/rollout"
)

// Record is what is known of a host, in and outside of campaigns.
type Record struct {
	Host        rollout.Host         `json:"host"`
	Problem     string               `json:"problem,omitempty"` // why it cannot be managed
	Class       rollout.Class        `json:"class"`
	SeenAt      time.Time            `json:"seen_at"`
	Observation *rollout.Observation `json:"observation,omitempty"`

	// Left is the campaign that left the host as it was seen: that is what later looks are held to.
	Left rollout.CampaignID `json:"-"`
}

// hostsAtOnce is how many records go into one transaction: between two of them,
// events that wait are written.
const hostsAtOnce = 512

// SaveHosts keeps what was seen. The newer sight of a host replaces the older.
// After an error, what comes first among the records may have been kept.
func (j *Journal) SaveHosts(ctx context.Context, records []Record) error {
	for some := range slices.Chunk(records, hostsAtOnce) {
		if err := j.saveHosts(ctx, some); err != nil {
			return &WriteError{Op: fmt.Sprintf("keep what was seen of %d hosts", len(records)), Err: err}
		}
	}
	return nil
}

func (j *Journal) saveHosts(ctx context.Context, records []Record) error {
	return j.db.inTx(ctx, func(tx transaction) error {
		if err := tell(ctx, tx, records); err != nil {
			return err
		}
		var rev int64
		if err := tx.QueryRowContext(ctx, "SELECT coalesce(max(rev), 0) + 1 FROM host").Scan(&rev); err != nil {
			return err
		}
		in := inserter{ctx: ctx, tx: tx, into: "INSERT INTO host (id, class, seen, body, summary, rev)",
			tail: `ON CONFLICT (id) DO UPDATE SET class = excluded.class, seen = excluded.seen, body = excluded.body,
				summary = excluded.summary, rev = excluded.rev WHERE excluded.seen >= host.seen`}
		censuses, err := count(ctx, tx, looksOf(records))
		if err != nil {
			return err
		}
		records = newest(records)
		if err := j.settle(ctx, tx, records); err != nil {
			return err
		}
		for _, r := range records {
			r = r.withCensus(censuses[r.Host.ID])
			body, err := json.Marshal(r)
			if err != nil {
				return err
			}
			summary, err := json.Marshal(j.summarize(r))
			if err != nil {
				return err
			}
			if err := in.row(string(r.Host.ID), string(classOf(r)), stamp(r.SeenAt), body, summary, rev); err != nil {
				return err
			}
		}
		return in.flush()
	})
}

// newest leaves one record of each host: PostgreSQL takes no two in one statement.
func newest(records []Record) []Record {
	at := make(map[rollout.HostID]int, len(records))
	some := make([]Record, 0, len(records))
	for _, r := range records {
		i, twice := at[r.Host.ID]
		switch {
		case !twice:
			at[r.Host.ID] = len(some)
			some = append(some, r)
		case !r.SeenAt.Before(some[i].SeenAt):
			some[i] = r
		}
	}
	return some
}

// Hosts are all hosts that are known, by name.
func (j *Journal) Hosts(ctx context.Context) ([]Record, error) {
	var all []Record
	for r, err := range j.EachHost(ctx) {
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	return all, nil
}

// EachHost are all hosts that are known, by name, one after the other: a large
// fleet's observations need not be in memory at once.
func (j *Journal) EachHost(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		last := ""
		for {
			some, err := j.someHosts(ctx, last)
			for _, r := range some {
				last = string(r.Host.ID)
				if !yield(r, nil) {
					return
				}
			}
			if err != nil {
				yield(Record{}, &ReadError{"read the known hosts", err})
			}
			if err != nil || len(some) < hostsAtOnce {
				return
			}
		}
	}
}

func (j *Journal) someHosts(ctx context.Context, after string) ([]Record, error) {
	rows, err := j.read.QueryContext(ctx, "SELECT h.body, c.body FROM host h LEFT JOIN census c ON c.host = h.id WHERE h.id > ? ORDER BY h.id LIMIT ?", after, hostsAtOnce)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var some []Record
	for rows.Next() {
		var body, census []byte
		var r Record
		var c rollout.Census
		if err := rows.Scan(&body, &census); err != nil {
			return some, err
		}
		if err := json.Unmarshal(body, &r); err != nil {
			return some, err
		}
		if census != nil { // it may have grown since the host was last looked at as a whole
			if err := json.Unmarshal(census, &c); err != nil {
				return some, fmt.Errorf("the census of %s: %w", r.Host.ID, err)
			}
		}
		some = append(some, r.withCensus(c))
	}
	return some, rows.Err()
}

// Version changes whenever an event or a host is written: whoever shows the
// journal looks again only then.
func (j *Journal) Version(ctx context.Context) (string, error) {
	var events, hosts int64
	err := j.read.QueryRowContext(ctx, "SELECT (SELECT CAST(coalesce(sum(seq), 0) AS BIGINT) FROM campaign), (SELECT coalesce(max(rev), 0) FROM host)").Scan(&events, &hosts)
	if err != nil {
		return "", &ReadError{"read how far the journal is", err}
	}
	return fmt.Sprintf("%d.%d", events, hosts), nil
}

// HostCount is how many hosts are known.
func (j *Journal) HostCount(ctx context.Context) (n int, err error) {
	if err := j.read.QueryRowContext(ctx, "SELECT count(*) FROM host").Scan(&n); err != nil {
		return 0, &ReadError{"count the known hosts", err}
	}
	return n, nil
}
