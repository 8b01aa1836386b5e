package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Clientele is who still uses HTTP in the whole fleet, by source. A host that was
// never sampled is counted as unknown, never as one that nobody uses.
type Clientele struct {
	Hosts   int          `json:"hosts"`
	Unknown int          `json:"unknown"` // never sampled
	Quiet   int          `json:"quiet"`   // none seen
	Used    int          `json:"used"`    // somebody was
	Samples int          `json:"samples"` // fewest of a quiet host
	Since   time.Time    `json:"since,omitzero"`
	Sources []HTTPSource `json:"sources,omitempty"` // who uses most hosts first
}

// HTTPSource is one client of HTTP and the hosts where it was seen.
type HTTPSource struct {
	Address string    `json:"address"`
	Name    string    `json:"name,omitempty"`
	Last    time.Time `json:"last"`
	Hosts   []HostID  `json:"hosts"`
	// NotMoved is on how many of them it was never seen on HTTPS.
	NotMoved int `json:"not_moved"`
}

// Add counts one host. Since and Samples tell of the quiet hosts the least that
// is true of each: the latest beginning and the fewest samples.
func (c *Clientele) Add(h HostID, census Census, p Policy, now time.Time) {
	c.Hosts++
	users := census.UsersOf(p.HTTPPort, p, now)
	switch {
	case census.Samples == 0:
		c.Unknown++
		return
	case len(users) > 0 || census.More > 0:
		c.Used++
	default:
		c.Quiet++
		if c.Quiet == 1 || census.Samples < c.Samples {
			c.Samples = census.Samples
		}
		if census.Since.After(c.Since) {
			c.Since = census.Since
		}
	}
	for _, k := range users {
		i := slices.IndexFunc(c.Sources, func(s HTTPSource) bool { return s.Address == k.Address })
		if i < 0 {
			i = len(c.Sources)
			c.Sources = append(c.Sources, HTTPSource{Address: k.Address})
		}
		s := &c.Sources[i]
		s.Hosts = append(s.Hosts, h)
		s.Name = cmp.Or(k.Name, s.Name)
		if at := k.At(p.HTTPPort).Last; at.After(s.Last) {
			s.Last = at
		}
		if !k.moved(p, now) {
			s.NotMoved++
		}
	}
}

// Sort puts the sources into the order in which a person should go to them.
func (c *Clientele) Sort() {
	slices.SortStableFunc(c.Sources, func(a, b HTTPSource) int {
		return cmp.Or(cmp.Compare(len(b.Hosts), len(a.Hosts)), cmp.Compare(a.Address, b.Address))
	})
}

// Words is the clientele in a sentence.
func (c Clientele) Words() string {
	s := fmt.Sprintf("HTTP is used on %d of %d hosts; unknown on %d, never sampled", c.Used, c.Hosts, c.Unknown)
	if c.Quiet > 0 {
		s += fmt.Sprintf("; none seen on %d, each in %s at least, all since %s", c.Quiet, samples(c.Samples), c.Since.UTC().Format("2006-01-02 15:04"))
	}
	return s
}
