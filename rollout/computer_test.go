package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"wavelock/pki"
)

// computer is a Windows computer as far as the procedure is concerned: doors,
// certificates, one firewall rule, the undo and the before-image. It watches the
// invariants of the procedure where they matter, at the effect, and knows nothing
// of Next.
type computer struct {
	t      fataler
	now    time.Time
	host   Host
	policy Policy

	http, https   bool
	gpo           bool // Group Policy owns the HTTP listener
	thumb, bound  pki.Thumbprint
	certs         []pki.Certificate
	rule, blocked bool // our firewall rule; whether the port needs one
	armed, task   bool
	by            string         // whose undo it is; empty: ours
	mark          string         // of the undo
	back          pki.Thumbprint // what the undo of a renewal binds again
	last          bool           // it opens HTTP where that certificate is gone
	shut          bool           // something on the way shuts HTTP, which is there
	expels        bool           // what the listener had is out of the store as soon as it has another
	fires         time.Time
	image         *BeforeImage
	peers         []Peer
	imposter      bool      // another computer answers under the name
	off           time.Time // not reachable until then
	cut           time.Time // 5986 is cut on the way until then
	ca            string    // "", "deny", "pend", "down"
	requested     bool      // a key waits for its certificate
	spoils        bool      // what the CA issues now lets nobody in
	rotten        pki.Thumbprint
	asked         uint32   // requests that the CA has numbered
	told          uint32   // the number that the journal has; the answer with it may be lost
	unseen        []string // parts that the next inspection cannot read

	narrowed time.Time // since when HTTP is for us alone; zero when it is not
	drops    []Drop

	cutOff             bool // a restart cut the session that wrote last; the next look opens another
	session, confirmed bool // the HTTPS sessions that prove-https, and prove-closed or prove-narrow, made
	action             ActionKind
	begun              time.Time // when the action began
	armedAt            time.Time
	provedAt, closedAt time.Time
	kept               *BeforeImage // what the journal has
	effects            int          // of the running action
	fired              int
	first              *doors
}

// doors are what a restore has to bring back.
type doors struct {
	http, https, rule, narrowed bool
	thumb                       pki.Thumbprint
}

func (c *computer) doors() doors {
	return doors{c.http, c.https, c.rule, !c.narrowed.IsZero(), c.thumb}
}

// usable reports whether the host itself would let an administrator in over HTTPS.
func (c *computer) usable() bool {
	good := slices.ContainsFunc(c.certs, func(x pki.Certificate) bool { return x.Thumbprint == c.thumb && c.now.Before(x.NotAfter) })
	return c.https && good && c.thumb != c.rotten && c.bound == c.thumb && (c.rule || !c.blocked)
}

func (c *computer) httpUp() bool { return c.http && !c.shut && !c.now.Before(c.off) }
func (c *computer) httpsUp() bool {
	return c.usable() && !c.now.Before(c.off) && !c.now.Before(c.cut)
}

// pass lets time go by on the host, whoever is looking.
func (c *computer) pass(d time.Duration) {
	c.now = c.now.Add(d)
	if c.armed && c.task && !c.now.Before(c.fires) {
		c.fire()
	}
	c.watch("time went by")
}

// fire is the undo: HTTP comes back, or the certificate, and the task deletes itself; its registry key stays.
func (c *computer) fire() {
	if c.back != "" {
		switch c.fired++; {
		case slices.ContainsFunc(c.certs, func(x pki.Certificate) bool { return x.Thumbprint == c.back }):
			c.https, c.thumb, c.bound, c.task = true, c.back, c.back, false
		case c.last:
			c.http, c.task = true, false
		}
		return
	}
	if !c.http {
		c.fired++
	}
	c.http, c.task, c.narrowed = true, false, time.Time{}
}

func (c *computer) reboot() {
	if c.armed && c.task {
		c.fire()
	}
	c.session, c.confirmed, c.cutOff = false, false, true
}

// watch holds what must be true at any moment.
func (c *computer) watch(when string) {
	if !c.http && !c.usable() && !(c.armed && c.task) {
		c.t.Fatalf("after %s both doors are shut and no undo is armed: %+v", when, *c)
	}
}

// marked is the mark that the registry has.
func (c *computer) marked() string {
	if c.armed {
		return c.mark
	}
	return ""
}

func (c *computer) observe() Observation {
	o := Observation{Host: c.host.ID, At: c.now, HTTP: doorOf(c.httpUp(), c.now.Before(c.off)), HTTPS: doorOf(c.httpsUp(), c.now.Before(c.off) || c.now.Before(c.cut))}
	switch {
	case c.httpUp():
		o.Via = HTTP
	case c.httpsUp():
		o.Via = HTTPS
	default:
		return o
	}
	name := string(c.host.ID)
	if c.imposter {
		name = "other.corp.example"
	}
	o.Identity = Saw(Identity{FQDN: name, Domain: c.host.Domain, PartOfDomain: true})
	o.System = Saw(System{Build: 20348})
	o.Service = Saw(Service{IPv4Filter: "*", IPv6Filter: "*"})
	o.Policy, o.Uses = Saw(WinRMPolicy{}), Saw(Uses{})
	o.Services = Saw([]WindowsService{{Name: "Schedule", Running: true}, {Name: "mpssvc", Running: true}})
	o.Peers, o.Drops = Saw(append(slices.Clone(c.peers), Peer{Address: "192.0.2.1", Port: 5985, Self: true})), Saw(slices.Clone(c.drops))
	o.Listeners, o.Bindings, o.Firewall = Saw(c.listeners()), Saw(c.bindings()), Saw(c.firewall())
	o.Certificates = Saw(slices.Clone(c.certs))
	o.Undo = Saw(Undo{Armed: c.armed, Task: c.task, Campaign: cmp.Or(c.by, "drill"), Mark: c.marked()})
	o.Image = Saw(c.image)
	for _, part := range c.unseen {
		blind(&o, part)
	}
	c.unseen = nil
	return o
}

