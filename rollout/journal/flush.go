package journal

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/riverqueue/river"
)

// flush writes a draft. A statement costs much beside a row,
// so many rows go into one.
func flush(ctx context.Context, tx transaction, d *draft) error {
	if err := flushCampaigns(ctx, tx, d); err != nil {
		return err
	}
	if err := flushLinks(ctx, tx, d); err != nil {
		return err
	}
	if err := flushHosts(ctx, tx, d); err != nil {
		return err
	}
	if len(d.jobs) == 0 {
		return nil
	}
	params := make([]river.InsertManyParams, 0, len(d.jobs))
	for _, job := range d.jobs {
		params = append(params, insertParams(job))
	}
	if err := tx.enqueue(ctx, params); err != nil {
		return fmt.Errorf("give jobs to the queue: %w", err)
	}
	return nil
}

func flushCampaigns(ctx context.Context, tx querier, d *draft) error {
	for id, c := range d.campaigns {
		var err error
		if c.fresh {
			var zones []byte
			if zones, err = json.Marshal(c.zones); err != nil {
				return err
			}
			_, err = tx.ExecContext(ctx, "INSERT INTO campaign (id, hash, created, hosts, zones, last, seq, head, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
				string(id), c.hash, stamp(c.created), c.hosts, string(zones), string(c.last), c.seq, c.head, c.version)
		} else {
			_, err = tx.ExecContext(ctx, "UPDATE campaign SET last = ?, seq = ?, head = ?, version = ? WHERE id = ?",
				string(c.last), c.seq, c.head, c.version, string(id))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func flushLinks(ctx context.Context, tx querier, d *draft) error {
	in := inserter{ctx: ctx, tx: tx, into: "INSERT INTO event (campaign, seq, host, body, hash)"}
	for _, l := range d.links {
		if err := in.row(string(l.campaign), l.seq, string(l.host), l.body, l.hash); err != nil {
			return err
		}
	}
	return in.flush()
}

func flushHosts(ctx context.Context, tx querier, d *draft) error {
	in := inserter{ctx: ctx, tx: tx,
		into: "INSERT INTO host_run (campaign, host, attempt, running, step, wave, outcome, reason, class, image, zone, at)",
		tail: `ON CONFLICT (campaign, host) DO UPDATE SET attempt = excluded.attempt, running = excluded.running, step = excluded.step,
			wave = excluded.wave, outcome = excluded.outcome, reason = excluded.reason, class = excluded.class, image = excluded.image,
			zone = excluded.zone, at = excluded.at`}
	for key, h := range d.hosts {
		if err := in.row(string(key.campaign), string(key.host), h.attempt, string(h.running), string(h.step), h.wave, string(h.outcome),
			string(h.reason), string(h.class), h.image, h.zone, stamp(h.at)); err != nil {
			return err
		}
	}
	return in.flush()
}

// stamp is a time as the database keeps it: its order as text is its order in time.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000000Z") }

// inserter collects rows into statements of many.
type inserter struct {
	ctx        context.Context
	tx         querier
	into, tail string
	rows       int
	width      int
	args       []any
}

// rowsAtOnce keeps a statement below SQLite's limit of 32,766 parameters and its
// memory small.
const rowsAtOnce = 64

func (in *inserter) row(args ...any) error {
	in.args, in.rows, in.width = append(in.args, args...), in.rows+1, len(args)
	if in.rows < rowsAtOnce {
		return nil
	}
	return in.flush()
}

func (in *inserter) flush() error {
	if in.rows == 0 {
		return nil
	}
	row := "(" + strings.Repeat("?, ", in.width-1) + "?)"
	query := in.into + " VALUES " + strings.Repeat(row+", ", in.rows-1) + row + " " + in.tail
	_, err := in.tx.ExecContext(in.ctx, query, in.args...)
	in.args, in.rows = in.args[:0], 0
	return err
}
