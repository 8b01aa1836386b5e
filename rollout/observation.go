package rollout

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"wavelock/pki"
)

// Seen is one part of an observation: the value that was read, or why it was not.
// A part that was not observed is never the same as a part that is clean.
type Seen[T any] struct {
	Known  bool   `json:"known"`
	Value  T      `json:"value"`
	Why    string `json:"why,omitempty"`    // why it is not known
	Denied bool   `json:"denied,omitempty"` // because the account may not read it
}

// Saw is a part that was read.
func Saw[T any](v T) Seen[T] { return Seen[T]{Known: true, Value: v} }

// Unseen is a part that could not be read, and why.
func Unseen[T any](why string) Seen[T] { return Seen[T]{Why: why} }

// Observation is everything that was read from one host at one time.
type Observation struct {
	Host HostID    `json:"host"`
	At   time.Time `json:"at"`

	HTTP  Door `json:"http"`  // port 5985 from where we stand
	HTTPS Door `json:"https"` // port 5986

	// Via is the door through which the rest was read; empty when neither let us in.
	Via Transport `json:"via,omitempty"`

	Identity     Seen[Identity]          `json:"identity"`
	System       Seen[System]            `json:"system"`
	Listeners    Seen[[]Listener]        `json:"listeners"`
	Service      Seen[Service]           `json:"service"`
	Certificates Seen[[]pki.Certificate] `json:"certificates"`
	Bindings     Seen[[]Binding]         `json:"bindings"`
	Policy       Seen[WinRMPolicy]       `json:"policy"`
	Firewall     Seen[Firewall]          `json:"firewall"`
	Services     Seen[[]WindowsService]  `json:"services"`
	Peers        Seen[[]Peer]            `json:"peers"`
	Drops        Seen[[]Drop]            `json:"drops"`                 // of the firewall's log; read while HTTP is narrowed
	Admins       Seen[[]Administrator]   `json:"admins"`                // not read in a brief inspection
	Uses         Seen[Uses]              `json:"uses"`                  // of WinRM, by other programs
	ServerLists  Seen[ServerLists]       `json:"server_lists,omitzero"` // of Server Manager; not read in a brief inspection
	ClientKeys   Seen[[]ClientKey]       `json:"client_keys,omitzero"`  // for event forwarding; read where it needs one, and not in a brief inspection
	PolicyValues Seen[[]PolicyValue]     `json:"policy_values"`         // that win for WinRM; read where a policy sets any
	Posture      Seen[Posture]           `json:"posture,omitzero"`      // not read in a brief inspection
	Undo         Seen[Undo]              `json:"undo"`
	Image        Seen[*BeforeImage]      `json:"image"` // the copy kept on the host; nil when there is none

	// Census is not read from the host: it is what the journal has of earlier looks.
	Census Seen[Census] `json:"census,omitzero"`
}

// Transport is one of WinRM's two doors.
type Transport string

// The doors, in the words of winrm/config/listener.
const (
	HTTP  Transport = "HTTP"
	HTTPS Transport = "HTTPS"
)

// DoorState says what a connection attempt met.
type DoorState string

// What a TCP connection to a port can meet. Silent proves nothing about the host:
// a firewall on the way looks the same as a computer that is off.
const (
	DoorUnknown DoorState = ""
	DoorOpen    DoorState = "open"    // accepts connections and answers as WS-Management
	DoorOther   DoorState = "other"   // accepts connections, but /wsman is not there (404)
	DoorRefused DoorState = "refused" // actively refused
	DoorSilent  DoorState = "silent"  // no answer within the time-out
	DoorNoName  DoorState = "no-name" // the host's name does not resolve
)

// Door is one port as seen from where the observation was made.
type Door struct {
	State   DoorState `json:"state"`
	Address string    `json:"address,omitempty"` // ip:port that was tried
	Detail  string    `json:"detail,omitempty"`
}

