package journal

import (
	"context"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"wavelock/rollout"
)

// Campaign is a row of the list of campaigns.
type Campaign struct {
	ID       rollout.CampaignID
	Hash     string // of the plan
	Created  time.Time
	Hosts    int
	Last     rollout.EventKind // the last thing that happened to the campaign or a wave
	Seq      int64             // of the last event
	Running  int               // hosts that are worked on
	Outcomes map[rollout.Outcome]int
}

// Create takes a plan into the journal: the event that says so carries the plan,
// and so does the chain. The same plan again changes nothing; another one under its
// name is refused with *ConflictError.
func (j *Journal) Create(ctx context.Context, plan rollout.Plan, ev rollout.Event) error {
	body, err := json.Marshal(plan)
	if err != nil {
		return fmt.Errorf("encode the plan %s: %w", plan.ID, err)
	}
	hash := plan.Hash()
	ev.Campaign, ev.Kind, ev.Detail, ev.Data = plan.ID, rollout.EvCreated, hash, body
	zones := map[rollout.Zone]bool{}
	for _, h := range plan.Hosts {
		zones[h.Host.Zone] = true
	}
	return j.submit(ctx, &request{op: "create the campaign " + string(plan.ID), stage: func(d *draft) error {
		c, err := d.campaign(plan.ID)
		var unknown *UnknownCampaignError
		switch {
		case errors.As(err, &unknown):
		case err != nil:
			return err
		case c.hash != hash:
			return &ConflictError{plan.ID, c.hash, hash}
		default:
			return nil
		}
		d.campaigns[plan.ID] = campaignRow{fresh: true, hash: hash, created: ev.At, hosts: len(plan.Hosts), zones: slices.Sorted(maps.Keys(zones))}
		_, err = d.add([]rollout.Event{ev})
		return err
	}})
}

// Plan is the campaign's plan as it was created.
func (j *Journal) Plan(ctx context.Context, id rollout.CampaignID) (rollout.Plan, error) {
	var p rollout.Plan
	for e, err := range j.Events(ctx, id, 0) {
		if err != nil {
			return p, err
		}
		if err := json.Unmarshal(e.Data, &p); err != nil || e.Kind != rollout.EvCreated {
			return p, &ChainError{id, e.Seq, "it is not the plan"}
		}
		return p, nil
	}
	return p, &ChainError{id, 1, "the plan is missing"}
}

// Position is the last event's Seq and the version that Decide compares: the Seq
// of the last decision or person's word.
func (j *Journal) Position(ctx context.Context, id rollout.CampaignID) (seq, version int64, err error) {
	err = j.read.QueryRowContext(ctx, "SELECT seq, version FROM campaign WHERE id = ?", string(id)).Scan(&seq, &version)
	return seq, version, reading(id, err)
}

// Head is the last event's Seq and hash: what an auditor writes down.
func (j *Journal) Head(ctx context.Context, id rollout.CampaignID) (seq int64, hash string, err error) {
	var raw []byte
	err = j.read.QueryRowContext(ctx, "SELECT seq, head FROM campaign WHERE id = ?", string(id)).Scan(&seq, &raw)
	return seq, hex.EncodeToString(raw), reading(id, err)
}

func reading(id rollout.CampaignID, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sql.ErrNoRows):
		return &UnknownCampaignError{id}
	}
	return &ReadError{fmt.Sprintf("read the journal of %s", id), err}
}

// Campaigns lists all, the oldest first.
func (j *Journal) Campaigns(ctx context.Context) ([]Campaign, error) {
	fail := func(err error) ([]Campaign, error) { return nil, &ReadError{"list the campaigns", err} }
	var list []Campaign
	at := map[rollout.CampaignID]int{}
	err := each(ctx, j.read, "SELECT id, hash, created, hosts, last, seq FROM campaign ORDER BY created, id", nil, func(r row) error {
		c := Campaign{Outcomes: map[rollout.Outcome]int{}}
		var created string
		if err := r.Scan(&c.ID, &c.Hash, &created, &c.Hosts, &c.Last, &c.Seq); err != nil {
			return err
		}
		var err error
		c.Created, err = time.Parse(time.RFC3339Nano, created)
		at[c.ID] = len(list)
		list = append(list, c)
		return err
	})
	if err != nil {
		return fail(err)
	}
	err = j.tally(ctx, func(id rollout.CampaignID, o rollout.Outcome, running bool, n int) {
		i, ok := at[id]
		switch {
		case !ok: // created just now
		case running:
			list[i].Running += n
		case o != "":
			list[i].Outcomes[o] += n
		}
	})
	if err != nil {
		return fail(err)
	}
	return list, nil
}

// CampaignIDs are the names of all, the oldest first.
func (j *Journal) CampaignIDs(ctx context.Context) ([]rollout.CampaignID, error) {
	var ids []rollout.CampaignID
	err := each(ctx, j.read, "SELECT id FROM campaign ORDER BY created, id", nil, func(r row) error {
		var id rollout.CampaignID
		err := r.Scan(&id)
		ids = append(ids, id)
		return err
	})
	if err != nil {
		return nil, &ReadError{"list the campaigns", err}
	}
	return ids, nil
}

// tally counts hosts by how their last action ended. It needs nothing but an index.
func (j *Journal) tally(ctx context.Context, count func(id rollout.CampaignID, o rollout.Outcome, running bool, n int)) error {
	return each(ctx, j.read, "SELECT campaign, outcome, running <> '', count(*) FROM host_run GROUP BY campaign, outcome, running", nil, func(r row) error {
		var id rollout.CampaignID
		var o rollout.Outcome
		var running bool
		var n int
		if err := r.Scan(&id, &o, &running, &n); err != nil {
			return err
		}
		count(id, o, running, n)
		return nil
	})
}

// Image is the before-image that a campaign kept of a host; nil when there is none.
func (j *Journal) Image(ctx context.Context, id rollout.CampaignID, host rollout.HostID) (*rollout.BeforeImage, error) {
	var seq int64
	err := j.read.QueryRowContext(ctx, "SELECT image FROM host_run WHERE campaign = ? AND host = ?", string(id), string(host)).Scan(&seq)
	if errors.Is(err, sql.ErrNoRows) || (err == nil && seq == 0) {
		return nil, nil
	}
	if err != nil {
		return nil, &ReadError{fmt.Sprintf("read the before-image of %s", host), err}
	}
	e, err := j.event(ctx, id, seq)
	if err != nil {
		return nil, &ReadError{fmt.Sprintf("read the before-image of %s", host), err}
	}
	if image := imageOf(&e); image != nil && e.Host == host {
		return image, nil
	}
	return nil, &ChainError{id, seq, fmt.Sprintf("it is not the before-image of %s", host)}
}
