package rollout

import (
	"strings"
	"testing"
	"time"

	"wavelock/pki"
)

// closedHost is a host as a close campaign leaves it, and the policy.
func closedHost() (Observation, Policy) {
	_, o := healthy()
	o.HTTP, o.Via = Door{State: DoorRefused}, HTTPS
	o.Listeners = Saw([]Listener{{Address: "*", Transport: HTTPS, Port: 5986, Enabled: true, Thumbprint: thumb}})
	o.Firewall = Saw(Firewall{Rules: []FirewallRule{{Name: "wavelock-https-5986", Allow: true, Active: true, Ports: []string{"5986"}, Remote: []string{"192.0.2.0/24"}}}})
	return o, DefaultPolicy()
}

func TestDrift(t *testing.T) {
	t.Parallel()
	on := true
	http := Listener{Address: "*", Transport: HTTP, Port: 5985, Enabled: true}
	for name, tc := range map[string]struct {
		change func(*Observation)
		reason Reason // empty: no drift
		says   string
	}{
		"nothing happened": {func(*Observation) {}, "", ""},
		"HTTP is back": {func(o *Observation) { o.Listeners.Value = append(o.Listeners.Value, http) },
			ReasonHTTPBack, "an HTTP listener on 5985 is there again"},
		"HTTP answers without a listener": {func(o *Observation) { o.HTTP.State = DoorOpen }, ReasonHTTPBack, "although no listener"},
		"another product answers there":   {func(o *Observation) { o.HTTP.State = DoorOther }, "", ""},
		"the policy made it again": {func(o *Observation) {
			l := http
			l.Source = SourceGPO
			o.Listeners.Value = append(o.Listeners.Value, l)
		}, ReasonPolicyRecreated, "Group Policy"},
		"the policy would make it again, and the listener does not say so": {func(o *Observation) {
			o.Listeners.Value = append(o.Listeners.Value, http)
			o.Policy = Saw(WinRMPolicy{AllowAutoConfig: &on})
			o.PolicyValues = Saw([]PolicyValue{{Name: "AllowAutoConfig", GPO: "Servers"}})
		}, ReasonPolicyRecreated, `"Servers"`},
		"a policy alone is no listener":            {func(o *Observation) { o.Policy = Saw(WinRMPolicy{AllowAutoConfig: &on}) }, "", ""},
		"the HTTPS listener is gone":               {func(o *Observation) { o.Listeners.Value, o.Via = nil, HTTP }, ReasonHTTPSGone, "gone"},
		"its port is shut":                         {func(o *Observation) { o.HTTPS.State, o.Via = DoorRefused, HTTP }, ReasonHTTPSGone, "refuses"},
		"its port is silent, which proves nothing": {func(o *Observation) { o.HTTPS.State, o.Via = DoorSilent, HTTP }, "", ""},
		"another certificate that is not fit": {func(o *Observation) { o.Listeners.Value[0].Thumbprint = "00112233" },
			ReasonCertificateReplaced, "not fit"},
		"a renewed certificate": {func(o *Observation) {
			c := goodCert(subject, 9, epoch)
			o.Certificates.Value = append(o.Certificates.Value, c)
			o.Listeners.Value[0].Thumbprint = c.Thumbprint
		}, ReasonCertificateReplaced, "which is fit"},
		"http.sys has another one": {func(o *Observation) { o.Bindings.Value[0].Thumbprint = "00112233" }, ReasonCertificateReplaced, "http.sys"},
		"a wider rule":             {func(o *Observation) { o.Firewall.Value.Rules[0].Remote = []string{"192.0.0.0/16"} }, ReasonRuleWidened, "192.0.0.0/16"},
		"a rule for all":           {func(o *Observation) { o.Firewall.Value.Rules[0].Remote = nil }, ReasonRuleWidened, "any"},
		"a narrower rule": {func(o *Observation) {
			o.Firewall.Value.Rules[0].Remote = []string{"192.0.2.8-192.0.2.9", "192.0.2.64/255.255.255.192"}
		}, "", ""},
		"a wider rule that is off": {func(o *Observation) {
			o.Firewall.Value.Rules = append(o.Firewall.Value.Rules, FirewallRule{Allow: true, Ports: []string{"5986"}})
		}, "", ""},
		"a host that let nobody in is unknown":     {func(o *Observation) { o.Via, o.Listeners = "", Seen[[]Listener]{} }, "", ""},
		"another computer has not drifted":         {func(o *Observation) { o.Identity.Value.FQDN, o.Listeners.Value = "x.corp.example", nil }, "", ""},
		"a firewall that was not read is no drift": {func(o *Observation) { o.Firewall = Unseen[Firewall]("denied") }, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, p := closedHost()
			s, _ := Standing{}.Settle(o, p, "spring", "")
			later, _ := closedHost()
			later.At = epoch.Add(time.Hour)
			tc.change(&later)
			next, news := s.With(later, p, later.At)
			if tc.reason == "" {
				if len(news) != 0 || len(next.Drifts) != 0 {
					t.Errorf("%+v", news)
				}
				return
			}
			if len(news) != 1 || news[0].Reason != tc.reason || !strings.Contains(news[0].Detail, tc.says) || !news[0].First.Equal(later.At) {
				t.Fatalf("%+v, want %s: %s", news, tc.reason, tc.says)
			}
			later.At = later.At.Add(time.Hour)
			if again, news := next.With(later, p, later.At); len(news) != 0 || !again.Open()[0].Last.Equal(later.At) {
				t.Errorf("the same drift is told twice: %+v", news)
			}
			// What cannot be read does not end it.
			if blind, news := next.With(Observation{Host: subject, At: later.At}, p, later.At); len(news) != 0 || len(blind.Open()) != 1 {
				t.Errorf("%+v", news)
			}
			o.At = later.At.Add(time.Hour)
			mended, news := next.With(o, p, o.At)
			if len(news) != 1 || news[0].Ended.IsZero() || len(mended.Open()) != 0 {
				t.Errorf("it is as it was, and %+v", mended.Open())
			}
			if accepted, news := next.Settle(later, p, "ann", "wanted"); len(news) != 1 || news[0].Why != "wanted" || len(accepted.Open()) != 0 {
				t.Errorf("it was accepted, and %+v", accepted.Open())
			}
		})
	}
}

