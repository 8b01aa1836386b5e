package rollout

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"wavelock/pki"
)

// Uses are what a host's registry and disk tell of other programs that use WinRM.
type Uses struct {
	Subscriptions []Subscription `json:"subscriptions,omitempty"` // of an event collector
	Rename        string         `json:"rename,omitempty"`        // the name that the computer will have after its restart
	DSC           bool           `json:"dsc,omitempty"`           // the local configuration manager has a configuration
	Forwards      []Forwarding   `json:"forwards,omitempty"`      // where it sends its events
}

// Subscription is one of an event collector.
type Subscription struct {
	Name    string   `json:"name"`
	Enabled bool     `json:"enabled"`
	HTTPS   bool     `json:"https,omitempty"`   // it asks for HTTPS
	Fetches bool     `json:"fetches,omitempty"` // collector-initiated: the collector connects to its sources
	Sources []string `json:"sources,omitempty"` // full names of the computers, in lower case
}

// ClientKey is the private key of a certificate that a computer may log on to a collector with.
type ClientKey struct {
	Thumbprint pki.Thumbprint `json:"thumbprint"`
	Subject    string         `json:"subject"`
	ACL        string         `json:"acl,omitempty"` // who may use it, SDDL
	Why        string         `json:"why,omitempty"` // why that is not known
}

// Forwarding is a collector that the host sends its events to, as the policy "Configure
// target Subscription Manager" has it: Server=http://wec1.corp.example:5985/wsman/SubscriptionManager/WEC,Refresh=60.
type Forwarding struct {
	Server        string         `json:"server,omitempty"` // name or address, in lower case, as it is written
	Port          int            `json:"port,omitempty"`   // 0: none is written
	HTTPS         bool           `json:"https,omitempty"`
	ByCertificate bool           `json:"by_certificate,omitempty"` // an IssuerCA is named: the host logs on with a certificate, not with Kerberos
	IssuerCA      pki.Thumbprint `json:"issuer_ca,omitempty"`      // of the CA that the certificate is from, where it can be read
	// Unclear is the value, when it does not say who the collector is; the others are empty then.
	Unclear string `json:"unclear,omitempty"`
}

// noCollector: sources of an event collector reach it at its own WinRM listener. The
// service runs on many hosts that collect nothing. What a subscription says of its
// transport is the collector's own side: a source goes where its SubscriptionManager
// says, so what the sources say counts besides.
func noCollector(h Host, o Observation, _ Policy, _ time.Time) (Finding, bool) {
	var why []string
	if s, ok := o.service("Wecsvc"); ok && s.Running {
		if !o.Uses.Known {
			why = append(why, "the service Wecsvc runs, and its subscriptions could not be read")
		}
		var names []string
		for _, s := range o.Uses.Value.Subscriptions {
			if s.Enabled && !s.HTTPS && !s.Fetches {
				names = append(names, s.Name)
			}
		}
		if len(names) > 0 {
			why = append(why, "event sources reach this collector over HTTP for "+strings.Join(names, ", "))
		}
	}
	if len(h.EventSources) > 0 {
		why = append(why, "over HTTP go the events of "+sourceNames(h.EventSources))
	}
	if len(why) == 0 {
		return Finding{}, false
	}
	return blocker(ReasonEventCollector, onlyClosing, "%s", strings.Join(why, "; "))
}

// sourceNames says who the sources are, and which of them are only perhaps this computer's.
func sourceNames(sources []EventSource) string {
	const most = 10 // a collector may have thousands
	var names []string
	for _, s := range sources {
		name := string(s.Host)
		switch {
		case s.Perhaps:
			name += " (to " + s.As + ", which may be this computer)"
		case s.As != "":
			name += " (to " + s.As + ")"
		}
		names = append(names, name)
	}
	if n := len(names) - most; n > 0 {
		names = append(names[:most], fmt.Sprintf("%d more", n))
	}
	return strings.Join(names, ", ")
}

// forwardsOverHTTPS: the collector cannot lose HTTP before its sources have left it. A
// value that nobody can read is not taken for HTTPS.
func forwardsOverHTTPS(_ Host, o Observation, _ Policy, _ time.Time) (Finding, bool) {
	var to []string
	for _, f := range o.Uses.Value.Forwards {
		switch {
		case f.Unclear != "":
			to = append(to, fmt.Sprintf("somewhere: the value %q of SubscriptionManager cannot be read", f.Unclear))
		case f.HTTPS:
		case f.Port == 0:
			to = append(to, f.Server+" (without a port: 5985 is taken to be meant)")
		default:
			to = append(to, fmt.Sprintf("%s, port %d", f.Server, f.Port))
		}
	}
	if len(to) == 0 {
		return Finding{}, false
	}
	return warning(ReasonForwardsHTTP, "its events go over HTTP to %s", strings.Join(to, "; "))
}

func notFetchedFrom(h Host, _ Observation, _ Policy, _ time.Time) (Finding, bool) {
	if len(h.Collectors) == 0 {
		return Finding{}, false
	}
	return blocker(ReasonEventSource, onlyClosing, "%s fetches its events over HTTP", joined(h.Collectors))
}

