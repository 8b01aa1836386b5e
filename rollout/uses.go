package rollout

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Uses are what a host's registry and disk tell of other programs that use WinRM.
type Uses struct {
	Subscriptions []Subscription `json:"subscriptions,omitempty"` // of an event collector
	Rename        string         `json:"rename,omitempty"`        // the name that the computer will have after its restart
	DSC           bool           `json:"dsc,omitempty"`           // the local configuration manager has a configuration
}

// Subscription is one of an event collector.
type Subscription struct {
	Name    string   `json:"name"`
	Enabled bool     `json:"enabled"`
	HTTPS   bool     `json:"https,omitempty"`   // it asks for HTTPS
	Fetches bool     `json:"fetches,omitempty"` // collector-initiated: the collector connects to its sources
	Sources []string `json:"sources,omitempty"` // full names of the computers, in lower case
}

// FetchedFrom are the computers whose events a collector fetches over HTTP, by the
// observations of the collectors.
func FetchedFrom(observations []Observation) map[HostID][]HostID {
	all := map[HostID][]HostID{}
	for _, o := range observations {
		for _, s := range o.Uses.Value.Subscriptions {
			if !s.Enabled || !s.Fetches || s.HTTPS {
				continue
			}
			for _, source := range s.Sources {
				id := HostID(source)
				if !slices.Contains(all[id], o.Host) {
					all[id] = append(all[id], o.Host)
				}
			}
		}
	}
	return all
}

// noCollector: sources of an event collector reach it at its own WinRM listener. The
// service runs on many hosts that collect nothing.
func noCollector(_ Host, o Observation, _ Policy, _ time.Time) (Finding, bool) {
	if s, ok := o.service("Wecsvc"); !ok || !s.Running {
		return Finding{}, false
	}
	if !o.Uses.Known {
		return blocker(ReasonEventCollector, onlyClosing, "the service Wecsvc runs, and its subscriptions could not be read")
	}
	var names []string
	for _, s := range o.Uses.Value.Subscriptions {
		if s.Enabled && !s.HTTPS && !s.Fetches {
			names = append(names, s.Name)
		}
	}
	if len(names) == 0 {
		return Finding{}, false
	}
	return blocker(ReasonEventCollector, onlyClosing, "event sources reach this collector over HTTP for %s", strings.Join(names, ", "))
}

func notFetchedFrom(h Host, _ Observation, _ Policy, _ time.Time) (Finding, bool) {
	if len(h.Collectors) == 0 {
		return Finding{}, false
	}
	return blocker(ReasonEventSource, onlyClosing, "%s fetches its events over HTTP", joined(h.Collectors))
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
	at, err := netip.ParseAddrPort(firstOf(o.HTTP.Address, o.HTTPS.Address))
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

func firstOf(a, b string) string {
	if a != "" {
		return a
	}
	return b
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
