package rollout

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Bound is how many hosts may be worked on at once: of those that fit, counted together or apart for each zone, site or
// the like. A bound of one keeps hosts that do the same work from being worked on at the same time. The way back does
// not wait for it.
type Bound struct {
	Each  string `json:"each,omitempty"` // zone, site, ou, domain, cluster or ca; empty counts all together
	Zone  Zone   `json:"zone,omitempty"` // only hosts of it, and so on; all that is named has to fit
	Site  string `json:"site,omitempty"`
	OU    string `json:"ou,omitempty"` // canonical; those below it, too
	Group string `json:"group,omitempty"`
	Role  Role   `json:"role,omitempty"`
	Max   int    `json:"max"`
}

// boundsOf are the ways to count apart.
var boundsOf = []string{"", "zone", "site", "ou", "domain", "cluster", "ca"}

func (b Bound) validate() error {
	switch {
	case b.Max < 1:
		return errors.New("max has to be 1 at least, or nothing could ever begin")
	case !slices.Contains(boundsOf, b.Each):
		return fmt.Errorf("each: %q is none of zone, site, ou, domain, cluster and ca", b.Each)
	}
	return nil
}

func (b Bound) fits(h Host) bool {
	return (b.Zone == "" || b.Zone == h.Zone) && (b.Site == "" || strings.EqualFold(b.Site, h.Site)) && h.below(b.OU) &&
		(b.Group == "" || h.in(b.Group)) && (b.Role == "" || h.Has(b.Role))
}

// below reports whether the host is in or below an OU; every host is below none.
func (h Host) below(ou string) bool {
	return ou == "" || strings.EqualFold(h.OU, ou) || strings.HasPrefix(strings.ToLower(h.OU), strings.ToLower(ou)+"/")
}

func (h Host) in(group string) bool {
	return slices.ContainsFunc(h.Groups, func(g string) bool { return strings.EqualFold(g, group) })
}

// bucket is what a host counts towards under a bound.
type bucket struct {
	bound int // index
	value string
}

// buckets are all that a host counts towards. A host whose site or cluster is not known counts towards none of them.
func (p Policy) buckets(h Host) []bucket {
	var all []bucket
	for i, b := range p.AtOnce {
		if !b.fits(h) {
			continue
		}
		value := "all"
		switch b.Each {
		case "zone":
			value = "zone " + string(h.Zone) // the one without a name is a zone, too
		case "site":
			value = strings.ToLower(h.Site)
		case "ou":
			value = strings.ToLower(h.OU)
		case "domain":
			value = strings.ToLower(h.Domain)
		case "cluster":
			value = strings.ToLower(h.Cluster)
		case "ca":
			// Which CA will answer is decided by the host or by the directory, so all that may ask for a certificate of
			// one template are counted together.
			route, template := p.RouteOf(h)
			if value = strings.ToLower(template); route == RouteReuse {
				value = ""
			}
		}
		if value != "" {
			all = append(all, bucket{i, value})
		}
	}
	return all
}

// hold counts a host in or out of its buckets.
func (s *State) hold(id HostID, n int) {
	for _, b := range s.buckets[id] {
		if s.busy[b] += n; s.busy[b] == 0 {
			delete(s.busy, b)
		}
	}
}

// roomFor reports whether the bounds let one more host begin, and takes its place in this decision.
func (d *decider) roomFor(id HostID) bool {
	for _, b := range d.s.buckets[id] {
		if d.s.busy[b]+d.begun[b] >= d.p.Policy.AtOnce[b.bound].Max {
			return false
		}
	}
	d.count(id)
	return true
}

func (d *decider) count(id HostID) {
	for _, b := range d.s.buckets[id] {
		if d.begun == nil {
			d.begun = map[bucket]int{}
		}
		d.begun[b]++
	}
}