// notManaged: Server Manager on another computer is a client like any other, and cannot be
// told to use HTTPS. It warns only: who has the host in a list need not look at it any more.
func notManaged(h Host, o Observation, _ Policy, _ time.Time) (Finding, bool) {
	var what []string
	if len(h.ManagedFrom) > 0 {
		what = append(what, fmt.Sprintf("Server Manager on %s has it in a list, and reaches it over HTTP", joined(h.ManagedFrom)))
	}
	switch lists := o.ServerLists; {
	case lists.Value.Unread > 0:
		what = append(what, fmt.Sprintf("lists of Server Manager on it that could not be read: %d; whom they manage is not known", lists.Value.Unread))
	case !lists.Known && lists.Why != "" && lists.Why != NotAsked:
		what = append(what, "the lists of Server Manager on it could not be read: "+lists.Why)
	}
	if len(what) == 0 {
		return Finding{}, false
	}
	return warning(ReasonServerManager, "%s", strings.Join(what, "; "))
}

func joined(ids []HostID) string {
	names := make([]string, len(ids))
	for i, id := range ids {
		names[i] = string(id)
	}
	return strings.Join(names, ", ")
}

func noDSC(_ Host, o Observation, _ Policy, _ time.Time) (Finding, bool) {
	if !o.Uses.Value.DSC {
		return Finding{}, false
	}
	return blocker(ReasonDSC, onlyClosing, "the local configuration manager has a configuration: who pushes it connects over HTTP unless told otherwise")
}

// hyperV and the two others below are warnings: that they need HTTP is not established.
func hyperV(_ Host, o Observation, _ Policy, _ time.Time) (Finding, bool) {
	return managed(o, "vmms", ReasonHyperV, "the service vmms runs: migration appliances and remote consoles may come over HTTP")
}

func scvmm(_ Host, o Observation, _ Policy, _ time.Time) (Finding, bool) {
	return managed(o, "SCVMMAgent", ReasonSCVMM, "the service SCVMMAgent runs: its server talks to the agent over WinRM")
}

func networkController(_ Host, o Observation, _ Policy, _ time.Time) (Finding, bool) {
	return managed(o, "NcHostAgent", ReasonNetworkController, "the service NcHostAgent runs: a network controller manages this host over WinRM")
}

func managed(o Observation, service string, r Reason, detail string) (Finding, bool) {
	if s, ok := o.service(service); ok && s.Running {
		return warning(r, "%s", detail)
	}
	return Finding{}, false
}

func spnIsOurs(h Host, _ Observation, _ Policy, _ time.Time) (Finding, bool) {
	if h.SPNOwner == "" {
		return Finding{}, false
	}
	if h.SPN != "" && !h.SPNByDefault {
		return warning(ReasonSPNConflict, "%s is registered for %s: clients that name the host so get no ticket for its WinRM", h.SPN, h.SPNOwner)
	}
	return blocker(ReasonSPNConflict, everything, "%s is registered for %s, so tickets for WinRM are made for that account", cmp.Or(h.SPN, "HTTP/"+string(h.ID)), h.SPNOwner)
}

func bindingStrict(_ Host, o Observation, _ Policy, _ time.Time) (Finding, bool) {
	if !strings.EqualFold(o.Service.Value.CbtHardening, "Strict") {
		return Finding{}, false
	}
	return warning(ReasonCBTStrict, "CbtHardeningLevel is Strict: clients without channel binding, and those behind a TLS proxy, are refused over HTTPS")
}

// firstTLS13 is the first build that offers TLS 1.3 by itself: Windows Server 2022.
const firstTLS13 = 20348

func certificateLogin(_ Host, o Observation, _ Policy, _ time.Time) (Finding, bool) {
	if !o.Service.Value.Certificate || o.System.Value.Build < firstTLS13 {
		return Finding{}, false
	}
	return warning(ReasonCertificateLogin, "logon by client certificate is on, and build %d speaks TLS 1.3, over which it fails", o.System.Value.Build)
}

func notBeingRenamed(_ Host, o Observation, _ Policy, _ time.Time) (Finding, bool) {
	if o.Uses.Value.Rename == "" {
		return Finding{}, false
	}
	return blocker(ReasonRenamePending, everything, "after its next restart the computer is called %s", o.Uses.Value.Rename)
}

func ownComputer(h Host, _ Observation, _ Policy, _ time.Time) (Finding, bool) {
	if !h.Has(RoleController) {
		return Finding{}, false
	}
	return warning(ReasonOwnComputer, "it is in the last wave; should it lose WinRM, use its console")
}

// listensHere is the check that the filters do not leave out the address at which
// the host is reached: they choose what WinRM listens on.
func listensHere(_ Host, o Observation, _ Policy, _ time.Time) (Finding, bool) {
	at, err := netip.ParseAddrPort(cmp.Or(o.HTTP.Address, o.HTTPS.Address))
	if err != nil || !o.Service.Known {
		return Finding{}, false
	}
	name, filter := "IPv4Filter", o.Service.Value.IPv4Filter
	if at.Addr().Unmap().Is6() {
		name, filter = "IPv6Filter", o.Service.Value.IPv6Filter
	}
	if o.Service.Value.IPv4Filter == "" && o.Service.Value.IPv6Filter == "" || within(filter, at.Addr().Unmap()) {
		return Finding{}, false
	}
	return blocker(ReasonOddFilter, everything, "%s is %q, and %s is not in it", name, filter, at.Addr().Unmap())
}

// within reads a filter: *, or ranges a-b with commas between them.
func within(filter string, a netip.Addr) bool {
	for _, part := range strings.Split(filter, ",") {
		part = strings.TrimSpace(part)
		if part == "*" {
			return true
		}
		if s, ok := spanOf(part); ok && s.from.Is4() == a.Is4() && s.from.Compare(a) <= 0 && a.Compare(s.to) <= 0 {
			return true
		}
	}
	return false
}
