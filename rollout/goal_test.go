package rollout

import (
	"slices"
	"testing"
)

func TestWavesThatMatchNobodyAreNamed(t *testing.T) {
	t.Parallel()
	some := subjects(5)
	some[2].Host.Roles = []Role{"print"}
	in := intent(WaveRule{Name: "canary", Count: 1}, WaveRule{Name: "typo", OU: "corp.example/Nowhere"}, WaveRule{Name: "print", Role: "print"},
		WaveRule{Name: "list", Hosts: []HostID{"nobody"}}, WaveRule{Name: "rest"})
	var names []string
	for _, r := range in.Nobody(some) {
		names = append(names, r.Name)
	}
	if !slices.Equal(names, []string{"typo", "list"}) {
		t.Errorf("named %v", names)
	}
}

func TestWavesByRoleAndList(t *testing.T) {
	t.Parallel()
	some := subjects(6)
	some[4].Host.Roles = []Role{"print"}
	p := NewPlan(intent(WaveRule{Name: "print", Role: "print", InFlight: 1, Limit: 1}, WaveRule{Name: "list", Hosts: []HostID{some[1].Host.ID, some[3].Host.ID}, InFlight: 1, Limit: 1},
		WaveRule{Name: "rest", InFlightPercent: 100, LimitPercent: 34}), some)
	if got := sizes(p); !slices.Equal(got, []int{1, 2, 3}) || p.Waves[0].Hosts[0] != some[4].Host.ID || p.Waves[2].InFlight != 3 || p.Waves[2].Limit != 1 {
		t.Errorf("%v %+v", got, p.Waves)
	}
}

func TestFailuresOfTheWholeCampaignInPercent(t *testing.T) {
	t.Parallel()
	in := intent(WaveRule{Name: "all", InFlight: 1, Limit: 1})
	in.Policy.FailureLimit, in.Policy.FailurePercent = 5, 10
	for n, want := range map[int]int{100: 5, 30: 3, 3: 1} {
		if got := NewPlan(in, subjects(n)).Policy.FailureLimit; got != want {
			t.Errorf("of %d hosts %d may fail, want %d", n, got, want)
		}
	}
}

// restoring is a campaign whose goal is the way back.
func restoring(waves ...int) *stage {
	st := newStage(waves...)
	st.p.Goal = GoalRestore
	return st.begin().wave(EvWaveOpened, 1)
}

func TestTheWayBackAsAGoal(t *testing.T) {
	t.Parallel()
	st := restoring(3)
	if d := Decide(st.p, st.s, epoch); told(d) != "restore h0 in 1, restore h1 in 1" {
		t.Fatalf("%q", told(d))
	}
	st.act("h0", ActRestore, Restored).act("h1", ActRestore, Failed).act("h2", ActRestore, Restored)
	if h := st.s.Hosts["h0"]; !h.Done {
		t.Errorf("a host that is back is not done: %+v", h)
	}
	if h := st.s.Hosts["h1"]; h.Done || h.Outcome != NeedsHuman || st.s.Failures != 1 {
		t.Errorf("a way back that failed: %+v, %d failures", h, st.s.Failures)
	}
	if d := Decide(st.p, st.s, epoch); told(d) != "wave-passed 1" {
		t.Errorf("%q", told(d))
	}
	st = restoring(3).act("h0", ActRestore, Failed).act("h1", ActRestore, Failed)
	if d := Decide(st.p, st.s, epoch); told(d) != "wave-halted 1" {
		t.Errorf("two failures of two: %q", told(d))
	}
}

func TestGoalsLeaveOutWhoHasNothingToDo(t *testing.T) {
	t.Parallel()
	seen := func(class Class) Subject {
		s := subjects(1)[0]
		s.Observation.Via = HTTP
		s.Observation.HTTP.State, s.Observation.HTTPS.State = DoorOpen, DoorRefused
		if class == ClassBoth {
			s.Observation.HTTPS.State = DoorOpen
			s.Observation.Listeners.Value = append(s.Observation.Listeners.Value, Listener{Address: "*", Transport: HTTPS, Port: 5986, Enabled: true})
		}
		return s
	}
	for name, c := range map[string]struct {
		goal Goal
		s    Subject
		want Reason
	}{
		"renew without HTTPS": {GoalRenew, seen(ClassHTTPOnly), ReasonNothingToRenew},
		"restore without an image": {GoalRestore, func() Subject {
			s := seen(ClassBoth)
			s.Observation.Image = Saw[*BeforeImage](nil)
			return s
		}(), ReasonNoImage},
	} {
		a := Assess(c.s.Host, c.s.Observation, DefaultPolicy(), epoch)
		if out, left := leaveOut(c.goal, c.s.Host, c.s.Observation, DefaultPolicy(), a, epoch); !left || out.Reason != c.want {
			t.Errorf("%s: %v %+v", name, left, out)
		}
	}
	s := seen(ClassBoth)
	if reason, _ := needless(GoalRenew, s.Observation, Assess(s.Host, s.Observation, DefaultPolicy(), epoch)); reason != "" {
		t.Errorf("a host with HTTPS is left out of a renewal: %s", reason)
	}
}
