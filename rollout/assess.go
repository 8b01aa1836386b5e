package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Severity is how much a finding weighs.
type Severity string

// The severities.
const (
	Blocker Severity = "blocker" // the actions that it names are refused
	Warning Severity = "warning"
	Info    Severity = "info"
)

// Finding is one thing that a check has to say about a host.
type Finding struct {
	Reason   Reason       `json:"reason"`
	Severity Severity     `json:"severity"`
	Detail   string       `json:"detail"`
	Blocks   []ActionKind `json:"blocks,omitempty"`
	Waived   string       `json:"waived,omitempty"` // by whom and why
}

// Assessment is what one observation means.
type Assessment struct {
	Host     HostID    `json:"host"`
	Class    Class     `json:"class"`
	Findings []Finding `json:"findings,omitempty"`
}

// Blocking is the first finding that forbids the action.
func (a Assessment) Blocking(act ActionKind) (Finding, bool) {
	for _, f := range a.Findings {
		if f.Severity == Blocker && f.Waived == "" && slices.Contains(f.Blocks, act) {
			return f, true
		}
	}
	return Finding{}, false
}

// check looks at one thing. It answers only when it has something to say.
type check func(h Host, o Observation, p Policy, now time.Time) (Finding, bool)

// checks is the whole examination, in the order in which an administrator should read it.
var checks = []check{
	reached,           // nothing else can be said of a host that did not let us in
	isWhoItShouldBe,   // stale DNS must never change another computer
	essentialsRead,    // the before-image and the next step are made of them
	questionsRead,     // a check that cannot look does not say "clean"
	winRMAllowed,      // a policy that switches remote access off cuts HTTPS too
	shellAllowed,      // certreq and the firewall rule need the remote shell
	listensSomewhere,  // a blank filter means no listening at all
	listensHere,       // nor one on other addresses only
	notBeingRenamed,   // its certificate would be for the old name
	spnIsOurs,         // Kerberos would make the ticket for somebody else
	httpNotFromPolicy, // Group Policy would put it back at the next refresh
	noOtherHTTPClient, // somebody would lose the way in
	clientsMoved,      // who was seen on HTTP may not get through to HTTPS
	watchedEnough,     // who is not there now may come once a night
	listensAsPlanned,  // another port's clients are not seen, and its undo would not know when it is done
	httpsPortFree,     // another product's TLS binding is not ours to take
	oneCertificate,    // who comes by another address would get another certificate
	notRevoked,        // a renewal is due
	localRulesApply,   // else the rule for 5986 does nothing
	blockRuleWorks,    // else the brown-out would prove nothing
	clocksAgree,       // Kerberos, certificates and the undo depend on it
	schedulerRuns,     // the undo is a scheduled task
	winRMStarts,       // the undo restarts it
	noCollector,       // event sources would lose their collector
	notFetchedFrom,    // a collector comes to it over HTTP
	forwardsOverHTTPS, // its collector cannot lose HTTP before
	noDSC,             // whoever pushes its configuration comes over HTTP
	noCluster,         // cluster-aware updating needs the HTTP rule
	keyReadable,       // forwarding over HTTPS by certificate would fail
	notManaged,        // Server Manager comes over HTTP
	hyperV,            // what manages it may come over HTTP
	scvmm,
	networkController,
	bindingStrict,    // some clients are refused over HTTPS only
	certificateLogin, // some others fail over TLS 1.3 only
	ownComputer,      // we saw at the branch we sit on
	compatListener,   // port 80 or 443 stays open after 5985 is gone
}

// Assess judges one observation. It reads no clock and changes nothing.
func Assess(h Host, o Observation, p Policy, now time.Time) Assessment {
	a := Assessment{Host: h.ID, Class: ClassOf(o)}
	for _, c := range checks {
		f, found := c(h, o, p, now)
		if !found {
			continue
		}
		switch w, is := p.waiver(f.Reason, h.ID, now); {
		case !is || !waivable(f.Reason):
		case w.holds(now):
			f.Waived = fmt.Sprintf("%s: %s", w.By, w.Why)
		default: // who relied on it would not know why the host is stopped again
			f.Detail += fmt.Sprintf("; the waiver of %s (%s) ran out %s", w.By, w.Why, w.Until.UTC().Format(time.DateTime))
		}
		a.Findings = append(a.Findings, f)
		if f.Reason == ReasonNotObserved || f.Reason == ReasonAccessDenied {
			break // nothing was read that could be judged
		}
	}
	return a
}

// waivable reports whether a person may overrule the finding. Whose computer it
// is, and whether it and what it listens on were seen, are not matters of opinion.
func waivable(r Reason) bool {
	return r != ReasonOddListener && r != ReasonWrongHost && r != ReasonNotObserved && r != ReasonAccessDenied && r != ReasonNotReadable
}

