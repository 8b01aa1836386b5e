package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Census is who was connected to one host's WinRM ports, over many samples. It
// grows by one sample at a time and says nothing of the time in between.
type Census struct {
	Since   time.Time `json:"since"`   // the first sample
	Last    time.Time `json:"last"`    // the latest one
	Samples int       `json:"samples"` // in which the host told its connections
	Clients []Client  `json:"clients,omitempty"`
	// More is how many clients were left out because there were too many; those
	// that were seen longest ago go first.
	More int `json:"more,omitempty"`
}

// Client is a computer that was seen at a host's WinRM ports.
type Client struct {
	Address string     `json:"address"`
	Name    string     `json:"name,omitempty"` // of the computer that had the address when it was last named
	Ports   []Sighting `json:"ports"`
	Probed  *Probing   `json:"probed,omitempty"` // the latest proof of HTTPS from there that was handed in
}

// Sighting is a client at one port.
type Sighting struct {
	Port    int       `json:"port"`
	First   time.Time `json:"first"`
	Last    time.Time `json:"last"`
	Samples int       `json:"samples"` // in which it was there
}

// maxClients bounds a host's census: a scanner that comes from a thousand
// addresses does not fill the journal.
const maxClients = 200

// With is the census after one more look at the host. A look that did not see the
// connections, that another computer answered, or that is not newer than the
// latest sample changes nothing.
func (c Census) With(o Observation) Census {
	if !o.Peers.Known || !strings.EqualFold(o.Identity.Value.FQDN, string(o.Host)) || !o.At.After(c.Last) {
		return c
	}
	if c.Samples == 0 {
		c.Since = o.At
	}
	c.Last = o.At
	c.Samples++
	c.Clients = slices.Clone(c.Clients)
	counted := map[string]bool{}
	for _, p := range o.Peers.Value {
		key := fmt.Sprint(p.Address, " ", p.Port)
		if p.Self || counted[key] {
			continue
		}
		counted[key] = true
		c.saw(p, o.At)
	}
	if over := len(c.Clients) - maxClients; over > 0 {
		slices.SortStableFunc(c.Clients, func(a, b Client) int { return b.last().Compare(a.last()) })
		c.Clients, c.More = c.Clients[:maxClients], c.More+over
	}
	slices.SortFunc(c.Clients, func(a, b Client) int { return cmp.Compare(a.Address, b.Address) })
	return c
}

func (c *Census) saw(p Peer, at time.Time) {
	i := slices.IndexFunc(c.Clients, func(k Client) bool { return k.Address == p.Address })
	if i < 0 {
		i = len(c.Clients)
		c.Clients = append(c.Clients, Client{Address: p.Address})
	}
	k := &c.Clients[i]
	if p.Name != "" {
		k.Name = p.Name
	}
	k.Ports = slices.Clone(k.Ports)
	n := slices.IndexFunc(k.Ports, func(s Sighting) bool { return s.Port == p.Port })
	if n < 0 {
		n = len(k.Ports)
		k.Ports = append(k.Ports, Sighting{Port: p.Port, First: at})
	}
	k.Ports[n].Last = at
	k.Ports[n].Samples++
}

func (k Client) last() time.Time {
	var t time.Time
	for _, s := range k.Ports {
		if s.Last.After(t) {
			t = s.Last
		}
	}
	return t
}

// At is when and how often the client was seen at the port; never is the zero Sighting.
func (k Client) At(port int) Sighting {
	for _, s := range k.Ports {
		if s.Port == port {
			return s
		}
	}
	return Sighting{}
}

// String names the client for people.
func (k Client) String() string {
	if k.Name == "" {
		return k.Address
	}
	return k.Name + " (" + k.Address + ")"
}

// UsersOf are the clients that count as users of the port: not ours, and not seen
// for the last time longer ago than the policy looks back.
func (c Census) UsersOf(port int, p Policy, now time.Time) []Client {
	var list []Client
	for _, k := range c.Clients {
		s := k.At(port)
		old := p.ClientsWithin > 0 && now.Sub(s.Last) > p.ClientsWithin.D()
		if s.Samples > 0 && !old && !slices.Contains(p.Controllers, k.Address) {
			list = append(list, k)
		}
	}
	return list
}

