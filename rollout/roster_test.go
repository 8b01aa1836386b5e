package rollout

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestComparingThePlanWithTheDirectory(t *testing.T) {
	t.Parallel()
	plan := func(hosts int) *Plan {
		p := newStage(hosts).p
		for i := range p.Hosts {
			p.Hosts[i].Host.GUID = fmt.Sprint("guid", i)
		}
		p.Selection, p.Left = "all", []LeftOut{{Host: "left", Reason: ReasonUnreachable}}
		return p
	}
	same := Host{ID: "h0", GUID: "guid0"}
	for name, c := range map[string]struct {
		account Account
		want    Reason
	}{
		"as the plan has it":               {Account{Host: same}, ""},
		"moved to another OU":              {Account{Host: Host{ID: "h0", GUID: "guid0", OU: "elsewhere"}}, ""},
		"a directory that gives no GUID":   {Account{Host: Host{ID: "h0"}}, ""},
		"deleted":                          {Account{Missing: true}, ReasonAccountGone},
		"disabled":                         {Account{Host: same, Disabled: true}, ReasonAccountDisabled},
		"joined anew":                      {Account{Host: Host{ID: "h0", GUID: "other"}}, ReasonAccountReplaced},
		"joined anew, and disabled":        {Account{Host: Host{ID: "h0", GUID: "other"}, Disabled: true}, ReasonAccountReplaced},
		"renamed":                          {Account{Host: Host{ID: "new", GUID: "guid0"}}, ReasonRenamed},
		"excluded by the configuration":    {Account{Host: same, Excluded: "excluded by h*"}, ReasonExcluded},
		"excluded, and disabled all along": {Account{Host: same, Excluded: "excluded by h*", Disabled: true}, ReasonAccountDisabled},
	} {
		r := plan(2).Compare(Listing{Planned: map[HostID]Account{"h0": c.account}})
		switch {
		case c.want == "" && len(r.Retired) > 0, c.want != "" && (len(r.Retired) != 1 || r.Retired[0].Host != "h0" || r.Retired[0].Reason != c.want || r.Retired[0].Detail == ""):
			t.Errorf("%s: %+v, want %q", name, r.Retired, c.want)
		case len(r.Added) > 0 || r.Doubt != "":
			t.Errorf("%s: %+v", name, r)
		}
	}
	for name, c := range map[string]struct {
		listing Listing
		want    []HostID
	}{
		"nobody":                     {Listing{Selection: "all", Selected: []Host{{ID: "h1"}, {ID: "h0"}}}, nil},
		"two":                        {Listing{Selection: "all", Selected: []Host{{ID: "z"}, {ID: "h0"}, {ID: "a"}}}, []HostID{"a", "z"}},
		"one that was left out":      {Listing{Selection: "all", Selected: []Host{{ID: "left"}}}, nil},
		"by another selection":       {Listing{Selection: "other", Selected: []Host{{ID: "z"}}}, nil},
		"to a plan for some of them": {Listing{Selected: []Host{{ID: "z"}}}, nil},
	} {
		p := plan(2)
		if c.listing.Selection == "" {
			p.Selection = ""
		}
		r := p.Compare(c.listing)
		var got []HostID
		for _, a := range r.Added {
			got = append(got, a.Host)
		}
		if !slices.Equal(got, c.want) || len(r.Retired) > 0 {
			t.Errorf("added %s: %+v", name, r)
		}
	}
}

func TestDirectoryThatLostTooMuchIsDoubted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		hosts, missing, disabled int
		doubt                    bool
	}{{2, 2, 0, false}, {4, 3, 0, false}, {5, 4, 0, true}, {100, 10, 0, false}, {100, 11, 0, true}, {100, 0, 90, false}} {
		st := newStage(c.hosts).wave(EvWaveOpened, 1)
		l := Listing{Planned: map[HostID]Account{}}
		for i := range c.missing {
			l.Planned[HostID(fmt.Sprint("h", i))] = Account{Missing: true}
		}
		for i := range c.disabled {
			l.Planned[HostID(fmt.Sprint("h", i))] = Account{Host: st.p.Hosts[i].Host, Disabled: true}
		}
		r := st.p.Compare(l)
		if (r.Doubt != "") != c.doubt || len(r.Retired) != c.missing+c.disabled {
			t.Errorf("%+v: %d retired, doubt %q", c, len(r.Retired), r.Doubt)
		}
		if got := st.roster(r).counts()[Shelved]; c.doubt != (got == 0) {
			t.Errorf("%+v: %d hosts are shelved", c, got)
		}
	}
	p := newStage(2).p
	p.Selection = "all"
	l := Listing{Selection: "all"}
	for i := range 1500 {
		l.Selected = append(l.Selected, Host{ID: HostID(fmt.Sprintf("n%04d", i))})
	}
	if r := p.Compare(l); len(r.Added) != addedListed || r.More != 500 || !strings.Contains(r.Words(), "1500 hosts are") {
		t.Errorf("%d and %d more, %s", len(r.Added), r.More, r.Words())
	}
}

