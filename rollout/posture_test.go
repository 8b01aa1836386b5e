package rollout

import (
	"slices"
	"strings"
	"testing"
)

func on(b bool) *bool { return &b }

// exemplary is a host of which every check is fulfilled.
func exemplary() Observation {
	return Observation{Host: "web01.corp.example", At: midday, Via: HTTPS, HTTP: Door{State: DoorRefused}, HTTPS: Door{State: DoorOpen},
		Listeners: Saw([]Listener{{Transport: HTTPS, Enabled: true}}),
		Service:   Saw(Service{Kerberos: true, CbtHardening: "Strict", RootSDDL: "O:NSG:BAD:P(A;;GA;;;BA)(A;;GR;;;IU)S:P(AU;FA;GA;;;WD)(AU;SA;GXGW;;;WD)"}),
		Firewall:  Saw(Firewall{Profiles: []FirewallProfile{{Name: "domain", Enabled: true}}, Rules: []FirewallRule{{Allow: true, Active: true, Ports: []string{"5986"}, Remote: []string{"192.0.2.0/28"}}}}),
		Admins:    Saw([]Administrator{{"WEB01", "Administrator", false}, {"CORP", "Domain Admins", true}}),
		Posture: Saw(Posture{PowerShell: "5.1.20348.1", ScriptBlocks: on(true), Modules: on(true), ModuleNames: []string{"*"}, Transcripts: on(true), TranscriptFolder: `\\logs\t$`,
			TrustedHosts: "a.corp.example", DCOM: "N", RemoteUsers: Saw([]Administrator{{"CORP", "Operators", true}})})}
}

var strictRules = PostureRules{Administrators: []string{`CORP\Domain*`}, RemoteUsers: []string{`corp\operators`}}

func TestEveryPostureCheckCanFail(t *testing.T) {
	t.Parallel()
	if v := JudgePosture(exemplary(), strictRules); v.Score != 100 || len(v.Results) != len(PostureChecks()) {
		t.Fatalf("the exemplary host: %+v", v)
	}
	spoil := map[string][]func(*Observation){
		"https-only": {func(o *Observation) {
			o.Listeners.Value = append(o.Listeners.Value, Listener{Transport: HTTP, Enabled: true})
		}},
		"no-basic": {func(o *Observation) { o.Service.Value.Basic = true }}, "no-unencrypted": {func(o *Observation) { o.Service.Value.AllowUnencrypted = true }},
		"channel-binding": {func(o *Observation) { o.Service.Value.CbtHardening = "Relaxed" }}, "no-credssp": {func(o *Observation) { o.Service.Value.CredSSP = true }},
		"trusted-hosts": {func(o *Observation) { o.Posture.Value.TrustedHosts = "a, *" }},
		"root-sddl": {func(o *Observation) {
			o.Service.Value.RootSDDL = "O:NSG:BAD:P(A;;GA;;;BA)(A;;GA;;;AU)S:P(AU;FA;GA;;;WD)"
		},
			func(o *Observation) { o.Service.Value.RootSDDL = "nonsense" }},
		"remote-users": {func(o *Observation) {
			o.Posture.Value.RemoteUsers.Value = append(o.Posture.Value.RemoteUsers.Value, Administrator{"CORP", "bob", false})
		}},
		"few-admins": {func(o *Observation) { o.Admins.Value = append(o.Admins.Value, Administrator{"CORP", "bob", false}) },
			func(o *Observation) {
				o.Admins.Value = slices.Repeat([]Administrator{{"CORP", "Domain Admins", true}}, 6)
			}},
		"firewall-scope": {func(o *Observation) { o.Firewall.Value.Rules[0].Remote = nil }, func(o *Observation) { o.Firewall.Value.Profiles[0].Enabled = false },
			func(o *Observation) { o.Firewall.Value.Rules[0].Remote = []string{"*"} }},
		"powershell-5": {func(o *Observation) { o.Posture.Value.PowerShell = "5.0.1" }, func(o *Observation) { o.Posture.Value.PowerShell = "4.0" }}, "no-powershell-2": {func(o *Observation) { o.Posture.Value.OldPowerShell = "2.0" }},
		"script-blocks": {func(o *Observation) { o.Posture.Value.ScriptBlocks = nil }, func(o *Observation) { o.Posture.Value.ScriptBlocks = on(false) }},
		"modules":       {func(o *Observation) { o.Posture.Value.ModuleNames = nil }},
		"transcripts":   {func(o *Observation) { o.Posture.Value.TranscriptFolder = "" }, func(o *Observation) { o.Posture.Value.TranscriptFolder = `C:\t` }},
		"no-dcom":       {func(o *Observation) { o.Posture.Value.DCOM = "Y" }},
	}
	for _, c := range PostureChecks() {
		if c.ID == "transcript-rights" { // of the file server, see JoinShares: from one host it is not judged, and it weighs nothing
			v := JudgePosture(exemplary(), strictRules)
			i := slices.IndexFunc(v.Results, func(r PostureResult) bool { return r.Check == c.ID })
			if c.Weight != 0 || v.Results[i].State != PostureUnknown || !strings.Contains(v.Results[i].Detail, "not judged, because") {
				t.Errorf("rights that nobody read: weight %d, %+v", c.Weight, v.Results[i])
			}
			continue
		}
		if c.Title == "" || c.Hint == "" || c.Setting == "" || c.Weight < 1 || len(spoil[c.ID]) == 0 {
			t.Errorf("%s says too little, or nothing spoils it", c.ID)
		}
		for i, f := range spoil[c.ID] {
			o := exemplary()
			f(&o)
			v := JudgePosture(o, strictRules)
			if s := v.Summary(); !slices.Equal(s.Bad, []string{c.ID}) || !slices.Equal(s.Unknown, []string{"transcript-rights"}) || s.Score >= 100 {
				t.Errorf("%s %d: bad %v, unknown %v, score %d", c.ID, i, s.Bad, s.Unknown, s.Score)
			}
		}
	}
}

