package ldapdisco

import (
	"context"
	"errors"
	"hash/maphash"
	"maps"
	"slices"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// twins counts how many live accounts of the selection have a DNS name. It holds hashes, eight bytes a computer, and the
// names of those that have more than one account.
type twins struct {
	seed    maphash.Seed
	once    map[uint64]struct{}
	more    map[string]int  // accounts by name in lower case, from two on
	told    map[string]bool // GUIDs that were given with the problem
	settled bool            // all have been counted
}

func newTwins() *twins {
	return &twins{seed: maphash.MakeSeed(), once: map[uint64]struct{}{}, more: map[string]int{}, told: map[string]bool{}}
}

func (t *twins) add(c Computer) {
	if t.settled || c.DNSHostName == "" {
		return
	}
	name := strings.ToLower(c.DNSHostName)
	h := maphash.String(t.seed, name)
	if _, again := t.once[h]; !again {
		t.once[h] = struct{}{}
		return
	}
	t.more[name] = max(t.more[name], 1) + 1
	t.told[c.GUID] = true
}

func (t *twins) count(name string) int { return t.more[strings.ToLower(name)] }

// alive reports whether the account is not stale.
func (r *reading) alive(c Computer) bool {
	t := r.q.staleBefore()
	return t.IsZero() || !c.LastSeen().Before(t)
}

var errEnough = errors.New("the consumer wants no more")

// giveFirstTwins reads the accounts again whose name a later account turned out to have.
func (d *Directory) giveFirstTwins(ctx context.Context, r *reading, yield func(Computer, error) bool) error {
	r.twins.settled = true
	const atOnce = 50 // names in one filter
	for names := range slices.Chunk(slices.Sorted(maps.Keys(r.twins.more)), atOnce) {
		var any []string
		for _, n := range names {
			any = append(any, "(dNSHostName="+ldap.EscapeFilter(n)+")", "(dNSHostName="+ldap.EscapeFilter(n)+".)")
		}
		for _, base := range r.bases {
			q := r.query(base, "compare computers of the same name below "+base, computerAttributes)
			q.filter = "(&" + r.filter + oneOf(any) + ")"
			for page, err := range d.pages(ctx, q) {
				if err == nil {
					err = d.finish(ctx, page)
				}
				if err != nil {
					return err
				}
				for _, e := range page {
					c, ok := r.computer(e)
					if ok && c.Problem != nil && c.Problem.Code == DuplicateDNSName && !r.twins.told[c.GUID] && !yield(c, nil) {
						return errEnough
					}
				}
			}
		}
	}
	return nil
}