// roster tells the campaign what the directory has.
func (st *stage) roster(r Roster) *stage {
	e, err := NewRoster(r)
	if err != nil {
		panic(err)
	}
	e.At = epoch
	return st.say(e)
}

func (st *stage) retire(ids ...HostID) *stage {
	var r Roster
	for _, id := range ids {
		r.Retired = append(r.Retired, Change{Host: id, Reason: ReasonAccountDisabled, Detail: "the account is disabled"})
	}
	return st.roster(r)
}

func (st *stage) counts() map[string]int { return NewView(st.p, st.s, epoch).Counts }

func TestWhatIsDoneWithRetiredHosts(t *testing.T) {
	t.Parallel()
	open := func(n int) *stage { return newStage(n).wave(EvWaveOpened, 1) }
	for name, c := range map[string]struct {
		stage *stage
		want  string // what is decided
	}{
		"is not begun":                         {open(2).retire("h1"), "secure h0"},
		"goes no further":                      {open(1).act("h0", ActSecure, Passed).retire("h0"), "wave-passed 1"},
		"is not tried again":                   {open(1).act("h0", ActSecure, Deferred).wave(EvWavePassed, 1).wave(EvWaveOpened, 2).retire("h0"), "wave-passed 2"},
		"is put back":                          {open(1).act("h0", ActSecure, Failed).retire("h0"), "restore h0"},
		"has no HTTP narrowed for ever":        {open(1).act("h0", ActSecure, Passed).narrowed("h0").retire("h0"), "close h0"},
		"is begun when it is back":             {open(1).retire("h0").retire(), "secure h0"},
		"is begun later if its wave is over":   {open(1).retire("h0").wave(EvWavePassed, 1).retire().wave(EvWaveOpened, 2), "secure h0"},
		"that was done needs nothing":          {open(1).both("h0").retire("h0").retire(), "wave-passed 1"},
		"of whom it is doubted is worked on":   {open(1).roster(Roster{Retired: []Change{{Host: "h0", Reason: ReasonAccountGone}}, Doubt: "too many"}), "secure h0"},
		"of another plan changes nothing":      {open(1).retire("h9"), "secure h0"},
		"and all the others: nothing is begun": {open(2).retire("h0", "h1"), "wave-passed 1"},
	} {
		d := Decide(c.stage.p, c.stage.s, epoch.Add(2*time.Hour))
		if got := decided(d); got != c.want {
			t.Errorf("a retired host %s: %s, want %s", name, got, c.want)
		}
	}
}

// narrowed is a brown-out that is over.
func (st *stage) narrowed(id HostID) *stage {
	st.p.Policy.Quiesce = Duration(time.Hour)
	st.start(id, ActQuiesce).say(Event{Kind: EvStepDone, Host: id, Step: StepNarrow, Attempt: st.s.Hosts[id].Attempt, At: epoch})
	return st.end(id, Passed)
}

func decided(d Decision) string {
	var parts []string
	for _, e := range d.Events {
		parts = append(parts, fmt.Sprintf("%s %d", e.Kind, e.Wave))
	}
	for _, a := range d.Actions {
		parts = append(parts, fmt.Sprintf("%s %s", a.Kind, a.Host))
	}
	return strings.Join(parts, ", ")
}

func TestRetiredHostsAreToldAndCountForNothing(t *testing.T) {
	t.Parallel()
	st := newStage(4).wave(EvWaveOpened, 1).start("h0", ActSecure).retire("h0", "h1").
		roster(Roster{Retired: []Change{{Host: "h0", Reason: ReasonAccountGone}, {Host: "h1", Reason: ReasonAccountDisabled, Detail: "the account is disabled"}}, Added: []Change{{Host: "new", Reason: ReasonAdded}}})
	st.end("h0", Unknown)
	if st.s.Failures != 0 || st.s.Waves[0].Failures != 0 || st.s.Hosts["h0"].Failed {
		t.Errorf("a computer that was taken away counts: %d", st.s.Failures)
	}
	if d := Decide(st.p, st.s, epoch); len(d.Actions) != 0 || !strings.Contains(d.Hold, "not known") {
		t.Errorf("an unknown end has to pause, whoever the host is: %+v", d)
	}
	v := NewView(st.p, st.s, epoch)
	checkView(t, st.p, st.s, epoch)
	if v.Roster == nil || len(v.Roster.Added) != 1 || len(v.Roster.Retired) != 2 || !v.Listed.Equal(epoch) || v.Waves[0].Retired != 1 || v.Counts[Shelved] != 1 {
		t.Errorf("the view has %+v, %+v, %+v", v.Roster, v.Waves[0], v.Counts)
	}
	if len(v.Troubles) != 2 || v.Troubles[1].Host != "h1" || v.Troubles[1].Reason != ReasonAccountDisabled || v.Troubles[1].Detail == "" {
		t.Errorf("troubles are %+v", v.Troubles)
	}
	if v := NewView(newStage(1).p, newStage(1).s, epoch); v.Roster != nil {
		t.Error("nobody has looked, and the view says what was seen")
	}
	if !st.s.Roster.Same(*v.Roster) || st.s.Roster.Same(Roster{}) {
		t.Error("a roster is not what it is")
	}
}