// ClassOf is the host's coverage. An open HTTP port counts whatever the host says
// of its listeners. An open HTTPS port does only if one of them can be what
// answers there: any program may speak TLS. A door that is silent proves nothing.
func ClassOf(o Observation) Class {
	http := o.HTTP.State == DoorOpen
	if o.Listeners.Known {
		http = http || slices.ContainsFunc(o.Listeners.Value, isDoor(HTTP))
	}
	https := o.HTTPS.State == DoorOpen && (!o.Listeners.Known || slices.ContainsFunc(o.Listeners.Value, isDoor(HTTPS)))
	switch {
	case http && https:
		return ClassBoth
	case https && (o.Listeners.Known || closedDoor(o.HTTP)):
		return ClassHTTPSOnly
	case http && (o.Listeners.Known || closedDoor(o.HTTPS)):
		return ClassHTTPOnly
	case closedDoor(o.HTTP) && closedDoor(o.HTTPS):
		return ClassNone
	}
	return ClassUnknown
}

func closedDoor(d Door) bool { return d.State == DoorRefused || d.State == DoorOther }

func isDoor(t Transport) func(Listener) bool {
	return func(l Listener) bool {
		return l.Transport == t && l.Enabled && l.Source != SourceCompatibility
	}
}

// listener is the host's listener of a transport, when it has one.
func (o Observation) listener(t Transport) (Listener, bool) {
	if i := slices.IndexFunc(o.Listeners.Value, isDoor(t)); i >= 0 {
		return o.Listeners.Value[i], true
	}
	return Listener{}, false
}

var (
	everything  = []ActionKind{ActSecure, ActRenew, ActQuiesce, ActClose}
	onlyClosing = []ActionKind{ActQuiesce, ActClose} // HTTPS beside HTTP does no harm
)

func blocker(r Reason, acts []ActionKind, format string, args ...any) (Finding, bool) {
	return Finding{Reason: r, Severity: Blocker, Blocks: acts, Detail: fmt.Sprintf(format, args...)}, true
}

func warning(r Reason, format string, args ...any) (Finding, bool) {
	return Finding{Reason: r, Severity: Warning, Detail: fmt.Sprintf(format, args...)}, true
}

func reached(_ Host, o Observation, _ Policy, _ time.Time) (Finding, bool) {
	if o.Via != "" {
		return Finding{}, false
	}
	if o.HTTP.State == DoorNoName && o.HTTPS.State == DoorNoName {
		return blocker(ReasonNotObserved, everything, "%s: %s", ReasonNoName, ReasonNoName.Title())
	}
	return blocker(ReasonNotObserved, everything, "neither door let us in: HTTP %s, HTTPS %s", doorWord(o.HTTP), doorWord(o.HTTPS))
}

func doorWord(d Door) string {
	if d.State == DoorUnknown {
		return "not tried"
	}
	return string(d.State)
}

func isWhoItShouldBe(h Host, o Observation, _ Policy, _ time.Time) (Finding, bool) {
	if o.Identity.Denied {
		return blocker(ReasonAccessDenied, everything, "the account may log on, but read nothing: %s", o.Identity.Why)
	}
	if !o.Identity.Known {
		return blocker(ReasonWrongHost, everything, "the host did not say who it is: %s", o.Identity.Why)
	}
	id := o.Identity.Value
	if strings.EqualFold(id.FQDN, string(h.ID)) && strings.EqualFold(id.Domain, h.Domain) && id.PartOfDomain {
		return Finding{}, false
	}
	return blocker(ReasonWrongHost, everything, "%s answers as %s in the domain %s", h.ID, id.FQDN, id.Domain)
}

func essentialsRead(_ Host, o Observation, _ Policy, _ time.Time) (Finding, bool) {
	missing := slices.Concat(unread("listeners", o.Listeners), unread("certificates", o.Certificates), unread("bindings", o.Bindings), unread("before-image", o.Image))
	if len(missing) == 0 {
		return Finding{}, false
	}
	return blocker(ReasonNotReadable, everything, "not read: %s", strings.Join(missing, ", "))
}

func questionsRead(_ Host, o Observation, _ Policy, _ time.Time) (Finding, bool) {
	missing := slices.Concat(unread("policy", o.Policy), unread("clock", o.System), unread("settings", o.Service), unread("services", o.Services), unread("peers", o.Peers), unread("undo", o.Undo), unread("other uses", o.Uses))
	switch {
	case len(missing) == 0:
		return Finding{}, false
	case !o.Policy.Known:
		return blocker(ReasonNotFullyObserved, everything, "not read: %s", strings.Join(missing, ", "))
	}
	return blocker(ReasonNotFullyObserved, onlyClosing, "not read: %s", strings.Join(missing, ", "))
}

