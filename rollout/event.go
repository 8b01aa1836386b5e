package rollout

import (
	"encoding/json"
	"time"
)

// CampaignID names a campaign; it is part of file names and of the host's registry.
type CampaignID string

// EventKind says what an event records.
type EventKind string

// The events. Everything that a campaign knows is the fold of these.
const (
	EvCreated  EventKind = "created"  // the plan entered the journal; Data is the plan
	EvApproved EventKind = "approved" // a person approved the plan's hash (Detail) or, with Wave > 0, that wave
	EvStarted  EventKind = "started"  // a controller began to run it
	EvStopped  EventKind = "stopped"  // that controller ended in order
	EvPaused   EventKind = "paused"
	EvResumed  EventKind = "resumed" // also lifts a halt: the halted wave is left as it is
	EvAborted  EventKind = "aborted"
	EvRollback EventKind = "rollback" // a person asked for every touched host to be restored
	EvFinished EventKind = "finished"
	EvRoster   EventKind = "roster"   // Data is the Roster: what is different in the directory from the plan, as a whole
	EvSnapshot EventKind = "snapshot" // Detail is the SHA-256 of a snapshot of the state before it

	EvWaveOpened EventKind = "wave-opened"
	EvWavePassed EventKind = "wave-passed"
	EvWaveHalted EventKind = "wave-halted" // its error budget is used up; its hosts are being restored
	EvWaveEnded  EventKind = "wave-ended"  // a halted wave has been restored as far as possible
	// EvWaveUnproven says that nothing more happens in a wave by itself and none of its hosts reached the goal. The wave
	// stays open.
	EvWaveUnproven EventKind = "wave-unproven"

	EvAction   EventKind = "action"    // an action was given to a worker
	EvStepOpen EventKind = "step-open" // written before the step is tried
	EvStepDone EventKind = "step-done" // Data is the Result
	EvStepFail EventKind = "step-fail"
	EvSettled  EventKind = "settled" // the action ended with Outcome
)

// Event is one line of the journal. Which fields are set depends on the kind.
type Event struct {
	Seq      int64      `json:"seq"` // position in the campaign's chain, from 1; set by the journal
	Campaign CampaignID `json:"campaign"`
	At       time.Time  `json:"at"`
	Actor    string     `json:"actor,omitempty"` // the person or the controller
	Kind     EventKind  `json:"kind"`

	Wave    int             `json:"wave,omitempty"` // from 1
	Host    HostID          `json:"host,omitempty"`
	Action  ActionKind      `json:"action,omitempty"`
	Attempt int             `json:"attempt,omitempty"` // of the host, counted by EvAction: the fence against zombies
	Step    StepKind        `json:"step,omitempty"`
	Outcome Outcome         `json:"outcome,omitempty"`
	Reason  Reason          `json:"reason,omitempty"`
	Class   Class           `json:"class,omitempty"` // coverage as last seen
	Detail  string          `json:"detail,omitempty"`
	Why     string          `json:"why,omitempty"`    // of an approval: the person's reason
	Ticket  string          `json:"ticket,omitempty"` // of an approval: the change ticket
	Hash    string          `json:"hash,omitempty"`   // of an approval: the plan that was looked at
	From    string          `json:"from,omitempty"`   // of a person's word: the address that it came from
	Until   time.Time       `json:"until,omitzero"`   // soak, retry, pending
	Data    json.RawMessage `json:"data,omitempty"`
}

// Class is a host's coverage: which of WinRM's doors it keeps open.
type Class string

// The classes. 47001, which http.sys keeps for WinRM's own use, and the
// compatibility listeners on 80 and 443 are not counted as doors.
const (
	ClassHTTPOnly  Class = "http-only"
	ClassBoth      Class = "both"
	ClassHTTPSOnly Class = "https-only"
	ClassNone      Class = "none"
	ClassUnknown   Class = "unknown"
)

// Classes lists the classes in the order of every table.
func Classes() []Class {
	return []Class{ClassHTTPSOnly, ClassBoth, ClassHTTPOnly, ClassNone, ClassUnknown}
}
