package rollout

import (
	"slices"
	"strings"
	"time"

	"wavelock/pki"
)

// examined is a check with what trips it and the nearest thing that does not.
type examined struct {
	reason Reason
	blocks []ActionKind
	trips  func(*Host, *Observation, *Policy)
	misses func(*Host, *Observation, *Policy)
}

var yes, no = true, false

// runs adds a service.
func runs(o *Observation, name string, running bool) {
	o.Services.Value = append(o.Services.Value, WindowsService{Name: name, Running: running})
}

// withService are the host's services, where this one runs or does not.
func withService(o *Observation, name string, running bool) []WindowsService {
	return append(slices.DeleteFunc(slices.Clone(o.Services.Value), func(s WindowsService) bool { return strings.EqualFold(s.Name, name) }), WindowsService{Name: name, Running: running})
}

// collects makes the host an event collector whose service runs.
func collects(o *Observation, subscriptions ...Subscription) {
	runs(o, "wecsvc", true)
	o.Uses = Saw(Uses{Subscriptions: subscriptions})
}

// showsKey has the host log on to an event collector with certificates of these keys.
func showsKey(keys ...ClientKey) func(*Host, *Observation, *Policy) {
	return func(_ *Host, o *Observation, _ *Policy) {
		o.Uses = Saw(Uses{Forwards: []Forwarding{{Server: "wec1.corp.example", Port: 5986, HTTPS: true, ByCertificate: true}}})
		o.ClientKeys = Saw(keys)
	}
}

func keyOf(acl string) ClientKey {
	return ClientKey{Thumbprint: "A0", Subject: "CN=web1.corp.example", ACL: acl}
}

// revokes lets the CA take a certificate back that the listener has, or another.
func revokes(bound bool) func(*Host, *Observation, *Policy) {
	return func(_ *Host, o *Observation, _ *Policy) {
		const thumb = pki.Thumbprint("A0")
		l := Listener{Address: "*", Transport: HTTPS, Port: 5986, Enabled: true, Thumbprint: "B1"}
		if bound {
			l.Thumbprint = thumb
		}
		o.Listeners.Value = append(slices.DeleteFunc(slices.Clone(o.Listeners.Value), isDoor(HTTPS)), l)
		o.Certificates.Value = append(slices.Clone(o.Certificates.Value), pki.Certificate{Thumbprint: thumb, Revoked: "it was revoked on Monday"})
	}
}