// NotMoved are the users of HTTP that were never seen on HTTPS, and from which nobody
// has proved it: for all that is known, a firewall on their way lets only HTTP pass.
func (c Census) NotMoved(p Policy, now time.Time) []Client {
	return slices.DeleteFunc(c.UsersOf(p.HTTPPort, p, now), func(k Client) bool { return k.moved(p, now) })
}

// Words is what the census says of the users of HTTP. It never says that there
// are none: only that none was seen, how often it was looked, and since when.
func (c Census) Words(p Policy, now time.Time) string {
	if c.Samples == 0 {
		return "unknown: never sampled"
	}
	span := fmt.Sprintf("in %s since %s", samples(c.Samples), c.Since.UTC().Format("2006-01-02 15:04"))
	users := c.UsersOf(p.HTTPPort, p, now)
	if len(users) == 0 && c.More == 0 {
		return "none seen " + span
	}
	names := make([]string, len(users))
	for i, k := range users {
		s := k.At(p.HTTPPort)
		names[i] = fmt.Sprintf("%s %d times, last %s", k, s.Samples, s.Last.UTC().Format("2006-01-02 15:04"))
		if pr := k.Probed; pr != nil {
			names[i] += fmt.Sprintf(", HTTPS proved from there %s as %s says", pr.At.UTC().Format("2006-01-02 15:04"), pr.By)
		}
	}
	if c.More > 0 {
		names = append(names, fmt.Sprintf("%d more that were not kept", c.More))
	}
	return strings.Join(names, "; ") + "; " + span
}

func samples(n int) string {
	if n == 1 {
		return "1 sample"
	}
	return fmt.Sprintf("%d samples", n)
}

// clientsMoved is the check: a proof from the controller is no proof for the users,
// because network rules often let only HTTP pass.
func clientsMoved(_ Host, o Observation, p Policy, now time.Time) (Finding, bool) {
	left := o.Census.Value.NotMoved(p, now)
	if len(left) == 0 {
		return Finding{}, false
	}
	const most = 5
	var names []string
	for _, k := range left[:min(most, len(left))] {
		s := k.At(p.HTTPPort)
		names = append(names, fmt.Sprintf("%s, first %s, last %s", k, s.First.UTC().Format("2006-01-02 15:04"), s.Last.UTC().Format("2006-01-02 15:04")))
	}
	if len(left) > most {
		names = append(names, fmt.Sprintf("%d more", len(left)-most))
	}
	return blocker(ReasonClientNotMoved, onlyClosing, "seen on %d and never on %d: %s", p.HTTPPort, p.Port, strings.Join(names, "; "))
}

// watchedEnough is the check that the host was sampled as long and as often as the
// policy asks before its HTTP goes.
func watchedEnough(_ Host, o Observation, p Policy, now time.Time) (Finding, bool) {
	if p.CensusFor <= 0 && p.CensusSamples <= 0 {
		return Finding{}, false
	}
	c := o.Census.Value
	switch {
	case c.Samples == 0:
		return blocker(ReasonCensusShort, onlyClosing, "nobody has looked yet who uses HTTP, and the policy asks for it")
	case c.Samples < p.CensusSamples || c.Last.Sub(c.Since) < p.CensusFor.D():
		return blocker(ReasonCensusShort, onlyClosing, "looked %d times over %v; the policy asks for %d times over %v",
			c.Samples, c.Last.Sub(c.Since).Round(time.Second), p.CensusSamples, p.CensusFor)
	case p.ClientsWithin > 0 && now.Sub(c.Last) > p.ClientsWithin.D():
		return blocker(ReasonCensusShort, onlyClosing, "last looked at %s, longer ago than the policy looks back", c.Last.UTC().Format("2006-01-02 15:04"))
	}
	return Finding{}, false
}
