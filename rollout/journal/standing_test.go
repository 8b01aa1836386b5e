package journal

import (
	"testing"

	"wavelock/rollout"
)

func TestStanding(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	ctx := t.Context()
	hosts := []rollout.HostID{"web1.corp.example", "web2.corp.example", "web3.corp.example"}
	found := rollout.Drift{Host: hosts[0], Reason: rollout.ReasonHTTPBack, First: noon, Last: noon}
	news, err := j.Restand(ctx, hosts, func(id rollout.HostID, s rollout.Standing) (rollout.Standing, []rollout.Drift) {
		switch {
		case s.Baseline != nil:
			t.Errorf("%s has a baseline from nowhere", id)
		case id == hosts[0]:
			return rollout.Standing{Baseline: &rollout.Baseline{At: noon}, Drifts: []rollout.Drift{found}}, []rollout.Drift{found}
		case id == hosts[1]:
			return rollout.Standing{Baseline: &rollout.Baseline{At: noon}}, nil
		}
		return s, nil
	})
	if err != nil || len(news) != 1 {
		t.Fatalf("%v, %v", news, err)
	}
	if open, err := j.Drifts(ctx); err != nil || len(open) != 1 || open[0] != found {
		t.Errorf("%+v, %v", open, err)
	}
	if _, err := j.Restand(ctx, hosts, func(id rollout.HostID, s rollout.Standing) (rollout.Standing, []rollout.Drift) {
		if (s.Baseline != nil) != (id != hosts[2]) || len(s.Open()) != len(map[rollout.HostID][]int{hosts[0]: {1}}[id]) {
			t.Errorf("%s: %+v", id, s)
		}
		for i := range s.Drifts {
			s.Drifts[i].Ended = noon
		}
		return s, nil
	}); err != nil {
		t.Fatal(err)
	}
	if open, err := j.Drifts(ctx); err != nil || len(open) != 0 {
		t.Errorf("%+v, %v", open, err)
	}
}

func TestBusyHostsAreThoseThatAreWorkedOn(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	create(t, j, "spring", 3)
	if busy, err := j.Busy(t.Context()); err != nil || len(busy) != 0 {
		t.Errorf("%v, %v", busy, err)
	}
	mustAppend(t, j, rollout.Event{Campaign: "spring", Kind: rollout.EvAction, Host: hostName(1), Action: rollout.ActSecure, Attempt: 1, Wave: 1})
	if busy, err := j.Busy(t.Context()); err != nil || len(busy) != 1 || !busy[hostName(1)] {
		t.Errorf("%v, %v", busy, err)
	}
}

func TestWhatACampaignLeavesIsTheBaseline(t *testing.T) {
	t.Parallel()
	j := newJournal(t)
	id := hostName(1)
	o := rollout.Observation{Host: id, At: noon, Via: rollout.HTTPS, Identity: rollout.Saw(rollout.Identity{FQDN: string(id)}),
		Listeners: rollout.Saw([]rollout.Listener{{Transport: rollout.HTTPS, Enabled: true, Thumbprint: "AA"}})}
	r := Record{Host: rollout.Host{ID: id}, SeenAt: noon, Observation: &o}
	stands := func() (s rollout.Standing) {
		if _, err := j.Restand(t.Context(), []rollout.HostID{id}, func(_ rollout.HostID, have rollout.Standing) (rollout.Standing, []rollout.Drift) {
			s = have
			return have, nil
		}); err != nil {
			t.Fatal(err)
		}
		return s
	}
	if err := j.SaveHosts(t.Context(), []Record{r}); err != nil || stands().Baseline != nil {
		t.Fatalf("a host that was merely seen has a baseline, %v", err)
	}
	r.Left = "spring"
	if err := j.SaveHosts(t.Context(), []Record{r}); err != nil {
		t.Fatal(err)
	}
	if b := stands().Baseline; b == nil || b.By != "spring" || b.HTTPS != "AA" || b.HTTP {
		t.Errorf("%+v", b)
	}
}