// Identity is who the host says it is.
type Identity struct {
	FQDN         string `json:"fqdn"`
	Domain       string `json:"domain"`
	PartOfDomain bool   `json:"part_of_domain"`
}

// System is the operating system and its clock.
type System struct {
	Version   string        `json:"version"` // 10.0.20348
	Build     int           `json:"build"`
	Product   int           `json:"product"` // 1 client, 2 domain controller, 3 server
	Caption   string        `json:"caption,omitempty"`
	Booted    time.Time     `json:"booted"`
	ClockSkew time.Duration `json:"clock_skew"` // host minus controller
	Offset    time.Duration `json:"utc_offset"` // of the host's local time, east of UTC
}

// Source says who owns a setting.
type Source string

// The owners that WS-Management reports.
const (
	SourceLocal         Source = ""
	SourceGPO           Source = "GPO"
	SourceCompatibility Source = "Compatibility"
)

// Listener is one WinRM listener as winrm/config/listener shows it.
type Listener struct {
	Address     string         `json:"address"` // "*" or "IP:192.0.2.1"
	Transport   Transport      `json:"transport"`
	Port        int            `json:"port"`
	Hostname    string         `json:"hostname,omitempty"`
	Enabled     bool           `json:"enabled"`
	URLPrefix   string         `json:"url_prefix,omitempty"`
	Thumbprint  pki.Thumbprint `json:"thumbprint,omitempty"`
	ListeningOn []string       `json:"listening_on,omitempty"`
	Source      Source         `json:"source,omitempty"`
}

// Service is winrm/config/service with its auth settings.
type Service struct {
	AllowUnencrypted  bool   `json:"allow_unencrypted"`
	Basic             bool   `json:"basic"`
	Kerberos          bool   `json:"kerberos"`
	Negotiate         bool   `json:"negotiate"`
	Certificate       bool   `json:"certificate"`
	CredSSP           bool   `json:"credssp"`
	CbtHardening      string `json:"cbt_hardening"` // None, Relaxed, Strict
	IPv4Filter        string `json:"ipv4_filter"`
	IPv6Filter        string `json:"ipv6_filter"`
	CompatHTTP        bool   `json:"compat_http"`  // the port 80 compatibility listener
	CompatHTTPS       bool   `json:"compat_https"` // the port 443 one
	AllowRemoteAccess bool   `json:"allow_remote_access"`
	RootSDDL          string `json:"root_sddl,omitempty"`
	// FromPolicy names the settings that carry Source="GPO".
	FromPolicy []string `json:"from_policy,omitempty"`
}

// Binding is one TLS binding of http.sys.
type Binding struct {
	Endpoint   string         `json:"endpoint"` // 0.0.0.0:5986
	Thumbprint pki.Thumbprint `json:"thumbprint"`
	AppID      string         `json:"app_id"` // {afebb9ad-9b97-4a91-9ab5-daf4d59122f6} is WinRM
	Store      string         `json:"store,omitempty"`
}

// WinRMAppID is the owner that WinRM writes into its http.sys bindings.
const WinRMAppID = "{afebb9ad-9b97-4a91-9ab5-daf4d59122f6}"

// WinRMPolicy is what Group Policy says about the WinRM service.
// A nil field means that the policy is not configured.
type WinRMPolicy struct {
	AllowAutoConfig *bool  `json:"allow_auto_config,omitempty"` // true creates the HTTP listener, false switches remote access off
	IPv4Filter      string `json:"ipv4_filter,omitempty"`
	IPv6Filter      string `json:"ipv6_filter,omitempty"`
	HTTPCompat      *bool  `json:"http_compat,omitempty"`
	AllowBasic      *bool  `json:"allow_basic,omitempty"`
	AllowShell      *bool  `json:"allow_shell,omitempty"` // false removes the remote shell
}

