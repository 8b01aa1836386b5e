package ldaptest

import (
	"fmt"
	"hash/maphash"
	"sync"
)

// store is the entries in the order in which they were added.
type store struct {
	mu     sync.RWMutex // guards what follows, up to groups
	slots  []slot
	index  map[uint64]int32    // by hash of the normal name
	groups map[string][]string // distinguished names of the groups of a member, by its normal name
	seed   maphash.Seed
}

// slot is an entry, or one that a fleet makes when it is looked at; none when it was removed.
type slot struct {
	entry *Entry
	fleet *fleet
	i     int32
}

// fleet makes many entries below one container.
type fleet struct {
	under string // normal name
	build func(i int) Entry
}

func newStore() *store {
	return &store{index: map[uint64]int32{}, groups: map[string][]string{}, seed: maphash.MakeSeed()}
}

func (s *slot) get() *Entry {
	if s.fleet == nil {
		return s.entry
	}
	e := s.fleet.build(int(s.i))
	return &e
}

func (s *store) key(normalDN string) uint64 { return maphash.String(s.seed, normalDN) }

func (s *store) add(e Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := s.key(normal(e.DN))
	if _, ok := s.index[key]; ok {
		return fmt.Errorf("ldaptest: %s exists already", e.DN)
	}
	s.index[key] = int32(len(s.slots))
	s.slots = append(s.slots, slot{entry: &e})
	s.link(&e)
	return nil
}

func (s *store) addFleet(under string, n int, build func(i int) Entry) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := &fleet{normal(under), build}
	for i := range n {
		dn := normal(build(i).DN)
		if !below(dn, f.under) {
			return fmt.Errorf("ldaptest: %s is not below %s", dn, under)
		}
		key := s.key(dn)
		if _, ok := s.index[key]; ok {
			return fmt.Errorf("ldaptest: %s exists already", dn)
		}
		s.index[key] = int32(len(s.slots))
		s.slots = append(s.slots, slot{fleet: f, i: int32(i)})
	}
	return nil
}

// link keeps memberOf, the other end of member.
func (s *store) link(e *Entry) {
	for _, m := range e.Values("member") {
		m = normal(m)
		s.groups[m] = append(s.groups[m], e.DN)
	}
}

func (s *store) unlink(e *Entry) {
	for _, m := range e.Values("member") {
		m = normal(m)
		kept := s.groups[m][:0:0]
		for _, g := range s.groups[m] {
			if g != e.DN {
				kept = append(kept, g)
			}
		}
		s.groups[m] = kept
	}
}

// change edits an entry; nil removes it.
func (s *store) change(dn string, edit func(*Entry)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.index[s.key(normal(dn))]
	if !ok {
		return fmt.Errorf("ldaptest: there is no %s", dn)
	}
	old := s.slots[at].get()
	s.unlink(old)
	if edit == nil {
		delete(s.index, s.key(normal(dn)))
		s.slots[at] = slot{}
		return nil
	}
	e := old.clone()
	edit(e)
	e.DN = old.DN
	s.slots[at] = slot{entry: e}
	s.link(e)
	return nil
}

func (s *store) find(normalDN string) *Entry {
	s.mu.RLock()
	defer s.mu.RUnlock()
	at, ok := s.index[s.key(normalDN)]
	if !ok {
		return nil
	}
	return s.slots[at].get()
}

// scan looks at entries from a position on, those of fleets only if they can be below base, until visit is content.
// It gives the position to go on from, -1 at the end.
func (s *store) scan(from int, base string, visit func(*Entry) bool) int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for i := from; i < len(s.slots); i++ {
		sl := &s.slots[i]
		if sl.fleet != nil && !below(sl.fleet.under, base) && !below(base, sl.fleet.under) {
			continue
		}
		e := sl.get()
		if e != nil && !visit(e) {
			return i
		}
	}
	return -1
}

// memberOf are the groups that have the member, without the lock: scan holds it.
func (s *store) memberOf(e *Entry) []string {
	linked := s.groups[normal(e.DN)]
	stored := e.Values("memberOf")
	if len(linked) == 0 {
		return stored
	}
	return append(linked[:len(linked):len(linked)], stored...)
}

// inChain tells if the entry belongs to the group, directly or through other groups.
func (s *store) inChain(e *Entry, group string) bool {
	seen := map[string]bool{}
	var walk func(groups []string) bool
	walk = func(groups []string) bool {
		for _, g := range groups {
			n := normal(g)
			if n == group {
				return true
			}
			if seen[n] {
				continue
			}
			seen[n] = true
			if walk(s.groups[n]) {
				return true
			}
		}
		return false
	}
	return walk(s.memberOf(e))
}

// allGroups are the groups of an entry with those they are in, by their names.
func (s *store) allGroups(e *Entry) []string {
	seen := map[string]bool{}
	var all []string
	todo := s.memberOf(e)
	for len(todo) > 0 {
		g := todo[0]
		todo = todo[1:]
		if n := normal(g); !seen[n] {
			seen[n] = true
			all = append(all, n)
			todo = append(todo[:len(todo):len(todo)], s.groups[n]...)
		}
	}
	return all
}