// TestWhatWasNotReadIsNotFulfilled: an observation of nothing scores nothing.
func TestWhatWasNotReadIsNotFulfilled(t *testing.T) {
	t.Parallel()
	v := JudgePosture(Observation{Host: "h", Admins: Unseen[[]Administrator]("not asked for"), Posture: Seen[Posture]{Known: true, Value: Posture{}}}, PostureRules{})
	s := v.Summary()
	for _, id := range []string{"https-only", "no-basic", "root-sddl", "few-admins", "firewall-scope", "powershell-5", "remote-users", "no-dcom"} {
		if !slices.Contains(s.Unknown, id) {
			t.Errorf("%s is not unknown: %+v", id, v.Results)
		}
	}
	if v := JudgePosture(Observation{Host: "h"}, PostureRules{}); v.Score != 0 {
		t.Errorf("nothing was read and the score is %d: %+v", v.Score, v.Results)
	}
}

func TestABriefLookForgetsNothing(t *testing.T) {
	t.Parallel()
	before := exemplary()
	before.ServerLists, before.ClientKeys = Saw(ServerLists{}), Saw([]ClientKey{})
	brief := Observation{Admins: Unseen[[]Administrator](NotAsked), Posture: Unseen[Posture](NotAsked), ServerLists: Unseen[ServerLists](NotAsked), ClientKeys: Unseen[[]ClientKey](NotAsked)}
	if o := brief.Remember(before); !o.Posture.Known || !o.Admins.Known || !o.ServerLists.Known || !o.ClientKeys.Known {
		t.Errorf("forgotten: %+v", o)
	}
	denied := Observation{Admins: Unseen[[]Administrator]("access denied"), Posture: Unseen[Posture]("access denied"), ServerLists: Unseen[ServerLists]("access denied"), ClientKeys: Unseen[[]ClientKey]("access denied")}
	if o := denied.Remember(before); o.Posture.Known || o.Admins.Known || o.ServerLists.Known || o.ClientKeys.Known {
		t.Error("what could not be read is taken from before")
	}
}

func TestPatternsOfMembers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, name string
		fits          bool
	}{{`CORP\Domain Admins`, `corp\domain admins`, true}, {`CORP\*`, `CORP\x`, true}, {`CORP\*`, `OTHER\x`, false}, {`*\svc-?`, `CORP\svc-1`, true}, {`*\svc-?`, `CORP\svc-12`, false},
		{`[`, `[`, true}, {`CORP\a[b`, `CORP\a[b`, true}, {"", "CORP\\x", false}} {
		if got := fits(c.pattern, c.name); got != c.fits {
			t.Errorf("%q and %q: %v", c.pattern, c.name, got)
		}
	}
}

func FuzzRootSDDL(f *testing.F) {
	f.Add("O:NSG:BAD:P(A;;GA;;;BA)(A;;GR;;;IU)S:P(AU;FA;GA;;;WD)")
	f.Add("D:(A;;;;;WD")
	f.Fuzz(func(t *testing.T, s string) {
		o := Observation{Service: Saw(Service{RootSDDL: s})}
		if state, detail := judgeSDDL(o, PostureRules{}); state == PostureOK && strings.Contains(s, "D:(A;;GA;;;WD)") {
			t.Errorf("%q is %s: %s", s, state, detail)
		}
	})
}

func TestPostureTally(t *testing.T) {
	t.Parallel()
	first, second := PostureChecks()[0].ID, PostureChecks()[1].ID
	var tally PostureTally
	for _, s := range []*PostureSummary{{Score: 100}, nil, {Score: 50, Bad: []string{second}, Unknown: []string{first}}, {Score: 40, Bad: []string{second}}, {Score: 60, Bad: []string{first}}} {
		tally.Add(s)
	}
	tally.Count()
	if tally.Judged != 4 || tally.Not != 1 || tally.Mean != 62 || len(tally.Checks) != len(PostureChecks()) {
		t.Errorf("%+v", tally)
	}
	worst := tally.Unfulfilled()
	if len(worst) != 2 || worst[0].ID != second || worst[0].Bad != 2 || worst[0].OK != 2 || worst[1].ID != first || worst[1].Bad != 1 || worst[1].Unknown != 1 || worst[1].OK != 2 {
		t.Errorf("%+v", worst)
	}
	none := PostureTally{}
	none.Count()
	if none.Mean != 0 || len(none.Unfulfilled()) != 0 {
		t.Errorf("%+v", none)
	}
}
