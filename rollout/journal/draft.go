package journal

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"wavelock/rollout"
)

// draft is what a transaction is about to write. Every request has one of its own
// above that of the whole batch, so that a request that is refused half-way leaves
// nothing behind.
type draft struct {
	ctx   context.Context
	tx    querier
	below *draft

	campaigns map[rollout.CampaignID]campaignRow
	hosts     map[hostKey]hostRow
	links     []link
	jobs      []rollout.Job
}

func newDraft(ctx context.Context, tx querier, below *draft) *draft {
	return &draft{ctx: ctx, tx: tx, below: below, campaigns: map[rollout.CampaignID]campaignRow{}, hosts: map[hostKey]hostRow{}}
}

// join puts the draft into the one below.
func (d *draft) join(below *draft) {
	maps.Copy(below.campaigns, d.campaigns)
	maps.Copy(below.hosts, d.hosts)
	below.links = append(below.links, d.links...)
	below.jobs = append(below.jobs, d.jobs...)
}

// campaignRow is the end of a campaign's chain and what goes with it.
type campaignRow struct {
	fresh        bool // not in the database yet
	hash         string
	created      time.Time
	hosts        int
	zones        []rollout.Zone
	last         rollout.EventKind
	seq, version int64
	head         []byte
}

// hostKey names a host's row.
type hostKey struct {
	campaign rollout.CampaignID
	host     rollout.HostID
}

// hostRow is where a host stands in a campaign.
type hostRow struct {
	attempt int
	running rollout.ActionKind
	step    rollout.StepKind
	wave    int
	outcome rollout.Outcome
	reason  rollout.Reason
	class   rollout.Class
	image   int64
	zone    *string
	at      time.Time
}

func (d *draft) campaign(id rollout.CampaignID) (campaignRow, error) {
	for at := d; at != nil; at = at.below {
		if c, ok := at.campaigns[id]; ok {
			return c, nil
		}
	}
	var c campaignRow
	err := d.tx.QueryRowContext(d.ctx, "SELECT hash, last, seq, version, head FROM campaign WHERE id = ?", string(id)).
		Scan(&c.hash, &c.last, &c.seq, &c.version, &c.head)
	if errors.Is(err, sql.ErrNoRows) {
		return c, &UnknownCampaignError{id}
	}
	return c, reads(err)
}

// readError is a failure of the database in the middle of a transaction, which nobody can go on with.
type readError struct{ error }

func (e readError) Unwrap() error { return e.error }

func reads(err error) error {
	if err == nil {
		return nil
	}
	return readError{err}
}

func (d *draft) host(key hostKey) (hostRow, error) {
	for at := d; at != nil; at = at.below {
		if h, ok := at.hosts[key]; ok {
			return h, nil
		}
	}
	var h hostRow
	var zone sql.NullString
	err := d.tx.QueryRowContext(d.ctx, `SELECT attempt, running, step, wave, outcome, reason, class, image, zone
		FROM host_run WHERE campaign = ? AND host = ?`, string(key.campaign), string(key.host)).
		Scan(&h.attempt, &h.running, &h.step, &h.wave, &h.outcome, &h.reason, &h.class, &h.image, &zone)
	if errors.Is(err, sql.ErrNoRows) {
		return h, nil
	}
	if zone.Valid {
		h.zone = &zone.String
	}
	return h, reads(err)
}

// add puts events behind the chains of their campaigns.
func (d *draft) add(events []rollout.Event) ([]rollout.Event, error) {
	written := make([]rollout.Event, 0, len(events))
	for _, e := range events {
		e.At = e.At.UTC().Round(0) // as it will be read back
		if err := d.addOne(&e); err != nil {
			return nil, err
		}
		written = append(written, e)
	}
	return written, nil
}

