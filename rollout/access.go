package rollout

import "time"

// AccessKind says what happened at the dashboard's door, or to what was taken out of it.
type AccessKind string

// The kinds of entries in the record of who came in.
const (
	AccessLogin   AccessKind = "login"   // somebody proved who they are
	AccessRefused AccessKind = "refused" // name or password wrong, or no role
	AccessLogout  AccessKind = "logout"
	AccessDenied  AccessKind = "denied" // an action that the form or the role did not allow
	AccessProbe   AccessKind = "probe"  // a proof that a client made was handed in; Detail says for which host and client, and why
	AccessReport  AccessKind = "report" // evidence was written; Detail is the SHA-256 of the file
)

// Access is one line of the record of who came in, who did not, and what left the house. What somebody
// said to a campaign is in that campaign's chain, with the address it came from.
type Access struct {
	N      int64      `json:"n"` // position, from 1; set by the journal
	At     time.Time  `json:"at"`
	Kind   AccessKind `json:"kind"`
	Who    string     `json:"who"`
	From   string     `json:"from,omitempty"` // address
	Detail string     `json:"detail,omitempty"`
}
