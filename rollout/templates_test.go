package rollout

import (
	"errors"
	"strings"
	"testing"
	"time"

	"wavelock/pki"
)

func TestNoCampaignOnADangerousTemplate(t *testing.T) {
	t.Parallel()
	bad := pki.Judgement{Kind: pki.KindTemplate, Name: "Careless", Route: pki.Relay, Hosts: 40,
		Findings: pki.Findings{{Code: "esc17", Severity: pki.Blocker, Detail: "anybody"}, {Code: "template-pends", Severity: pki.Warning}}}
	plan := func(waivers ...Waiver) Plan {
		in := intent(usual...)
		in.Templates, in.Policy.Waivers = []pki.Judgement{bad}, waivers
		return NewPlan(in, subjects(5))
	}
	var unfit *UnfitTemplate
	if err := plan().Validate(); !errors.As(err, &unfit) || unfit.Template != "Careless" || len(unfit.Why) != 1 || unfit.Hint() == "" || !strings.Contains(err.Error(), "esc17: anybody") {
		t.Errorf("without a waiver: %v", err)
	}
	w := Waiver{Reason: "esc17", Template: "Careless", By: "ann", Why: "gone on Friday"}
	waived := plan(w)
	if err := waived.Validate(); err != nil || waived.Templates[0].Findings[0].Waived != "ann: gone on Friday" {
		t.Errorf("%v, %+v", err, waived.Templates)
	}
	if plan(w).Hash() == plan(Waiver{Reason: "esc17", Template: "Careless", By: "bob", Why: "gone on Friday"}).Hash() {
		t.Error("who waived it is not part of what is approved")
	}
	over := w
	over.Until = epoch.Add(-time.Hour)
	if err := plan(over).Validate(); !errors.As(err, &unfit) {
		t.Errorf("a waiver that is over: %v", err)
	}
	if Unfit(waived.Policy, []pki.Judgement{bad}, epoch) != nil || Unfit(DefaultPolicy(), []pki.Judgement{bad}, epoch) == nil || Unfit(DefaultPolicy(), nil, epoch) != nil {
		t.Error("the same question later has another answer")
	}
}

func TestWaiversOfTheAuditAreForNoHost(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		w    Waiver
		want string
	}{
		"of a finding about templates, without one": {Waiver{Reason: "esc1", By: "ann", Why: "x"}, "name it"},
		"of a host's finding, with a template":      {Waiver{Reason: ReasonHTTPClient, Template: "T", By: "ann", Why: "x"}, "said of a host"},
		"with a host and a template":                {Waiver{Reason: "esc1", Template: "T", Host: "h", By: "ann", Why: "x"}, "besides"},
		"of a CA's finding":                         {Waiver{Reason: "ca-web-enrollment", CA: "CORP-CA01-CA", By: "ann", Why: "x"}, ""},
	} {
		p := DefaultPolicy()
		p.Waivers = []Waiver{c.w}
		if err := p.Validate(); (c.want == "") != (err == nil) || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	p := DefaultPolicy()
	p.Waivers = []Waiver{{Reason: ReasonClusterNode, Template: "T", By: "ann", Why: "x"}}
	if p.waived(ReasonClusterNode, "h", epoch) {
		t.Error("a waiver of a template's finding lets a host's pass")
	}
}
