package web

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"wavelock/rollout"
)

// fleet is what is known of all hosts at one time. It is not changed any more.
type fleet struct {
	hosts  []*rollout.Summary // by name
	lower  []string           // what a search looks into, in the order of hosts
	total  tally
	dims   map[string][]group
	kinds  []kind // findings by kind, those that block first
	series []rollout.CoveragePoint
	days   []daysLeft
	starts rollout.Initiators
	made   time.Time
}

// tally counts hosts by class and what else the tiles show.
type tally struct {
	Hosts   int
	Classes map[rollout.Class]int
	Blocked int // something stands in the way of it
	Problem int // it cannot be managed
	Newest  time.Time
	Oldest  time.Time // of the last sights
}

// group is the part of the fleet that shares a value.
type group struct {
	Value   string
	Hosts   int
	Classes map[rollout.Class]int
}

// dimensions are what the coverage is split by.
var dimensions = []dimension{
	{"ou", "Organizational unit", func(s *rollout.Summary) []string { return []string{s.OU} }},
	{"site", "Site", func(s *rollout.Summary) []string { return []string{s.Site} }},
	{"os", "Operating system", func(s *rollout.Summary) []string { return []string{s.OS} }},
	{"role", "Role", func(s *rollout.Summary) []string {
		if len(s.Roles) == 0 {
			return []string{""}
		}
		all := make([]string, len(s.Roles))
		for i, r := range s.Roles {
			all[i] = string(r)
		}
		return all
	}},
	{"zone", "Zone", func(s *rollout.Summary) []string { return []string{string(s.Zone)} }},
}

type dimension struct {
	Key, Title string
	of         func(*rollout.Summary) []string
}

// kind is a finding with the hosts that have it.
type kind struct {
	Reason   rollout.Reason
	Severity rollout.Severity
	Hosts    int
	Waived   int // of them
}

// keeper moves the fleet on by what changed.
type keeper struct {
	source   Source
	now      func() time.Time
	ctx      context.Context // of the dashboard: nobody's leaving ends the first reading
	patience time.Duration   // how long a page waits for the first reading, which takes seconds for a large fleet

	mu    sync.Mutex // guards first
	first *reading   // nil: not begun, or failed

	turn    chan struct{} // holds one mark while somebody uses what follows
	last    *fleet
	known   map[rollout.HostID]*rollout.Summary
	rev     int64
	history rollout.History
	told    int64 // position in the history
}

func newKeeper(ctx context.Context, cfg Config) *keeper {
	return &keeper{source: cfg.Source, now: cfg.Now, ctx: ctx, patience: cfg.Patience, turn: make(chan struct{}, 1)}
}

// reading is the first of all.
type reading struct {
	since time.Time
	done  chan struct{} // closed when err is there
	err   error
}

// ReadingError says that the fleet is still being read for the first time.
type ReadingError struct{ Since time.Time }

func (e *ReadingError) Error() string { return "the computers are being read from the journal" }

// get is the fleet as it is now; a *ReadingError while it is not there yet.
func (k *keeper) get(ctx context.Context) (*fleet, error) {
	r := k.begun()
	enough := time.NewTimer(k.patience)
	defer enough.Stop()
	select {
	case <-r.done:
		return k.after(ctx, r)
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-enough.C:
		return nil, &ReadingError{r.since}
	}
}