// parts are those that an inspection may fail to read.
var parts = []string{"identity", "listeners", "bindings", "certificates", "firewall", "policy", "peers", "services", "service", "undo", "image", "system", "uses"}

func blind(o *Observation, part string) {
	const why = "access denied"
	switch part {
	case "identity":
		o.Identity = Unseen[Identity](why)
	case "listeners":
		o.Listeners = Unseen[[]Listener](why)
	case "bindings":
		o.Bindings = Unseen[[]Binding](why)
	case "certificates":
		o.Certificates = Unseen[[]pki.Certificate](why)
	case "firewall":
		o.Firewall = Unseen[Firewall](why)
	case "policy":
		o.Policy = Unseen[WinRMPolicy](why)
	case "peers":
		o.Peers = Unseen[[]Peer](why)
	case "services":
		o.Services = Unseen[[]WindowsService](why)
	case "service":
		o.Service = Unseen[Service](why)
	case "undo":
		o.Undo = Unseen[Undo](why)
	case "image":
		o.Image = Unseen[*BeforeImage](why)
	case "uses":
		o.Uses = Unseen[Uses](why)
	case "system":
		o.System = Unseen[System](why)
	}
}

func doorOf(open, silent bool) Door {
	switch {
	case open:
		return Door{State: DoorOpen}
	case silent:
		return Door{State: DoorSilent}
	}
	return Door{State: DoorRefused}
}

func (c *computer) listeners() []Listener {
	var l []Listener
	if c.http {
		l = append(l, Listener{Address: "*", Transport: HTTP, Port: 5985, Enabled: true})
		if c.gpo {
			l[0].Source = SourceGPO
		}
	}
	if c.https {
		l = append(l, Listener{Address: "*", Transport: HTTPS, Port: 5986, Enabled: true, Thumbprint: c.thumb})
	}
	return l
}

func (c *computer) bindings() []Binding {
	if c.bound == "" {
		return nil
	}
	return []Binding{{Endpoint: "0.0.0.0:5986", Thumbprint: c.bound, AppID: WinRMAppID}}
}

func (c *computer) firewall() Firewall {
	f := Firewall{Profiles: []FirewallProfile{{Name: "domain", Enabled: true, BlockIn: c.blocked, LocalMerge: true, DropLog: `c:\drops.log`}}}
	if c.rule {
		f.Rules = append(f.Rules, FirewallRule{Name: RuleNamePrefix + "https-5986", Allow: true, Active: true, Ports: []string{"5986"}})
	}
	if !c.narrowed.IsZero() {
		f.Rules = append(f.Rules, FirewallRule{Name: RuleNamePrefix + "block-5985", Active: true, Ports: []string{"5985"}})
	}
	return f
}

// goodCert is fit for the listener of the host in every respect.
func goodCert(h HostID, n int, now time.Time) pki.Certificate {
	return pki.Certificate{Thumbprint: pki.Thumbprint(fmt.Sprintf("%040X", n)), CommonName: string(h), Subject: "CN=" + string(h), DNSNames: []string{string(h)},
		Issuer: "CN=CA", NotBefore: now.Add(-time.Hour), NotAfter: now.Add(365*24*time.Hour + time.Duration(n)*time.Minute), ServerAuth: true, KeyBits: 2048, KeyAlgorithm: "RSA",
		Signature: "SHA256-RSA", HasKey: true}
}

func (c *computer) fail(kind StepKind, r Reason, unsure, transient bool) *Failure {
	return &Failure{Host: c.host.ID, Step: kind, Reason: r, Unsure: unsure, Transient: transient}
}

// do is what a driver does for a step, on a good day.
func (c *computer) do(s Step) (Result, *Failure) {
	if s.Kind == StepInspect {
		o := c.observe()
		c.cutOff = false
		return Result{Seen: &o}, nil
	}
	if s.Kind == StepSubmit {
		return c.submit(s)
	}
	if !c.httpUp() && !c.httpsUp() {
		return Result{}, c.fail(s.Kind, ReasonTimeout, false, true)
	}
	if s.Kind.Writes() {
		c.mayWrite(s)
		c.effects++
	}
	res, f := c.effect(s)
	c.watch(string(s.Kind))
	return res, f
}

// mayWrite holds what has to be true of every write.
func (c *computer) mayWrite(s Step) {
	switch {
	case c.imposter:
		c.t.Fatalf("%s is written to another computer", s.Kind)
	case s.Kind != StepSaveImage && s.Kind != StepRestore && s.Kind != StepDisarm && (c.kept == nil || c.image == nil):
		c.t.Fatalf("%s before the image is kept in the journal (%v) and on the host (%v)", s.Kind, c.kept != nil, c.image != nil)
	case c.gpo && c.http && c.action == ActClose:
		c.t.Fatalf("%s while Group Policy owns HTTP", s.Kind)
	}
	if c.first == nil && s.Kind != StepSaveImage {
		now := c.doors()
		c.first = &now
	}
}
