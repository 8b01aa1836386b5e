package web

import (
	"context"
	"iter"
	"time"

	"wavelock/rollout"
)

// Source is where the pages get what they show. Everything it answers may be kept
// by the reader and is not changed any more.
type Source interface {
	// Version changes whenever anything of the others does.
	Version(ctx context.Context) (string, error)
	// Summaries are the hosts that were written after a revision, and the newest one.
	Summaries(ctx context.Context, after int64) ([]rollout.Summary, int64, error)
	// History are the changes of hosts' classes after a position.
	History(ctx context.Context, after int64) iter.Seq2[rollout.ClassChange, error]

	Campaigns(ctx context.Context) ([]rollout.CampaignID, error)
	// Campaign is a campaign as it stands; a *NotFoundError when there is none.
	Campaign(ctx context.Context, id rollout.CampaignID) (Campaign, error)
	// Rows are all hosts of a campaign.
	Rows(ctx context.Context, id rollout.CampaignID) ([]rollout.HostView, error)
	// Events are up to limit events before a Seq (0: from the end), the newest first,
	// of one host where one is named.
	Events(ctx context.Context, id rollout.CampaignID, host rollout.HostID, before int64, limit int) ([]rollout.Event, error)

	// Host is all that is known of one; a *NotFoundError when nothing is.
	Host(ctx context.Context, id rollout.HostID) (Dossier, error)
}

// Campaign is a campaign with what an auditor asks of it.
type Campaign struct {
	rollout.View
	Made      time.Time
	MadeBy    string
	Head      string // hash of the last event
	Approvals []Approval
	Expired   bool // the plan's approval was not made use of in time
	// SecondPerson says that waves want somebody else's word than the plan's.
	SecondPerson bool
}

// Approval is what was said for the plan, or for one wave of it.
type Approval struct {
	Wave  int // 0: the plan
	Name  string
	Needs bool   // the plan asks for one
	Waits string // for what, in words; empty when it waits for none
	Given []rollout.Approval
}

// Dossier is all that is known of one host.
type Dossier struct {
	Host        rollout.Host
	Problem     string
	Class       rollout.Class
	SeenAt      time.Time
	Observation *rollout.Observation
	Findings    []rollout.Finding
	Fit         *CertificateView // what a campaign would use; nil for none
	Rejected    []RejectedView
	Would       []string                // what a campaign would do to it
	Posture     *rollout.PostureVerdict // nil: it was not looked at
	Users       string                  // of HTTP, as the census says; empty without one
	Past        []Chapter
}

// CertificateView is a certificate as a page shows it.
type CertificateView struct {
	Thumbprint, Subject, Issuer string
	NotAfter                    time.Time
}

// RejectedView is a certificate that is not fit, and why.
type RejectedView struct{ Thumbprint, Code, Detail string }

// Chapter is what one campaign did to a host.
type Chapter struct {
	Campaign rollout.CampaignID
	Row      rollout.HostView
	Events   []rollout.Event // the oldest first
	Image    *rollout.BeforeImage
	Policy   *rollout.PolicyChange // what it waits for in Group Policy; nil for nothing
}

// NotFoundError is something that is not there.
type NotFoundError struct{ What string }

func (e *NotFoundError) Error() string { return e.What + " is not known" }

// Client is somebody who still uses HTTP.
type Client struct {
	Address string           `json:"address"`
	Name    string           `json:"name,omitempty"`
	Hosts   []rollout.HostID `json:"hosts"` // whom it was seen at
	First   time.Time        `json:"first,omitzero"`
	Last    time.Time        `json:"last,omitzero"`
	Samples int              `json:"samples,omitempty"` // in which it was there
	// NotMoved is on how many of the hosts it was never seen on HTTPS.
	NotMoved int `json:"not_moved,omitempty"`
}

// Census tells who still uses HTTP. Without one, the last observation of each host does.
type Census interface {
	Clients(ctx context.Context) (Clientele, error)
}

// Clientele is who still uses HTTP, and how sure that is.
type Clientele struct {
	Clients []Client
	Words   string // what the samples say, as a sentence
}