func TestTheFirstLookIsTheBaseline(t *testing.T) {
	t.Parallel()
	o, p := closedHost()
	s, news := Standing{}.With(o, p, epoch)
	if s.Baseline == nil || s.Baseline.By != "first seen" || s.Baseline.HTTP || s.Baseline.HTTPS != thumb || len(news) != 0 {
		t.Errorf("%+v, %+v", s.Baseline, news)
	}
	if s, _ := (Standing{}).With(Observation{Host: subject, At: epoch}, p, epoch); s.Baseline != nil {
		t.Errorf("a host that nobody saw has the baseline %+v", s.Baseline)
	}
}

func TestEndedDriftsAreForgottenInTheEnd(t *testing.T) {
	t.Parallel()
	o, p := closedHost()
	s, _ := Standing{}.Settle(o, p, "spring", "")
	bad, _ := closedHost()
	bad.Listeners.Value[0].Thumbprint = pki.Thumbprint("00112233")
	for i := range 3 * keptDrifts {
		o.At, bad.At = epoch.Add(time.Duration(2*i)*time.Hour), epoch.Add(time.Duration(2*i+1)*time.Hour)
		s, _ = s.With(o, p, o.At)
		s, _ = s.With(bad, p, bad.At)
	}
	if len(s.Drifts) != keptDrifts+1 || len(s.Open()) != 1 || !s.Drifts[keptDrifts].Ended.IsZero() {
		t.Errorf("%d drifts, %d open", len(s.Drifts), len(s.Open()))
	}
}

func TestCovers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		had, now string
		want     bool
	}{
		{"any", "192.0.2.1", true}, {"192.0.2.1", "any", false}, {"LocalSubnet", "localsubnet", true}, {"LocalSubnet", "192.0.2.1", false},
		{"192.0.2.0/24", "192.0.2.255", true}, {"192.0.2.0/24", "192.0.3.0", false}, {"192.0.2.0/255.255.255.0", "192.0.2.0/24", true},
		{"192.0.2.0/24", "192.0.2.0/23", false}, {"192.0.2.1-192.0.2.9", "192.0.2.9", true}, {"192.0.2.1-192.0.2.9", "192.0.2.10", false},
		{"2001:db8::/64", "2001:db8::1", true}, {"2001:db8::/64", "2001:db8:1::1", false}, {"::/0", "192.0.2.1", false}, {"nonsense", "192.0.2.1", false},
	} {
		if got := covers(tc.had, tc.now); got != tc.want {
			t.Errorf("%s covers %s: %v", tc.had, tc.now, got)
		}
	}
}

func TestCure(t *testing.T) {
	t.Parallel()
	all := []Goal{GoalClose, GoalSecure, GoalRenew, GoalRestore}
	for r, want := range map[Reason]Goal{ReasonHTTPBack: GoalClose, ReasonHTTPSGone: GoalSecure, ReasonCertificateReplaced: GoalSecure, ReasonPolicyRecreated: "", ReasonRuleWidened: ""} {
		if got := (Drift{Reason: r}).Cure(all); got != want {
			t.Errorf("%s is mended by %q, want %q", r, got, want)
		}
	}
	s := Standing{Drifts: []Drift{{Reason: ReasonHTTPBack}, {Reason: ReasonHTTPSGone}, {Reason: ReasonHTTPBack, Ended: epoch}, {Reason: ReasonHTTPBack, Campaign: "old"}}}
	s = s.Opened("new", GoalClose, all)
	if s.Drifts[0].Campaign != "new" || s.Drifts[1].Campaign != "" || s.Drifts[2].Campaign != "" || s.Drifts[3].Campaign != "old" {
		t.Errorf("%+v", s.Drifts)
	}
}