func unread[T any](name string, part Seen[T]) []string {
	switch {
	case part.Known:
		return nil
	case part.Why == "":
		return []string{name}
	}
	return []string{name + " (" + part.Why + ")"}
}

func winRMAllowed(_ Host, o Observation, _ Policy, _ time.Time) (Finding, bool) {
	if a := o.Policy.Value.AllowAutoConfig; o.Policy.Known && a != nil && !*a {
		return blocker(ReasonGPODisablesWinRM, everything, "the policy AllowAutoConfig is 0%s", o.winner("AllowAutoConfig"))
	}
	return Finding{}, false
}

func shellAllowed(_ Host, o Observation, _ Policy, _ time.Time) (Finding, bool) {
	if a := o.Policy.Value.AllowShell; o.Policy.Known && a != nil && !*a {
		return blocker(ReasonGPODisablesShell, everything, "the policy AllowRemoteShellAccess is 0")
	}
	return Finding{}, false
}

func listensSomewhere(_ Host, o Observation, _ Policy, _ time.Time) (Finding, bool) {
	s := o.Service.Value
	if o.Service.Known && s.IPv4Filter == "" && s.IPv6Filter == "" {
		return blocker(ReasonBlankFilter, everything, "IPv4Filter and IPv6Filter are both empty, so WinRM listens on no address")
	}
	return Finding{}, false
}

func httpNotFromPolicy(_ Host, o Observation, _ Policy, _ time.Time) (Finding, bool) {
	l, ok := o.listener(HTTP)
	auto := o.Policy.Value.AllowAutoConfig
	switch {
	case ok && l.Source == SourceGPO:
		return blocker(ReasonGPOListener, onlyClosing, "the HTTP listener on %d comes from Group Policy%s", l.Port, o.winner("AllowAutoConfig"))
	case o.Policy.Known && auto != nil && *auto:
		return blocker(ReasonGPOListener, onlyClosing, "the policy AllowAutoConfig is 1 and would create the HTTP listener again%s", o.winner("AllowAutoConfig"))
	}
	return Finding{}, false
}

func noOtherHTTPClient(_ Host, o Observation, p Policy, _ time.Time) (Finding, bool) {
	var others []string
	for _, peer := range o.Peers.Value {
		if peer.Port == p.HTTPPort && !peer.Self && !slices.Contains(p.Controllers, peer.Address) && !slices.Contains(others, peer.Address) {
			others = append(others, peer.Address)
		}
	}
	if len(others) == 0 {
		return Finding{}, false
	}
	slices.Sort(others)
	return blocker(ReasonHTTPClient, onlyClosing, "connected to %d right now: %s", p.HTTPPort, strings.Join(others, ", "))
}

// listensAsPlanned asks whether the listeners are those that the procedure knows how to replace, to remove and to bring
// back: at most one of a transport, for every address, on the policy's port.
func listensAsPlanned(_ Host, o Observation, p Policy, _ time.Time) (Finding, bool) {
	for _, t := range []struct {
		transport Transport
		port      int
		blocks    []ActionKind
	}{{HTTPS, p.Port, everything}, {HTTP, p.HTTPPort, onlyClosing}} {
		seen := 0
		for _, l := range o.Listeners.Value {
			if !isDoor(t.transport)(l) {
				continue
			}
			seen++
			switch {
			case l.Port != t.port:
				return blocker(ReasonOddListener, t.blocks, "the %s listener is on port %d, the policy's is %d", t.transport, l.Port, t.port)
			case l.Address != "*":
				return blocker(ReasonOddListener, t.blocks, "the %s listener on %d is for the address %q alone", t.transport, l.Port, l.Address)
			case seen > 1:
				return blocker(ReasonOddListener, t.blocks, "there is more than one %s listener", t.transport)
			}
		}
	}
	return Finding{}, false
}

func httpsPortFree(_ Host, o Observation, p Policy, _ time.Time) (Finding, bool) {
	for _, b := range o.Bindings.Value {
		if strings.HasSuffix(b.Endpoint, fmt.Sprintf(":%d", p.Port)) && !strings.EqualFold(b.AppID, WinRMAppID) {
			return blocker(ReasonPortTaken, everything, "the TLS binding %s belongs to %s", b.Endpoint, b.AppID)
		}
	}
	return Finding{}, false
}

