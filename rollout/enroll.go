package rollout

import (
	"fmt"
	"strings"
	"time"
)

// Route is how a host gets its certificate where none in its store is fit.
type Route string

// The routes. Whatever the route, a fit certificate in the store is used before
// another one is asked for.
const (
	RouteReuse Route = "reuse" // never ask for one
	RouteSelf  Route = "self"  // the host asks its CA, as itself
	RouteRelay Route = "relay" // the host makes key and request, this program carries the request to the CA
)

// RouteRule chooses the route, and the template, of some hosts. All that it names
// has to fit; the first rule that fits counts.
type RouteRule struct {
	Role     Role   `json:"role,omitempty"`
	OU       string `json:"ou,omitempty"` // canonical; those below it, too
	Host     HostID `json:"host,omitempty"`
	Route    Route  `json:"route"`
	Template string `json:"template,omitempty"` // empty: the policy's
}

// RouteOf is the host's route and template. Domain controllers only ever reuse:
// they are not in Domain Computers, and a new certificate may become that of LDAPS.
func (p Policy) RouteOf(h Host) (Route, string) {
	if h.Has(RoleDomainController) {
		return RouteReuse, ""
	}
	for _, r := range p.Routes {
		below := r.OU == "" || strings.EqualFold(h.OU, r.OU) || strings.HasPrefix(strings.ToLower(h.OU), strings.ToLower(r.OU)+"/")
		if below && (r.Role == "" || h.Has(r.Role)) && (r.Host == "" || r.Host == h.ID) {
			if r.Template == "" {
				r.Template = p.Template
			}
			return r.Route, r.Template
		}
	}
	if p.Route == "" {
		return RouteSelf, p.Template
	}
	return p.Route, p.Template
}

func (r Route) known() bool { return r == RouteReuse || r == RouteSelf || r == RouteRelay }

// badRoutes names what is wrong with the routes of a policy.
func (p Policy) badRoutes(bad func(wrong bool, format string, args ...any)) {
	bad(p.Route != "" && !p.Route.known(), "route: %q is not reuse, self or relay", p.Route)
	for i, r := range p.Routes {
		bad(!r.Route.known(), "routes, entry %d: %q is not reuse, self or relay", i+1, r.Route)
		bad(r.Role == "" && r.OU == "" && r.Host == "", "routes, entry %d: a role, an ou or a host is needed", i+1)
	}
	bad(p.PendingFor < 0, "pending_for: %v is negative", p.PendingFor)
}

// CertRequest is a request for a certificate on its way from the host to the CA
// and back. The private key never leaves the host.
type CertRequest struct {
	Template string    `json:"template"`
	CSR      []byte    `json:"csr"`  // PKCS #10 in DER, made on the host
	Made     time.Time `json:"made"` // from here on it may wait for so long

	CA          string `json:"ca,omitempty"`          // that has it
	Number      uint32 `json:"number,omitempty"`      // at that CA
	Certificate []byte `json:"certificate,omitempty"` // DER; issued, judged, and not yet accepted by the host
}

// defaultPendingFor is how long a CA manager has, where the policy does not say.
const defaultPendingFor = 7 * 24 * time.Hour

// PendingUntil is when a request that was made at that time is given up.
func (p Policy) PendingUntil(made time.Time) time.Time {
	if p.PendingFor > 0 {
		return made.Add(p.PendingFor.D())
	}
	return made.Add(defaultPendingFor)
}

// enroll is the way to a certificate where the store has none that is fit.
func (run HostRun) enroll(why error, now time.Time) Step {
	route, template := run.Policy.RouteOf(run.Host)
	switch {
	case route == RouteSelf && run.Done[StepEnroll] > 0, run.Done[StepAccept] > 0:
		return finish(Failed, ReasonNoCertificate, why.Error())
	case route == RouteSelf:
		return Step{Kind: StepEnroll, Why: why.Error(), Template: template}
	}
	r := run.Request
	if r == nil || r.Template != template {
		return Step{Kind: StepRequest, Why: why.Error(), Template: template}
	}
	until := run.Policy.PendingUntil(r.Made)
	switch {
	case len(r.Certificate) > 0:
		return Step{Kind: StepAccept, Request: r}
	case !now.Before(until):
		return finish(Failed, ReasonEnrollExpired, fmt.Sprintf("%s; it was made %s and waited until %s", r.where(), r.Made.UTC().Format(time.RFC3339), until.UTC().Format(time.RFC3339)))
	case r.Number != 0 && run.Done[StepSubmit] > 0:
		return finishUntil(Pending, ReasonEnrollPending, r.where(), now.Add(run.Policy.PollFor.D()))
	}
	return Step{Kind: StepSubmit, Request: r}
}

func (r CertRequest) where() string {
	if r.Number == 0 {
		return "the request has not reached a CA"
	}
	return fmt.Sprintf("request %d waits at %s", r.Number, r.CA)
}

// submitFailed ends an action whose request the CA did not take. That it cannot be
// asked is not the host's failure: the request waits, until it is too old.
func (run HostRun) submitFailed(now time.Time) (Step, bool) {
	f := run.Failure
	if f.Step != StepSubmit || !f.Transient {
		return Step{}, false
	}
	if run.Request != nil && !now.Before(run.Policy.PendingUntil(run.Request.Made)) {
		return finish(Failed, ReasonEnrollExpired, f.Error()), true
	}
	return finishUntil(Pending, f.Reason, f.Error(), now.Add(max(f.RetryAfter, run.Policy.PollFor.D()))), true
}

// learnRequest follows a request through the journal.
func (h *HostState) learnRequest(e Event, made *CertRequest) {
	switch {
	case e.Step == StepAccept:
		h.Request = nil
	case made != nil:
		h.Request = made
	}
}

// forgetRequest drops a request that the CA or the proof of its answer refused, so
// that the next attempt makes a new one.
func (h *HostState) forgetRequest(e Event) {
	switch e.Reason {
	case ReasonEnrollDenied, ReasonEnrollExpired, ReasonEnrollAnswer, ReasonEnrollRequest:
		h.Request = nil
	}
}
