package rollout

import (
	"encoding/json"
	"slices"
	"testing"
	"time"
)

func TestRouteOfAHost(t *testing.T) {
	t.Parallel()
	policy := DefaultPolicy()
	policy.Routes = []RouteRule{
		{Host: "odd.corp.example", Route: RouteReuse},
		{OU: "corp.example/DMZ", Role: RoleClusterNode, Route: RouteRelay, Template: "RelayCluster"},
		{OU: "corp.example/dmz", Route: RouteRelay},
		{Role: RoleDomainController, Route: RouteSelf},
	}
	for why, c := range map[string]struct {
		host     Host
		route    Route
		template string
	}{
		"a host without a rule asks itself":                         {Host{ID: "a", OU: "corp.example/Servers"}, RouteSelf, "WinRMHTTPS"},
		"a rule of its OU counts, and the policy's template":        {Host{ID: "a", OU: "corp.example/DMZ"}, RouteRelay, "WinRMHTTPS"},
		"and below the OU":                                          {Host{ID: "a", OU: "corp.example/DMZ/Web"}, RouteRelay, "WinRMHTTPS"},
		"but not in an OU of a longer name":                         {Host{ID: "a", OU: "corp.example/DMZ2"}, RouteSelf, "WinRMHTTPS"},
		"the first rule that fits wins, with a template of its own": {Host{ID: "a", OU: "corp.example/DMZ", Roles: []Role{RoleClusterNode}}, RouteRelay, "RelayCluster"},
		"a rule for one host":                                       {Host{ID: "odd.corp.example", OU: "corp.example/DMZ"}, RouteReuse, "WinRMHTTPS"},
		"no rule makes a domain controller enroll":                  {Host{ID: "dc", Roles: []Role{RoleDomainController}}, RouteReuse, ""},
	} {
		if route, template := policy.RouteOf(c.host); route != c.route || template != c.template {
			t.Errorf("%s: %s %s", why, route, template)
		}
	}
	policy.Route = RouteReuse
	if route, _ := policy.RouteOf(Host{ID: "a"}); route != RouteReuse {
		t.Errorf("the policy's own route is %s", route)
	}
	for _, bad := range []Policy{{Route: "mail"}, {Routes: []RouteRule{{Route: RouteSelf}}}, {Routes: []RouteRule{{Route: "x", Host: "a"}}}, {PendingFor: -1}} {
		p := DefaultPolicy()
		p.Route, p.Routes, p.PendingFor = bad.Route, bad.Routes, bad.PendingFor
		if p.Validate() == nil {
			t.Errorf("%+v is taken", bad)
		}
	}
}

func relaying() *computer {
	policy := DefaultPolicy()
	policy.Route = RouteRelay
	return freshComputer(nil, policy)
}

func TestTheRelayedWay(t *testing.T) {
	t.Parallel()
	c := relaying()
	c.t = t
	way, end := walk(t, c, ActSecure)
	want := []StepKind{StepInspect, StepSaveImage, StepRequest, StepSubmit, StepAccept, StepListen, StepAllow, StepProve}
	if !slices.Equal(way, want) || end.Outcome != Passed {
		t.Errorf("%v ends %s %s", way, end.Outcome, end.Detail)
	}
}

// A request survives the process: state by replay, then a run that only asks what became of it.
func TestAPendingRequestIsPolledUntilItIsTooOld(t *testing.T) {
	t.Parallel()
	c := relaying()
	c.t = t
	p := onePlan(c.policy, GoalSecure, c)
	s := NewState(p)
	req := &CertRequest{Template: c.policy.Template, CSR: []byte("csr"), Made: epoch}
	waits := *req
	waits.CA, waits.Number = `ca01\CA`, 7
	say := func(kind EventKind, step StepKind, r *CertRequest, mod ...func(*Event)) {
		data, err := json.Marshal(Result{Request: r})
		if err != nil {
			t.Fatal(err)
		}
		e := Event{Seq: s.Seq + 1, Kind: kind, Host: subject, Action: ActSecure, Attempt: 1, Step: step, Data: data, At: epoch}
		for _, m := range mod {
			m(&e)
		}
		s.Apply(e)
	}
	say(EvAction, "", nil, func(e *Event) { e.Wave, e.Data = 1, nil })
	say(EvStepDone, StepRequest, req)
	say(EvStepDone, StepSubmit, &waits)
	say(EvSettled, "", nil, func(e *Event) { e.Outcome, e.Reason, e.Data = Pending, ReasonEnrollPending, nil })
	h := s.Hosts[subject]
	if h.Request == nil || h.Request.Number != 7 {
		t.Fatalf("%+v", h.Request)
	}
	h.Running = ActSecure
	run := NewRun(p, p.Hosts[0], *h, &BeforeImage{Host: subject})
	c.image = run.Image
	seen := c.observe()
	run.Seen = &seen
	poll := Next(run, epoch.Add(time.Hour))
	if poll.Kind != StepSubmit || poll.Request.Number != 7 {
		t.Fatalf("%+v", poll)
	}
	again := run.Advance(poll, Result{Request: poll.Request}, nil)
	if end := Next(again, epoch.Add(time.Hour)); end.Outcome != Pending || !end.Again.Equal(epoch.Add(time.Hour+5*time.Minute)) || end.Reason != ReasonEnrollPending {
		t.Fatalf("%+v", end)
	}
	down := run.Advance(poll, Result{}, &Failure{Host: subject, Step: StepSubmit, Reason: ReasonCAUnavailable, Transient: true, RetryAfter: time.Hour})
	if end := Next(down, epoch); end.Outcome != Pending || end.Reason != ReasonCAUnavailable || !end.Again.Equal(epoch.Add(time.Hour)) {
		t.Fatalf("%+v", end)
	}
	late := epoch.Add(7 * 24 * time.Hour)
	for _, r := range []HostRun{run, again, down} {
		if end := Next(r, late); end.Outcome != Failed || end.Reason != ReasonEnrollExpired {
			t.Fatalf("%+v", end)
		}
	}
	refused := run.Advance(poll, Result{}, &Failure{Host: subject, Step: StepSubmit, Reason: ReasonEnrollDenied})
	if end := Next(refused, epoch); end.Outcome != Failed || end.Reason != ReasonEnrollDenied {
		t.Fatalf("%+v", end)
	}
}

// What the CA refused is not carried to it again.
func TestARefusedRequestIsForgotten(t *testing.T) {
	t.Parallel()
	for _, reason := range []Reason{ReasonEnrollDenied, ReasonEnrollAnswer, ReasonEnrollRequest, ReasonEnrollExpired, ReasonCAUnavailable} {
		h := &HostState{Request: &CertRequest{Number: 7}}
		h.forgetRequest(Event{Kind: EvStepFail, Step: StepSubmit, Reason: reason})
		if (h.Request == nil) != (reason != ReasonCAUnavailable) {
			t.Errorf("%s: %+v", reason, h.Request)
		}
	}
}

func TestAHostThatOnlyReusesIsLeftAlone(t *testing.T) {
	t.Parallel()
	policy := DefaultPolicy()
	policy.Route = RouteReuse
	c := freshComputer(t, policy)
	way, end := walk(t, c, ActSecure)
	if !slices.Equal(way, []StepKind{StepInspect}) || end.Outcome != Refused || end.Reason != ReasonReuseOnly {
		t.Errorf("%v %s %s", way, end.Outcome, end.Reason)
	}
}