// Firewall is the Windows firewall as far as WinRM is concerned.
type Firewall struct {
	Profiles []FirewallProfile `json:"profiles"`
	Rules    []FirewallRule    `json:"rules"` // active inbound TCP rules that touch 5985 or 5986
	Total    int               `json:"total"` // all rules that were read
}

// FirewallProfile is the effective state of one profile.
type FirewallProfile struct {
	Name       string `json:"name"` // domain, private, public
	Enabled    bool   `json:"enabled"`
	BlockIn    bool   `json:"block_in"`
	LocalMerge bool   `json:"local_merge"` // false makes every local rule inert
	// DropLog is the file in which the firewall writes what it drops in this profile; empty: nowhere, as Windows has it.
	DropLog string `json:"drop_log,omitempty"`
}

// FirewallRule is one rule.
type FirewallRule struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Allow    bool     `json:"allow"` // else block
	Active   bool     `json:"active"`
	Ports    []string `json:"ports"`              // "5986", "5985-5986"; empty means any
	Profiles []string `json:"profiles,omitempty"` // empty means all
	Remote   []string `json:"remote,omitempty"`   // empty means any
	Policy   bool     `json:"policy,omitempty"`   // set by Group Policy
	// Only are the conditions of the rule beyond these, such as App=C:\app.exe or Security=Authenticate. What they mean is not
	// known here, so such a rule opens nothing.
	Only []string `json:"only,omitempty"`
}

// TellingServices are the services whose state a check or a person asks for: an
// observation of a fleet's 200 services a host would fill the journal.
var TellingServices = []string{"WinRM", "Schedule", "mpssvc", "Wecsvc", "ClusSvc", "vmms", "SCVMMAgent", "NcHostAgent", "CertSvc", "NTDS", "W3SVC", "W32Time"}

// WindowsService is a service of the service control manager.
type WindowsService struct {
	Name    string `json:"name"`
	Running bool   `json:"running"`
	Start   string `json:"start"` // Auto, Manual, Disabled
}

// Peer is a connection to a WinRM port of the host, established or just closed.
type Peer struct {
	Address string `json:"address"`
	Name    string `json:"name,omitempty"`   // of the computer with the address, where somebody has looked it up
	Port    int    `json:"port"`             // 5985 or 5986
	Self    bool   `json:"self,omitempty"`   // it is the connection of this observation
	Closed  bool   `json:"closed,omitempty"` // it has just ended: the trace of a client that comes and goes
}

// Drop is a connection that the host's firewall turned away, from its own log.
type Drop struct {
	At      time.Time `json:"at"`
	Address string    `json:"address"` // of who tried
	Port    int       `json:"port"`
}

// Administrator is a member of the host's local group S-1-5-32-544.
type Administrator struct {
	Domain string `json:"domain"` // the host's own name for local accounts
	Name   string `json:"name"`
	Group  bool   `json:"group,omitempty"` // its members are administrators, too
}

// PolicyValue is a registry value that Group Policy set, and the object that won.
type PolicyValue struct {
	Name string `json:"name"`         // AllowAutoConfig
	GPO  string `json:"gpo"`          // display name of the Group Policy object, or its distinguished name
	ID   string `json:"id,omitempty"` // of the object: {GUID}, in capitals
	// Object is what the directory has of it; nil where nobody has looked it up.
	Object *PolicyObject `json:"object,omitempty"`
}

// PolicyObject is what the directory has of a Group Policy object.
type PolicyObject struct {
	Name  string   `json:"name"`
	Path  string   `json:"path,omitempty"`  // of its files, UNC
	Links []string `json:"links,omitempty"` // distinguished names of the OUs, domains and sites, and how it is linked there
}

// WinnerOf is the winning value with its object; ok is false when it is not known.
func (o Observation) WinnerOf(value string) (v PolicyValue, ok bool) {
	i := slices.IndexFunc(o.PolicyValues.Value, func(v PolicyValue) bool { return strings.EqualFold(v.Name, value) })
	if i < 0 {
		return PolicyValue{}, false
	}
	v = o.PolicyValues.Value[i]
	if v.Object != nil && v.Object.Name != "" {
		v.GPO = v.Object.Name // the host's own may be a distinguished name
	}
	return v, true
}