// oneCertificate is the check that http.sys has the listener's certificate on every address. That a binding for one address
// beats the one for all is documented; which of them WinRM itself writes anew is not, so a proof by IPv4 says nothing of [::].
func oneCertificate(_ Host, o Observation, p Policy, _ time.Time) (Finding, bool) {
	l, has := o.listener(HTTPS)
	all := fmt.Sprintf("0.0.0.0:%d", p.Port)
	if !has || o.bound(p.Port) != l.Thumbprint { // which a renewal mends
		return Finding{}, false
	}
	for _, b := range o.Bindings.Value {
		if b.Endpoint != all && strings.HasSuffix(b.Endpoint, fmt.Sprintf(":%d", p.Port)) && b.Thumbprint != l.Thumbprint {
			return blocker(ReasonThumbprintDiffers, onlyClosing, "http.sys presents %s at %s, and %s everywhere else", b.Thumbprint.Short(), b.Endpoint, l.Thumbprint.Short())
		}
	}
	return Finding{}, false
}

func localRulesApply(_ Host, o Observation, p Policy, _ time.Time) (Finding, bool) {
	if allowsHTTPS(o.Firewall.Value, p.Port) {
		return Finding{}, false
	}
	for _, f := range o.Firewall.Value.Profiles {
		if f.Enabled && !f.LocalMerge && slices.Contains(p.Profiles, f.Name) {
			return blocker(ReasonLocalRulesInert, everything, "AllowLocalPolicyMerge is 0 in the %s profile: the rule for %d has to come from Group Policy", f.Name, p.Port)
		}
	}
	return Finding{}, false
}

func clocksAgree(_ Host, o Observation, p Policy, _ time.Time) (Finding, bool) {
	if skew := o.System.Value.ClockSkew.Abs(); o.System.Known && skew > p.MaxSkew.D() {
		return blocker(ReasonClockSkew, everything, "the host's clock differs by %v", skew.Round(time.Second))
	}
	return Finding{}, false
}

func schedulerRuns(_ Host, o Observation, _ Policy, _ time.Time) (Finding, bool) {
	s, ok := o.service("Schedule")
	switch {
	case !o.Services.Known:
		return Finding{}, false
	case !ok || !s.Running:
		return blocker(ReasonSchedulerOff, everything, "the service Schedule is not running, so the undo would never fire")
	case s.Start == startDisabled:
		return blocker(ReasonSchedulerOff, everything, "the service Schedule is disabled, so the undo would not fire after a restart")
	}
	return Finding{}, false
}

// startDisabled is the start mode of a service that runs at most until it is stopped, Win32_Service.
const startDisabled = "Disabled"

// winRMStarts: a service that was disabled while it runs is gone at the next restart, whatever the doors, and an undo
// that stopped it could not start it again.
func winRMStarts(_ Host, o Observation, _ Policy, _ time.Time) (Finding, bool) {
	if s, ok := o.service("WinRM"); ok && s.Start == startDisabled {
		return blocker(ReasonWinRMDisabled, everything, "the service WinRM is disabled: it runs until the next restart only, and the undo could not start it again")
	}
	return Finding{}, false
}

func noCluster(_ Host, o Observation, _ Policy, _ time.Time) (Finding, bool) {
	if s, ok := o.service("ClusSvc"); ok && s.Running {
		return blocker(ReasonClusterNode, onlyClosing, "the service ClusSvc runs: cluster-aware updating uses WinRM over HTTP")
	}
	return Finding{}, false
}

func compatListener(_ Host, o Observation, _ Policy, _ time.Time) (Finding, bool) {
	s := o.Service.Value
	switch {
	case s.CompatHTTP:
		return warning(ReasonCompatListener, "the compatibility listener on port 80 stays when 5985 is gone")
	case s.CompatHTTPS:
		return warning(ReasonCompatListener, "the compatibility listener on port 443 is on")
	}
	return Finding{}, false
}

func (o Observation) service(name string) (WindowsService, bool) {
	for _, s := range o.Services.Value {
		if strings.EqualFold(s.Name, name) {
			return s, true
		}
	}
	return WindowsService{}, false
}

// allowsHTTPS reports whether a connection to the port passes the host's firewall
// in every profile that is on, as far as the rules tell.
func allowsHTTPS(f Firewall, port int) bool {
	if len(f.Profiles) == 0 {
		return false
	}
	for _, p := range f.Profiles {
		if p.Enabled && p.BlockIn && p.Name != "public" && !slices.ContainsFunc(f.Rules, opens(p, port)) {
			return false
		}
	}
	return true
}

func opens(p FirewallProfile, port int) func(FirewallRule) bool {
	return func(r FirewallRule) bool {
		return r.Allow && r.Active && len(r.Only) == 0 && (p.LocalMerge || r.Policy) &&
			(len(r.Profiles) == 0 || slices.Contains(r.Profiles, p.Name)) && coversPort(r.Ports, port)
	}
}

func coversPort(ports []string, port int) bool {
	if len(ports) == 0 {
		return true
	}
	for _, s := range ports {
		var lo, hi int
		if n, _ := fmt.Sscanf(s, "%d-%d", &lo, &hi); n == 1 {
			hi = lo
		}
		if lo <= port && port <= hi {
			return true
		}
	}
	return false
}