// await is the fleet as it is now, for those who have time.
func (k *keeper) await(ctx context.Context) (*fleet, error) {
	r := k.begun()
	select {
	case <-r.done:
		return k.after(ctx, r)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// after is what changed since the first reading.
func (k *keeper) after(ctx context.Context, r *reading) (*fleet, error) {
	if r.err != nil {
		return nil, r.err
	}
	return k.look(ctx)
}

// begun is the first reading, which is begun anew after it failed.
func (k *keeper) begun() *reading {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.first == nil {
		r := &reading{since: k.now(), done: make(chan struct{})}
		k.first = r
		go func() {
			_, r.err = k.look(k.ctx)
			if r.err != nil {
				k.mu.Lock()
				k.first = nil
				k.mu.Unlock()
			}
			close(r.done)
		}()
	}
	return k.first
}

// look reads what changed, one at a time.
func (k *keeper) look(ctx context.Context) (*fleet, error) {
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	before := k.told
	var some []rollout.Summary
	var rev int64
	both, inBoth := errgroup.WithContext(ctx) // of a large fleet each takes a processor for seconds
	both.Go(func() (err error) {
		some, rev, err = k.source.Summaries(inBoth, k.rev)
		return err
	})
	both.Go(func() error { return k.catchUp(inBoth) })
	if err := both.Wait(); err != nil {
		return nil, err
	}
	// Days left and the end of the chart move with the clock.
	if k.last != nil && len(some) == 0 && k.told == before && k.now().Sub(k.last.made) < 10*time.Minute {
		return k.last, nil
	}
	if k.known == nil {
		k.known = make(map[rollout.HostID]*rollout.Summary, len(some))
	}
	for i := range some {
		k.known[some[i].Host] = &some[i]
	}
	k.rev = rev
	hosts := slices.Collect(maps.Values(k.known))
	rollout.JoinShares(hosts)
	for _, h := range hosts {
		k.known[h.Host] = h // so that what was joined once is not copied again
	}
	k.last = newFleet(hosts, k.now())
	k.last.series, k.last.made = k.history.Series(k.now(), 120), k.now()
	return k.last, nil
}

func (k *keeper) catchUp(ctx context.Context) error {
	for c, err := range k.source.History(ctx, k.told) {
		if err != nil {
			return err
		}
		k.history.Add(c)
		k.told = c.N
	}
	return nil
}

// at is the coverage at a past date.
func (k *keeper) at(ctx context.Context, date time.Time) (rollout.CoveragePoint, error) {
	if _, err := k.get(ctx); err != nil {
		return rollout.CoveragePoint{}, err
	}
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return rollout.CoveragePoint{}, ctx.Err()
	}
	return k.history.At(date), nil
}

func newFleet(hosts []*rollout.Summary, now time.Time) *fleet {
	slices.SortFunc(hosts, func(a, b *rollout.Summary) int { return cmp.Compare(a.Host, b.Host) })
	f := &fleet{hosts: hosts, lower: make([]string, len(hosts)), total: tally{Classes: map[rollout.Class]int{}}, dims: map[string][]group{}}
	kinds := map[kind]*kind{}
	groups := map[string]map[string]*group{}
	for _, d := range dimensions {
		groups[d.Key] = map[string]*group{}
	}
	for i, s := range hosts {
		f.lower[i] = strings.ToLower(string(s.Host) + "\n" + s.OU)
		f.total.add(s)
		for _, d := range dimensions {
			for _, v := range d.of(s) {
				g := groups[d.Key][v]
				if g == nil {
					g = &group{Value: v, Classes: map[rollout.Class]int{}}
					groups[d.Key][v] = g
				}
				g.Hosts++
				g.Classes[s.Class]++
			}
		}
		countKinds(kinds, s)
		switch {
		case s.Entry != nil:
			f.starts.Add(*s.Entry)
		case s.Observed:
			f.starts.Add(rollout.Entry{Unread: true})
		}
	}
	f.starts.Count()
	for key, byValue := range groups {
		f.dims[key] = sortGroups(byValue)
	}
	f.kinds = sortKinds(kinds)
	f.days = countDays(hosts, now)
	return f
}

func (t *tally) add(s *rollout.Summary) {
	t.Hosts++
	t.Classes[s.Class]++
	if s.Problem != "" {
		t.Problem++
	}
	if _, blocked := s.Blocked(); blocked {
		t.Blocked++
	}
	if s.Seen.After(t.Newest) {
		t.Newest = s.Seen
	}
	if t.Oldest.IsZero() || s.Seen.Before(t.Oldest) {
		t.Oldest = s.Seen
	}
}

func countKinds(kinds map[kind]*kind, s *rollout.Summary) {
	count := func(r rollout.Reason, sev rollout.Severity, waived bool) {
		key := kind{Reason: r, Severity: sev}
		k := kinds[key]
		if k == nil {
			k = &kind{Reason: r, Severity: sev}
			kinds[key] = k
		}
		k.Hosts++
		if waived {
			k.Waived++
		}
	}
	if s.Problem != "" {
		count(rollout.Reason(s.Problem), rollout.Blocker, false)
	}
	for _, f := range s.Findings {
		count(f.Reason, f.Severity, f.Waived)
	}
}

func sortGroups(byValue map[string]*group) []group {
	list := make([]group, 0, len(byValue))
	for _, g := range byValue {
		list = append(list, *g)
	}
	slices.SortFunc(list, func(a, b group) int { return cmp.Or(cmp.Compare(b.Hosts, a.Hosts), cmp.Compare(a.Value, b.Value)) })
	return list
}

var severities = []rollout.Severity{rollout.Blocker, rollout.Warning, rollout.Info}

func sortKinds(kinds map[kind]*kind) []kind {
	list := make([]kind, 0, len(kinds))
	for _, k := range kinds {
		list = append(list, *k)
	}
	slices.SortFunc(list, func(a, b kind) int {
		return cmp.Or(cmp.Compare(slices.Index(severities, a.Severity), slices.Index(severities, b.Severity)),
			cmp.Compare(b.Hosts, a.Hosts), cmp.Compare(a.Reason, b.Reason))
	})
	return list
}

// daysLeft is a bucket of certificates by how long they are still valid.
type daysLeft struct {
	Key, Title string
	below      int // days; 0: see buckets
	Hosts      int
	Bad        bool // somebody has to act
}

// The buckets that are said without days between.
const (
	bucketExpired = 0
	bucketLong    = 5
	bucketMissing = 6
)

var buckets = []daysLeft{
	bucketExpired: {Key: "expired", Title: "expired", Bad: true},
	1:             {Key: "7", Title: "under 7 days", below: 7, Bad: true},
	2:             {Key: "30", Title: "7 to 29 days", below: 30, Bad: true},
	3:             {Key: "90", Title: "30 to 89 days", below: 90},
	4:             {Key: "365", Title: "90 to 364 days", below: 365},
	bucketLong:    {Key: "more", Title: "a year and more"},
	bucketMissing: {Key: "missing", Title: "not in the store", Bad: true},
}

// bucketOf is the bucket of a host's certificate; -1 when it has no HTTPS listener.
func bucketOf(s *rollout.Summary, now time.Time) int {
	c := s.Certificate
	switch {
	case c == nil:
		return -1
	case c.NotAfter.IsZero():
		return bucketMissing
	case !now.Before(c.NotAfter):
		return bucketExpired
	}
	days := int(c.NotAfter.Sub(now) / (24 * time.Hour))
	for i := bucketExpired + 1; i < bucketLong; i++ {
		if days < buckets[i].below {
			return i
		}
	}
	return bucketLong
}

// countDays is how many hosts each bucket has.
func countDays(hosts []*rollout.Summary, now time.Time) []daysLeft {
	list := slices.Clone(buckets)
	for _, s := range hosts {
		if i := bucketOf(s, now); i >= 0 {
			list[i].Hosts++
		}
	}
	return list
}
