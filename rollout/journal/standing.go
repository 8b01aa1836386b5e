package journal

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"wavelock/rollout"
)

// Restand moves hosts' standings on and answers what is new in them. Move is given
// what is known of a host, which is nothing at first.
func (j *Journal) Restand(ctx context.Context, hosts []rollout.HostID, move func(rollout.HostID, rollout.Standing) (rollout.Standing, []rollout.Drift)) ([]rollout.Drift, error) {
	var news []rollout.Drift
	for some := range slices.Chunk(hosts, hostsAtOnce) {
		err := j.db.inTx(ctx, func(tx transaction) error {
			found, err := restand(ctx, tx, some, move)
			news = append(news, found...)
			return err
		})
		if err != nil {
			return nil, &WriteError{Op: fmt.Sprintf("keep how %d hosts stand", len(hosts)), Err: err}
		}
	}
	return news, nil
}

func restand(ctx context.Context, tx transaction, hosts []rollout.HostID, move func(rollout.HostID, rollout.Standing) (rollout.Standing, []rollout.Drift)) ([]rollout.Drift, error) {
	if len(hosts) == 0 {
		return nil, nil
	}
	known, err := standings(ctx, tx, hosts)
	if err != nil {
		return nil, err
	}
	var news []rollout.Drift
	in := inserter{ctx: ctx, tx: tx, into: "INSERT INTO standing (host, open, body)", tail: "ON CONFLICT (host) DO UPDATE SET open = excluded.open, body = excluded.body"}
	for _, id := range hosts {
		next, found := move(id, known[id])
		news = append(news, found...)
		if next.Baseline == nil {
			continue
		}
		body, err := json.Marshal(next)
		if err != nil {
			return nil, err
		}
		if err := in.row(string(id), len(next.Open()), body); err != nil {
			return nil, err
		}
	}
	return news, in.flush()
}

// settle makes what campaigns left the baseline of their hosts.
func (j *Journal) settle(ctx context.Context, tx transaction, records []Record) error {
	left := map[rollout.HostID]Record{}
	var hosts []rollout.HostID
	for _, r := range records {
		if r.Left != "" && r.Observation != nil {
			left[r.Host.ID] = r
			hosts = append(hosts, r.Host.ID)
		}
	}
	_, err := restand(ctx, tx, hosts, func(id rollout.HostID, s rollout.Standing) (rollout.Standing, []rollout.Drift) {
		r := left[id]
		return s.Settle(*r.Observation, j.cfg.Policy, string(r.Left), "the campaign "+string(r.Left)+" left it as it is")
	})
	return err
}

func standings(ctx context.Context, q querier, hosts []rollout.HostID) (map[rollout.HostID]rollout.Standing, error) {
	ids := make([]any, len(hosts))
	for i, id := range hosts {
		ids[i] = string(id)
	}
	return readStandings(ctx, q, "SELECT host, body FROM standing WHERE host IN (?"+strings.Repeat(", ?", len(ids)-1)+")", ids...)
}

func readStandings(ctx context.Context, q querier, query string, args ...any) (map[rollout.HostID]rollout.Standing, error) {
	known := map[rollout.HostID]rollout.Standing{}
	err := each(ctx, q, query, args, func(r row) error {
		var id rollout.HostID
		var body []byte
		if err := r.Scan(&id, &body); err != nil {
			return err
		}
		var s rollout.Standing
		if err := json.Unmarshal(body, &s); err != nil {
			return fmt.Errorf("how %s stands: %w", id, err)
		}
		known[id] = s
		return nil
	})
	if err != nil {
		return nil, err
	}
	return known, nil
}

// Drifts are those that have not ended, by host.
func (j *Journal) Drifts(ctx context.Context) ([]rollout.Drift, error) {
	known, err := readStandings(ctx, j.read, "SELECT host, body FROM standing WHERE open > 0")
	if err != nil {
		return nil, &ReadError{"read the drifts", err}
	}
	var open []rollout.Drift
	for _, s := range known {
		open = append(open, s.Open()...)
	}
	slices.SortStableFunc(open, func(a, b rollout.Drift) int { return strings.Compare(string(a.Host), string(b.Host)) })
	return open, nil
}

// Busy are the hosts that a campaign is at work on: what is seen of them now is not drift.
func (j *Journal) Busy(ctx context.Context) (map[rollout.HostID]bool, error) {
	busy := map[rollout.HostID]bool{}
	err := each(ctx, j.read, "SELECT DISTINCT host FROM host_run WHERE running <> ''", nil, func(r row) error {
		var id rollout.HostID
		err := r.Scan(&id)
		busy[id] = true
		return err
	})
	if err != nil {
		return nil, &ReadError{"read which hosts are worked on", err}
	}
	return busy, nil
}