var examinedHosts = map[string]examined{
	"a host that let nobody in": {ReasonNotObserved, everything,
		func(_ *Host, o *Observation, _ *Policy) { o.Via = "" },
		func(_ *Host, o *Observation, _ *Policy) { o.Via, o.HTTP.State = HTTPS, DoorSilent }},
	"another name": {ReasonWrongHost, everything,
		func(_ *Host, o *Observation, _ *Policy) { o.Identity.Value.FQDN = "web2.corp.example" },
		func(_ *Host, o *Observation, _ *Policy) { o.Identity.Value.FQDN = "WEB1.Corp.Example" }},
	"another domain": {ReasonWrongHost, everything,
		func(_ *Host, o *Observation, _ *Policy) { o.Identity.Value.Domain = "test.example" },
		func(_ *Host, o *Observation, _ *Policy) { o.Identity.Value.Domain = "CORP.EXAMPLE" }},
	"a workgroup of the same name": {ReasonWrongHost, everything,
		func(_ *Host, o *Observation, _ *Policy) { o.Identity.Value.PartOfDomain = false }, nil},
	"an account that may read nothing": {ReasonAccessDenied, everything,
		func(_ *Host, o *Observation, _ *Policy) { o.Identity = Seen[Identity]{Why: "fault 5", Denied: true} },
		func(_ *Host, o *Observation, _ *Policy) { o.Firewall = Seen[Firewall]{Why: "fault 5", Denied: true} }},
	"a host that does not say who it is": {ReasonWrongHost, everything,
		func(_ *Host, o *Observation, _ *Policy) { o.Identity = Unseen[Identity]("denied") }, nil},
	"listeners that were not read": {ReasonNotReadable, everything,
		func(_ *Host, o *Observation, _ *Policy) { o.Listeners = Unseen[[]Listener]("denied") },
		func(_ *Host, o *Observation, _ *Policy) { o.Listeners = Saw([]Listener{}) }},
	"certificates that were not read": {ReasonNotReadable, everything,
		func(_ *Host, o *Observation, _ *Policy) { o.Certificates = Unseen[[]pki.Certificate]("denied") },
		func(_ *Host, o *Observation, _ *Policy) { o.Certificates.Value = nil }},
	"bindings that were not read": {ReasonNotReadable, everything,
		func(_ *Host, o *Observation, _ *Policy) { o.Bindings = Unseen[[]Binding]("denied") },
		func(_ *Host, o *Observation, _ *Policy) { o.Bindings.Value = nil }},
	"a before-image that was not read": {ReasonNotReadable, everything,
		func(_ *Host, o *Observation, _ *Policy) { o.Image = Unseen[*BeforeImage]("denied") },
		func(_ *Host, o *Observation, _ *Policy) { o.Image = Saw[*BeforeImage](nil) }},
	"policies that were not read": {ReasonNotFullyObserved, everything,
		func(_ *Host, o *Observation, _ *Policy) { o.Policy = Unseen[WinRMPolicy]("denied") },
		func(_ *Host, o *Observation, _ *Policy) { o.Policy = Saw(WinRMPolicy{}) }},
	"services that were not read": {ReasonNotFullyObserved, onlyClosing,
		func(_ *Host, o *Observation, _ *Policy) { o.Services = Unseen[[]WindowsService]("denied") }, nil},
	"peers that were not read": {ReasonNotFullyObserved, onlyClosing,
		func(_ *Host, o *Observation, _ *Policy) { o.Peers = Unseen[[]Peer]("denied") },
		func(_ *Host, o *Observation, _ *Policy) { o.Peers = Saw[[]Peer](nil) }},
	"an undo that was not read": {ReasonNotFullyObserved, onlyClosing,
		func(_ *Host, o *Observation, _ *Policy) { o.Undo = Unseen[Undo]("denied") },
		func(_ *Host, o *Observation, _ *Policy) { o.Admins = Unseen[[]Administrator]("denied") }},
	"a clock that was not read": {ReasonNotFullyObserved, onlyClosing,
		func(_ *Host, o *Observation, _ *Policy) { o.System = Unseen[System]("denied") }, nil},
	"filters that were not read": {ReasonNotFullyObserved, onlyClosing,
		func(_ *Host, o *Observation, _ *Policy) { o.Service = Unseen[Service]("denied") }, nil},
	"a policy against WinRM": {ReasonGPODisablesWinRM, everything,
		func(_ *Host, o *Observation, _ *Policy) { o.Policy.Value.AllowAutoConfig = &no },
		func(_ *Host, o *Observation, _ *Policy) { o.Policy.Value.AllowBasic = &no }},
	"a policy against the shell": {ReasonGPODisablesShell, everything,
		func(_ *Host, o *Observation, _ *Policy) { o.Policy.Value.AllowShell = &no },
		func(_ *Host, o *Observation, _ *Policy) { o.Policy.Value.AllowShell = &yes }},
	"blank filters": {ReasonBlankFilter, everything,
		func(_ *Host, o *Observation, _ *Policy) {
			o.Service.Value.IPv4Filter, o.Service.Value.IPv6Filter = "", ""
		},
		func(_ *Host, o *Observation, _ *Policy) { o.Service.Value.IPv6Filter = "" }},
	"an HTTP listener of a policy": {ReasonGPOListener, onlyClosing,
		func(_ *Host, o *Observation, _ *Policy) { o.Listeners.Value[0].Source = SourceGPO },
		func(_ *Host, o *Observation, _ *Policy) { o.Listeners.Value[1].Source = SourceGPO }},
	"a policy that makes an HTTP listener": {ReasonGPOListener, onlyClosing,
		func(_ *Host, o *Observation, _ *Policy) { o.Policy.Value.AllowAutoConfig = &yes }, nil},
	"somebody on HTTP": {ReasonHTTPClient, onlyClosing,
		func(_ *Host, o *Observation, _ *Policy) { o.Peers.Value = []Peer{{Address: "192.0.2.9", Port: 5985}} },
		func(_ *Host, o *Observation, p *Policy) {
			p.Controllers = []string{"192.0.2.1"}
			o.Peers.Value = []Peer{{Address: "192.0.2.9", Port: 5986}, {Address: "192.0.2.7", Port: 5985, Self: true}, {Address: "192.0.2.1", Port: 5985}}
		}},
	"a client that was seen on HTTP and never on HTTPS": {ReasonClientNotMoved, onlyClosing,
		func(_ *Host, o *Observation, _ *Policy) { o.Census = Saw(watched(5985)) },
		func(_ *Host, o *Observation, _ *Policy) { o.Census = Saw(watched(5985, 5986)) }},
	"a client that has not been there for long": {ReasonClientNotMoved, onlyClosing,
		func(_ *Host, o *Observation, p *Policy) {
			o.Census, p.ClientsWithin = Saw(watched(5985)), Duration(time.Hour)
		},
		func(_ *Host, o *Observation, p *Policy) {
			o.Census, p.ClientsWithin = Saw(watched(5985)), Duration(time.Hour-1)
		}},
	"a host of which nobody knows who uses it": {ReasonCensusShort, onlyClosing,
		func(_ *Host, _ *Observation, p *Policy) { p.CensusFor = Duration(time.Hour) },
		func(_ *Host, o *Observation, p *Policy) {
			o.Census, p.CensusFor = Saw(watched(5986)), Duration(time.Hour)
		}},
	"a host that was watched too rarely": {ReasonCensusShort, onlyClosing,
		func(_ *Host, o *Observation, p *Policy) { o.Census, p.CensusSamples = Saw(watched(5986)), 3 },
		func(_ *Host, o *Observation, p *Policy) { o.Census, p.CensusSamples = Saw(watched(5986)), 2 }},
	"a host that was watched too short": {ReasonCensusShort, onlyClosing,
		func(_ *Host, o *Observation, p *Policy) {
			o.Census, p.CensusFor = Saw(watched(5986)), Duration(time.Hour+1)
		}, nil},
	"a host that was watched too long ago": {ReasonCensusShort, onlyClosing,
		func(_ *Host, o *Observation, p *Policy) {
			o.Census, p.CensusSamples, p.ClientsWithin = Saw(watched(5986)), 1, Duration(time.Hour-1)
		}, nil},
	"another product on the HTTPS port": {ReasonPortTaken, everything,
		func(_ *Host, o *Observation, _ *Policy) {
			o.Bindings.Value[0].AppID = "{4dc3e181-e14b-4a21-b022-59fc669b0914}"
		},
		func(_ *Host, o *Observation, _ *Policy) {
			o.Bindings.Value[0].AppID = strings.ToUpper(WinRMAppID)
			o.Bindings.Value = append(o.Bindings.Value, Binding{Endpoint: "0.0.0.0:443", AppID: "{4dc3e181-e14b-4a21-b022-59fc669b0914}"})
		}},
	"another certificate for IPv6": {ReasonThumbprintDiffers, onlyClosing,
		func(_ *Host, o *Observation, _ *Policy) {
			o.Bindings.Value = append(o.Bindings.Value, Binding{Endpoint: "[::]:5986", AppID: WinRMAppID, Thumbprint: goodCert("web1.corp.example", 9, epoch).Thumbprint})
		},
		func(_ *Host, o *Observation, _ *Policy) {
			o.Bindings.Value = append(o.Bindings.Value, Binding{Endpoint: "[::]:5986", AppID: WinRMAppID, Thumbprint: o.Bindings.Value[0].Thumbprint},
				Binding{Endpoint: "[::]:443", Thumbprint: goodCert("web1.corp.example", 9, epoch).Thumbprint})
		}},
	"a firewall that is off, where HTTP is to be narrowed": {ReasonFirewallOff, []ActionKind{ActQuiesce},
		func(_ *Host, o *Observation, p *Policy) {
			p.Quiesce, o.Firewall.Value.Profiles[0].Enabled = Duration(time.Hour), false
		},
		func(_ *Host, o *Observation, _ *Policy) { o.Firewall.Value.Profiles[0].Enabled = false }},
	"a firewall whose service is stopped, where HTTP is to be narrowed": {ReasonFirewallOff, []ActionKind{ActQuiesce},
		func(_ *Host, o *Observation, p *Policy) {
			p.Quiesce, o.Services.Value = Duration(time.Hour), withService(o, "mpssvc", false)
		},
		func(_ *Host, o *Observation, p *Policy) {
			p.Quiesce, o.Services.Value = Duration(time.Hour), withService(o, "mpssvc", true)
		}},
	"a firewall of which nothing is known, where HTTP is to be narrowed": {ReasonNotFullyObserved, []ActionKind{ActQuiesce},
		func(_ *Host, o *Observation, p *Policy) {
			p.Quiesce, o.Firewall = Duration(time.Hour), Unseen[Firewall]("denied")
		}, nil},
	"a firewall that does not say whom it turns away": {ReasonNoDropLog, []ActionKind{ActQuiesce},
		func(_ *Host, o *Observation, p *Policy) {
			p.Quiesce, o.Firewall.Value.Profiles[0].DropLog = Duration(time.Hour), ""
		},
		func(_ *Host, o *Observation, p *Policy) { // a profile that does not matter need not log
			p.Quiesce, o.Firewall.Value.Profiles = Duration(time.Hour), append(slices.Clone(o.Firewall.Value.Profiles), FirewallProfile{Name: "public", Enabled: true, LocalMerge: true})
		}},
	"HTTP on another port": {ReasonOddListener, onlyClosing,
		func(_ *Host, o *Observation, _ *Policy) { o.Listeners.Value[0].Port = 8085 },
		func(_ *Host, o *Observation, p *Policy) { o.Listeners.Value[0].Port, p.HTTPPort = 8085, 8085 }},
	"HTTP on one address alone": {ReasonOddListener, onlyClosing,
		func(_ *Host, o *Observation, _ *Policy) { o.Listeners.Value[0].Address = "IP:10.0.0.1" }, nil},
	"two HTTP listeners": {ReasonOddListener, onlyClosing,
		func(_ *Host, o *Observation, _ *Policy) {
			o.Listeners.Value = append(o.Listeners.Value, o.Listeners.Value[0])
		},
		func(_ *Host, o *Observation, _ *Policy) { // one of them is off
			o.Listeners.Value = append(o.Listeners.Value, o.Listeners.Value[0])
			o.Listeners.Value[0].Enabled = false
		}},
	"HTTPS on another port": {ReasonOddListener, everything,
		func(_ *Host, o *Observation, _ *Policy) { o.Listeners.Value[1].Port = 5987 },
		func(_ *Host, o *Observation, _ *Policy) { // the one for old clients is not touched
			o.Listeners.Value = append(o.Listeners.Value, Listener{Address: "*", Transport: HTTPS, Port: 443, Enabled: true, Source: SourceCompatibility})
		}},
	"a policy that makes local block rules inert": {ReasonLocalRulesInert, []ActionKind{ActQuiesce},
		func(_ *Host, o *Observation, p *Policy) {
			p.Quiesce, o.Firewall.Value.Profiles[0].LocalMerge, o.Firewall.Value.Rules[0].Policy = Duration(time.Hour), false, true
		},
		func(_ *Host, o *Observation, _ *Policy) {
			o.Firewall.Value.Profiles[0].LocalMerge, o.Firewall.Value.Rules[0].Policy = false, true
		}},
	"local rules that do nothing": {ReasonLocalRulesInert, everything,
		func(_ *Host, o *Observation, _ *Policy) { o.Firewall.Value.Profiles[0].LocalMerge = false },
		func(_ *Host, o *Observation, _ *Policy) {
			o.Firewall.Value.Profiles[0].LocalMerge = false
			o.Firewall.Value.Rules[0].Policy = true
		}},
	"a clock that is behind": {ReasonClockSkew, everything,
		func(_ *Host, o *Observation, _ *Policy) { o.System.Value.ClockSkew = -5*time.Minute - 1 },
		func(_ *Host, o *Observation, _ *Policy) { o.System.Value.ClockSkew = -5 * time.Minute }},
	"a task scheduler that is disabled": {ReasonSchedulerOff, everything,
		func(_ *Host, o *Observation, _ *Policy) { o.Services.Value[0].Start = "Disabled" },
		func(_ *Host, o *Observation, _ *Policy) { o.Services.Value[0].Start = "Manual" }},
	"a WinRM service that was disabled": {ReasonWinRMDisabled, everything,
		func(_ *Host, o *Observation, _ *Policy) {
			o.Services.Value = append(o.Services.Value, WindowsService{Name: "WinRM", Running: true, Start: "Disabled"})
		},
		func(_ *Host, o *Observation, _ *Policy) {
			o.Services.Value = append(o.Services.Value, WindowsService{Name: "WinRM", Running: true, Start: "Manual"})
		}},
	"a task scheduler that is stopped": {ReasonSchedulerOff, everything,
		func(_ *Host, o *Observation, _ *Policy) { o.Services.Value[0].Running = false },
		func(_ *Host, o *Observation, _ *Policy) { o.Services.Value[0].Name = "schedule" }},
	"a task scheduler that is not there": {ReasonSchedulerOff, everything,
		func(_ *Host, o *Observation, _ *Policy) { o.Services.Value = nil }, nil},
	"an event collector": {ReasonEventCollector, onlyClosing,
		func(_ *Host, o *Observation, _ *Policy) { collects(o, Subscription{Name: "logons", Enabled: true}) },
		func(_ *Host, o *Observation, _ *Policy) { // it runs, and collects nothing over HTTP
			collects(o, Subscription{Name: "old"}, Subscription{Name: "new", Enabled: true, HTTPS: true})
		}},
	"a collector that says HTTPS, and whose sources do not": {ReasonEventCollector, onlyClosing,
		func(h *Host, o *Observation, _ *Policy) {
			collects(o, Subscription{Name: "new", Enabled: true, HTTPS: true})
			h.EventSources = []EventSource{{Host: "web2.corp.example"}}
		},
		func(_ *Host, o *Observation, _ *Policy) { // it is the source, and goes elsewhere over HTTPS
			collects(o, Subscription{Name: "new", Enabled: true, HTTPS: true})
			o.Uses.Value.Forwards = []Forwarding{{Server: "wec1.corp.example", Port: 5986, HTTPS: true}}
		}},
	"sources of a collector whose service is stopped": {ReasonEventCollector, onlyClosing,
		func(h *Host, _ *Observation, _ *Policy) { h.EventSources = []EventSource{{Host: "web2.corp.example"}} }, nil},
	"a computer that sends its events over HTTP": {ReasonForwardsHTTP, nil,
		func(_ *Host, o *Observation, _ *Policy) {
			o.Uses = Saw(Uses{Forwards: []Forwarding{{Server: "wec1.corp.example", Port: 5985}}})
		},
		func(_ *Host, o *Observation, _ *Policy) {
			o.Uses = Saw(Uses{Forwards: []Forwarding{{Server: "wec1.corp.example", Port: 5985, HTTPS: true}}})
		}},
	"a computer that sends its events nobody knows where": {ReasonForwardsHTTP, nil,
		func(_ *Host, o *Observation, _ *Policy) {
			o.Uses = Saw(Uses{Forwards: []Forwarding{{Unclear: "Server=ftp://x"}}})
		}, nil},
	"an event collector that is stopped": {ReasonEventCollector, onlyClosing,
		func(_ *Host, o *Observation, _ *Policy) { collects(o, Subscription{Name: "logons", Enabled: true}) },
		func(_ *Host, o *Observation, _ *Policy) {
			collects(o, Subscription{Name: "logons", Enabled: true})
			o.Services.Value[len(o.Services.Value)-1].Running = false
		}},
	"a collector of which nothing more is known": {ReasonNotFullyObserved, onlyClosing,
		func(_ *Host, o *Observation, _ *Policy) { collects(o); o.Uses = Unseen[Uses]("denied") },
		func(_ *Host, o *Observation, _ *Policy) { collects(o) }},
	"a computer that a collector fetches from": {ReasonEventSource, onlyClosing,
		func(h *Host, _ *Observation, _ *Policy) { h.Collectors = []HostID{"wec1.corp.example"} },
		func(_ *Host, o *Observation, _ *Policy) { // it is the collector
			o.Uses.Value.Subscriptions = []Subscription{{Enabled: true, Fetches: true, Sources: []string{"web2.corp.example"}}}
		}},
	"a key that NETWORK SERVICE may not read": {ReasonKeyNotReadable, nil, showsKey(keyOf("D:PAI(A;;GAGR;;;BA)(A;;GAGR;;;SY)")), showsKey(keyOf("D:PAI(A;;GAGR;;;BA)(A;;0x80120089;;;NS)"))},
	"one key of two that it may not read": {ReasonKeyNotReadable, nil, showsKey(keyOf("D:(A;;GR;;;NS)"), keyOf("D:(A;;GA;;;SY)")), func(_ *Host, o *Observation, _ *Policy) { // Kerberos needs no key
		showsKey(keyOf("D:(A;;GA;;;SY)"))(nil, o, nil)
		o.Uses.Value.Forwards[0].ByCertificate = false
	}},
	"a key of which nobody says who may read it": {ReasonKeyNotReadable, nil, showsKey(ClientKey{Thumbprint: "A0", Why: "certutil printed nothing"}), showsKey(keyOf("D:(A;;GA;;;WD)"))},
	"a key whose list is broken":                 {ReasonKeyNotReadable, nil, showsKey(keyOf("D:(A;;")), nil},
	"no certificate to show":                     {ReasonKeyNotReadable, nil, showsKey(), nil},
	"keys that were not read": {ReasonKeyNotReadable, nil,
		func(_ *Host, o *Observation, _ *Policy) {
			showsKey()(nil, o, nil)
			o.ClientKeys = Unseen[[]ClientKey]("it took too long")
		},
		func(_ *Host, o *Observation, _ *Policy) {
			showsKey()(nil, o, nil)
			o.ClientKeys = Unseen[[]ClientKey](NotAsked)
		}},
	"a computer that Server Manager manages from another": {ReasonServerManager, nil,
		func(h *Host, _ *Observation, _ *Policy) { h.ManagedFrom = []HostID{"admin1.corp.example"} },
		func(_ *Host, o *Observation, _ *Policy) { // it manages others
			o.ServerLists = Saw(ServerLists{Names: []string{"web2.corp.example"}})
		}},
	"a list of Server Manager that is too large": {ReasonServerManager, nil,
		func(_ *Host, o *Observation, _ *Policy) { o.ServerLists = Saw(ServerLists{Unread: 1}) },
		func(_ *Host, o *Observation, _ *Policy) { o.ServerLists = Saw(ServerLists{}) }},
	"lists of Server Manager that were not read": {ReasonServerManager, nil,
		func(_ *Host, o *Observation, _ *Policy) { o.ServerLists = Unseen[ServerLists]("it took too long") },
		func(_ *Host, o *Observation, _ *Policy) { o.ServerLists = Unseen[ServerLists](NotAsked) }},
	"a host with a pushed configuration": {ReasonDSC, onlyClosing,
		func(_ *Host, o *Observation, _ *Policy) { o.Uses.Value.DSC = true },
		func(_ *Host, o *Observation, _ *Policy) { o.Uses = Saw(Uses{}) }},
	"a Hyper-V host": {ReasonHyperV, nil,
		func(_ *Host, o *Observation, _ *Policy) { runs(o, "vmms", true) },
		func(_ *Host, o *Observation, _ *Policy) { runs(o, "vmms", false); runs(o, "vmicheartbeat", true) }},
	"a host of Virtual Machine Manager": {ReasonSCVMM, nil,
		func(_ *Host, o *Observation, _ *Policy) { runs(o, "scvmmagent", true) },
		func(_ *Host, o *Observation, _ *Policy) { runs(o, "SCVMMAgent", false) }},
	"a host of a network controller": {ReasonNetworkController, nil,
		func(_ *Host, o *Observation, _ *Policy) { runs(o, "NcHostAgent", true) },
		func(_ *Host, o *Observation, _ *Policy) { runs(o, "NcHostAgent", false) }},
	"a name that somebody else has": {ReasonSPNConflict, everything,
		func(h *Host, _ *Observation, _ *Policy) { h.SPNOwner = "CN=svc-web,DC=corp,DC=example" },
		func(h *Host, _ *Observation, _ *Policy) { h.Account = "WEB1$" }},
	"a full name that stands for it": {ReasonSPNConflict, everything,
		func(h *Host, _ *Observation, _ *Policy) {
			h.SPN, h.SPNByDefault, h.SPNOwner = "HOST/web1.corp.example", true, "CN=svc-web,DC=corp,DC=example"
		}, nil},
	"a short name that somebody else has": {ReasonSPNConflict, nil,
		func(h *Host, _ *Observation, _ *Policy) {
			h.SPN, h.SPNOwner = "HTTP/WEB1", "CN=svc-web,DC=corp,DC=example"
		}, nil},
	"strict channel binding": {ReasonCBTStrict, nil,
		func(_ *Host, o *Observation, _ *Policy) { o.Service.Value.CbtHardening = "strict" },
		func(_ *Host, o *Observation, _ *Policy) { o.Service.Value.CbtHardening = "Relaxed" }},
	"certificate logon where TLS 1.3 is": {ReasonCertificateLogin, nil,
		func(_ *Host, o *Observation, _ *Policy) { o.Service.Value.Certificate = true },
		func(_ *Host, o *Observation, _ *Policy) {
			o.Service.Value.Certificate, o.System.Value.Build = true, 17763
		}},
	"a computer that will have another name": {ReasonRenamePending, everything,
		func(_ *Host, o *Observation, _ *Policy) { o.Uses.Value.Rename = "WEB9" },
		func(h *Host, _ *Observation, _ *Policy) { h.Account = "WEB9$" }}, // the directory knows it by another name already
	"our own computer": {ReasonOwnComputer, nil,
		func(h *Host, _ *Observation, _ *Policy) { h.Roles = []Role{RoleController} },
		func(h *Host, _ *Observation, _ *Policy) { h.Roles = []Role{RoleCA} }},
	"a filter of other addresses": {ReasonOddFilter, everything,
		func(_ *Host, o *Observation, _ *Policy) {
			o.HTTP.Address, o.Service.Value.IPv4Filter = "192.0.2.7:5985", "10.0.0.1-10.0.0.9"
		},
		func(_ *Host, o *Observation, _ *Policy) {
			o.HTTP.Address, o.Service.Value.IPv4Filter = "192.0.2.7:5985", "10.0.0.1-10.0.0.9, 192.0.2.7-192.0.2.7"
		}},
	"a filter that has no IPv6, on a host that is reached by it": {ReasonOddFilter, everything,
		func(_ *Host, o *Observation, _ *Policy) {
			o.HTTP.Address, o.Service.Value.IPv6Filter = "[2001:db8::7]:5985", ""
		},
		func(_ *Host, o *Observation, _ *Policy) {
			o.HTTP.Address, o.Service.Value.IPv6Filter = "192.0.2.7:5985", ""
		}},
	"a cluster node": {ReasonClusterNode, onlyClosing,
		func(_ *Host, o *Observation, _ *Policy) {
			o.Services.Value = append(o.Services.Value, WindowsService{Name: "ClusSvc", Running: true})
		},
		func(_ *Host, o *Observation, _ *Policy) {
			o.Services.Value = append(o.Services.Value, WindowsService{Name: "ClusSvc"})
		}},
	"port 80": {ReasonCompatListener, nil,
		func(_ *Host, o *Observation, _ *Policy) { o.Service.Value.CompatHTTP = true },
		func(_ *Host, o *Observation, _ *Policy) { o.Service.Value.Basic = true }},
	"a revoked certificate on the listener": {ReasonRevoked, nil, revokes(true), revokes(false)},
	"port 443": {ReasonCompatListener, nil,
		func(_ *Host, o *Observation, _ *Policy) { o.Service.Value.CompatHTTPS = true }, nil},
}