func (d *draft) addOne(e *rollout.Event) error {
	c, err := d.campaign(e.Campaign)
	if err != nil {
		return err
	}
	c.seq++
	e.Seq = c.seq
	body, err := json.Marshal(e)
	if err != nil {
		return &WriteError{Op: fmt.Sprintf("write a %s event of %s", e.Kind, e.Campaign), Err: err}
	}
	c.head = chain(c.head, body)
	if e.Host == "" {
		c.last = e.Kind
	}
	if ofPerson(e.Kind) {
		c.version = c.seq
	}
	if e.Host != "" {
		key := hostKey{e.Campaign, e.Host}
		h, err := d.host(key)
		if err != nil {
			return err
		}
		if err := h.admits(e); err != nil {
			return err
		}
		d.hosts[key] = h.after(e)
	}
	d.campaigns[e.Campaign] = c
	d.links = append(d.links, link{campaign: e.Campaign, seq: e.Seq, host: e.Host, body: body, hash: c.head})
	return nil
}

// ofPerson are the events that change what may be decided, and that come without
// a decision.
func ofPerson(k rollout.EventKind) bool {
	switch k {
	case rollout.EvCreated, rollout.EvApproved, rollout.EvPaused, rollout.EvResumed, rollout.EvAborted, rollout.EvRollback, rollout.EvRoster:
		return true
	}
	return false
}

// decided moves the campaign's version to the end of the decision, and takes the
// jobs in.
func (d *draft) decided(id rollout.CampaignID, jobs []rollout.Job) error {
	c, err := d.campaign(id)
	if err != nil {
		return err
	}
	c.version = c.seq
	d.campaigns[id] = c
	for _, job := range jobs {
		key := hostKey{job.Campaign, job.Host}
		h, err := d.host(key)
		if err != nil {
			return err
		}
		if job.Campaign != id || h.running == "" || h.attempt != job.Attempt || h.zone != nil {
			return fmt.Errorf("the job of attempt %d on %s has no action that it carries out", job.Attempt, job.Host)
		}
		zone := string(job.Zone)
		h.zone = &zone
		d.hosts[key] = h
	}
	d.jobs = append(d.jobs, jobs...)
	return nil
}

// admits is the fence: it refuses the word of whoever does not have the host. A new
// action may find an older one running, which has then been given up.
func (h hostRow) admits(e *rollout.Event) error {
	stale := false
	switch e.Kind {
	case rollout.EvAction:
		stale = e.Attempt <= h.attempt
	case rollout.EvStepOpen, rollout.EvStepDone, rollout.EvStepFail, rollout.EvSettled:
		stale = e.Attempt != h.attempt || h.running == ""
	}
	if stale {
		return &StaleError{Host: e.Host, Have: e.Attempt, Now: h.attempt}
	}
	return nil
}

// after is the row after an event.
func (h hostRow) after(e *rollout.Event) hostRow {
	h.at = e.At
	if e.Class != "" && e.Kind != rollout.EvAction {
		h.class = e.Class
	}
	switch e.Kind {
	case rollout.EvAction:
		h.attempt, h.running, h.step, h.zone = e.Attempt, e.Action, "", nil
		if e.Wave > 0 {
			h.wave = e.Wave
		}
	case rollout.EvStepOpen:
		h.step = e.Step
	case rollout.EvStepDone, rollout.EvStepFail:
		h.step = ""
	case rollout.EvSettled:
		h.running, h.step, h.zone = "", "", nil
		h.outcome, h.reason = e.Outcome, e.Reason
	}
	// The first image is the truth: a later one could show our own work.
	if h.image == 0 && imageOf(e) != nil {
		h.image = e.Seq
	}
	return h
}

// imageOf is the before-image that an event carries; nil when it has none.
func imageOf(e *rollout.Event) *rollout.BeforeImage {
	if e.Step != rollout.StepSaveImage || len(e.Data) == 0 {
		return nil
	}
	var r rollout.Result
	if json.Unmarshal(e.Data, &r) != nil {
		return nil // it was not written as a result; nobody could restore from it
	}
	return r.Image
}