// Winner is the name of the Group Policy object that sets the value; empty when it is not known.
func (o Observation) Winner(value string) string {
	v, _ := o.WinnerOf(value)
	return v.GPO
}

// winner names the Group Policy object that sets the value, for people.
func (o Observation) winner(value string) string {
	v, ok := o.WinnerOf(value)
	switch {
	case !ok || v.GPO == "":
		return ""
	case v.Object != nil && len(v.Object.Links) > 0:
		return fmt.Sprintf(" (by the Group Policy object %q, linked to %s)", v.GPO, strings.Join(v.Object.Links, "; "))
	}
	return fmt.Sprintf(" (by the Group Policy object %q)", v.GPO)
}

// Undo is the armed way back on the host.
type Undo struct {
	Armed    bool   `json:"armed"`
	Campaign string `json:"campaign,omitempty"`
	Mark     string `json:"mark,omitempty"`     // which of the campaign's it is
	Task     bool   `json:"task"`               // the scheduled task exists
	Disabled bool   `json:"disabled,omitempty"` // somebody has switched the task off
	Running  bool   `json:"running,omitempty"`  // it has fired and is not through yet
}

// UndoMark is what an undo that was armed at that time has on the host. One of an earlier attempt, of a worker that was
// declared dead, or of a copy of this controller, is of the same campaign and another one all the same.
func UndoMark(id CampaignID, at time.Time) string {
	return string(id) + "@" + at.UTC().Format("20060102T150405.000000000Z")
}

// MarkedBy is the campaign of a mark.
func MarkedBy(mark string) string {
	if i := strings.LastIndexByte(mark, '@'); i >= 0 {
		return mark[:i]
	}
	return mark // of a version that had no more
}

// Active reports whether the host would really put HTTP back by itself.
func (u Undo) Active() bool { return u.Armed && u.Task && !u.Disabled }

// BeforeImage is what a host looked like before this program first wrote to it.
// It is kept twice: in the journal and on the host.
type BeforeImage struct {
	Host      HostID         `json:"host"`
	At        time.Time      `json:"at"`
	Campaign  string         `json:"campaign"`
	Listeners []Listener     `json:"listeners"`
	Bindings  []Binding      `json:"bindings,omitempty"`
	Rules     []FirewallRule `json:"rules,omitempty"`
}

// Fingerprint is a short hash over what an approval rests on: who the host is,
// its listeners, bindings, policy and filters. Addresses and peers may change.
func (o Observation) Fingerprint() string {
	if o.Via == "" {
		return "" // never seen: there is nothing that could have moved
	}
	type part struct {
		Identity  Seen[Identity]
		Listeners []Listener
		Bindings  []Binding
		Policy    Seen[WinRMPolicy]
		Filters   [2]string
	}
	p := part{Identity: o.Identity, Bindings: slices.Clone(o.Bindings.Value), Policy: o.Policy,
		Filters: [2]string{o.Service.Value.IPv4Filter, o.Service.Value.IPv6Filter}}
	for _, l := range o.Listeners.Value {
		l.ListeningOn = nil
		p.Listeners = append(p.Listeners, l)
	}
	slices.SortFunc(p.Listeners, func(a, b Listener) int {
		return cmp.Or(cmp.Compare(a.Transport, b.Transport), cmp.Compare(a.Address, b.Address), cmp.Compare(a.Source, b.Source))
	})
	slices.SortFunc(p.Bindings, func(a, b Binding) int { return cmp.Compare(a.Endpoint, b.Endpoint) })
	b, err := json.Marshal(p)
	if err != nil {
		panic("rollout: an observation is plain data: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}
