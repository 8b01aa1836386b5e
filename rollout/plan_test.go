package rollout

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// subjects are n healthy hosts with only HTTP.
func subjects(n int) []Subject {
	var all []Subject
	for i := range n {
		c := freshComputer(nil, DefaultPolicy())
		c.host = Host{ID: HostID(fmt.Sprintf("h%03d.corp.example", i)), Domain: "corp.example", OU: "corp.example/Servers"}
		all = append(all, Subject{Host: c.host, Observation: c.observe()})
	}
	return all
}

func intent(rules ...WaveRule) Intent {
	return Intent{ID: "spring", Made: epoch, MadeBy: "ann", Goal: GoalClose, Seed: 7, Policy: DefaultPolicy(), Roots: [][]byte{{1}}, Waves: rules}
}

var usual = []WaveRule{{Name: "canary", Count: 2, InFlight: 1, Limit: 1, Approval: true}, {Name: "early", Percent: 20, InFlight: 3, Limit: 2, Soak: Duration(time.Hour)}, {Name: "rest", InFlight: 9, Limit: 3}}

func sizes(p Plan) (n []int) {
	for _, w := range p.Waves {
		n = append(n, len(w.Hosts))
	}
	return n
}

func TestTheSameInputGivesTheSamePlan(t *testing.T) {
	t.Parallel()
	p := NewPlan(intent(usual...), subjects(40))
	backwards := subjects(40)
	slices.Reverse(backwards)
	if q := NewPlan(intent(usual...), backwards); q.Hash() != p.Hash() {
		t.Error("the order of the directory's answer changes the plan")
	}
	if err := p.Validate(); err != nil {
		t.Error(err)
	}
	if got := sizes(p); !slices.Equal(got, []int{2, 8, 30}) {
		t.Errorf("waves of %v", got)
	}
	canaries := map[HostID]bool{}
	for seed := range uint64(10) {
		in := intent(usual...)
		in.Seed = seed
		canaries[NewPlan(in, subjects(40)).Waves[0].Hosts[0]] = true
	}
	if len(canaries) < 3 {
		t.Errorf("ten seeds draw only %d canaries", len(canaries))
	}
}

func TestWaveRules(t *testing.T) {
	t.Parallel()
	some := func(n int, change func(*Host)) []Subject {
		all := subjects(20)
		for i := range n {
			change(&all[i].Host)
		}
		return all
	}
	ou := func(h *Host) { h.OU = "corp.example/Servers/Web" }
	for name, tc := range map[string]struct {
		rules []WaveRule
		of    []Subject
		want  []int
	}{
		"without rules there is one wave":                 {nil, subjects(5), []int{5}},
		"a count takes so many":                           {[]WaveRule{{Count: 3}, {}}, subjects(5), []int{3, 2}},
		"a count takes no more than there are":            {[]WaveRule{{Count: 9}, {}}, subjects(5), []int{5}},
		"a percentage is of all and rounded up":           {[]WaveRule{{Percent: 15}, {Percent: 15}, {}}, subjects(20), []int{3, 3, 14}},
		"a percentage of few takes one at least":          {[]WaveRule{{Percent: 1}, {}}, subjects(5), []int{1, 4}},
		"more than everything is everything":              {[]WaveRule{{Percent: 250}, {}}, subjects(5), []int{5}},
		"an OU takes what is in it":                       {[]WaveRule{{OU: "corp.example/servers/WEB"}, {}}, some(4, ou), []int{4, 16}},
		"an OU takes what is below it":                    {[]WaveRule{{OU: "corp.example/Servers"}, {}}, some(4, func(h *Host) { h.OU = "corp.example/Clients" }), []int{16, 4}},
		"an OU does not take its namesakes":               {[]WaveRule{{OU: "corp.example/Serv"}, {}}, subjects(5), []int{5}},
		"a site takes its own":                            {[]WaveRule{{Site: "Berlin"}, {}}, some(3, func(h *Host) { h.Site = "berlin" }), []int{3, 17}},
		"a group takes its members":                       {[]WaveRule{{Group: "Tier1"}, {}}, some(6, func(h *Host) { h.Groups = []string{"x", "tier1"} }), []int{6, 14}},
		"a group and a count take a part of the group":    {[]WaveRule{{Group: "Tier1", Count: 2}, {}}, some(6, func(h *Host) { h.Groups = []string{"Tier1"} }), []int{2, 18}},
		"a rule that matches nobody makes no wave":        {[]WaveRule{{Site: "Nowhere"}, {}}, subjects(5), []int{5}},
		"the last wave takes what is left, whoever it is": {[]WaveRule{{Count: 1}, {Site: "Nowhere"}}, subjects(5), []int{1, 4}},
		"nobody makes no plan":                            {usual, nil, nil},
		"a host that is listed twice is planned once":     {[]WaveRule{{}}, append(subjects(3), subjects(2)...), []int{3}},
		"two nodes of a cluster need two waves":           {[]WaveRule{{}}, some(2, func(h *Host) { h.Cluster = "c1" }), []int{19, 1}},
		"as many waves as nodes":                          {[]WaveRule{{}}, some(4, func(h *Host) { h.Cluster = "c1" }), []int{17, 1, 1, 1}},
		"two clusters may share":                          {[]WaveRule{{}}, some(2, func(h *Host) { h.Cluster = string(h.ID) }), []int{20}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := NewPlan(intent(tc.rules...), tc.of)
			if got := sizes(p); !slices.Equal(got, tc.want) {
				t.Errorf("waves of %v, want %v", got, tc.want)
			}
		})
	}
}

// TestPlacement holds any plan against what was promised of it.
func TestPlacement(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all := subjects(rapid.IntRange(1, 30).Draw(t, "hosts"))
		controller := rapid.IntRange(-1, len(all)-1).Draw(t, "controller")
		for i := range all {
			h := &all[i].Host
			h.Domain = rapid.SampledFrom([]string{"corp.example", "corp.example", "sub.corp.example"}).Draw(t, "domain")
			all[i].Observation.Identity.Value.FQDN, all[i].Observation.Identity.Value.Domain = string(h.ID), h.Domain
			h.Cluster = rapid.SampledFrom([]string{"", "", "c1", "c2"}).Draw(t, "cluster")
			if role := rapid.SampledFrom([]Role{"", "", "", "", RoleCA, RoleDomainController}).Draw(t, "role"); role != "" {
				h.Roles = []Role{role}
			}
			if i == controller {
				h.Roles = append(h.Roles, RoleController)
			}
			all[i].Observation.Host = h.ID
		}
		n := rapid.IntRange(0, 3).Draw(t, "rules")
		in := intent(usual[3-n:]...)
		in.Seed = rapid.Uint64().Draw(t, "seed")
		p := NewPlan(in, all)
		if err := p.Validate(); err != nil {
			t.Fatal(err)
		}
		if len(p.Hosts)+len(p.Left) != len(all) {
			t.Fatalf("%d planned and %d left out of %d", len(p.Hosts), len(p.Left), len(all))
		}
		placed(t, &p)
	})
}

// placed holds the order of delicate hosts and the distance of kin.
func placed(t fataler, p *Plan) {
	last := 0
	for n, w := range p.Waves {
		kindred := map[string]HostID{}
		least, most := 9, 0
		for _, id := range w.Hosts {
			ph, _ := p.Host(id)
			rank, family := 0, ""
			switch h := ph.Host; {
			case h.Has(RoleController):
				rank, family = 3, "infrastructure "+h.Domain
			case h.Has(RoleDomainController):
				rank, family = 2, "infrastructure "+h.Domain
			case h.Has(RoleCA):
				rank, family = 1, "infrastructure "+h.Domain
			case h.Cluster != "":
				family = "cluster " + h.Cluster
			}
			if other, is := kindred[family]; is && family != "" {
				t.Fatalf("wave %d has %s and %s of %s", n+1, other, id, family)
			}
			kindred[family] = id
			if rank == 3 && (n != len(p.Waves)-1 || id != w.Hosts[len(w.Hosts)-1]) {
				t.Fatalf("our own computer is in wave %d of %d, among %v", n+1, len(p.Waves), w.Hosts)
			}
			if rank < most {
				t.Fatalf("in wave %d, %s comes after a more delicate host", n+1, id)
			}
			least, most = min(least, rank), max(most, rank)
		}
		if least < last {
			t.Fatalf("wave %d has a host of delicacy %d after one of %d in an earlier wave", n+1, least, last)
		}
		last = max(last, most)
	}
}

func TestWhoIsLeftOut(t *testing.T) {
	t.Parallel()
	all := subjects(4)
	all[0].Observation.Identity.Value.FQDN = "other.corp.example"
	all[1].Observation = Observation{Host: all[1].Host.ID, HTTP: Door{State: DoorSilent}}
	all[2].Observation.Peers.Value = []Peer{{Address: "192.0.2.9", Port: 5985}}
	p := NewPlan(intent(), all)
	if len(p.Left) != 1 || p.Left[0].Host != all[0].Host.ID || p.Left[0].Reason != ReasonWrongHost || p.Left[0].OU == "" {
		t.Errorf("left out: %+v", p.Left)
	}
	for _, s := range all[1:] {
		ph, ok := p.Host(s.Host.ID)
		if !ok {
			t.Fatalf("%s is not planned", s.Host.ID)
		}
		if ph.Basis != s.Observation.Fingerprint() || (ph.Basis == "") != (s.Observation.Via == "") {
			t.Errorf("%s rests on %q", s.Host.ID, ph.Basis)
		}
	}
	if ph, _ := p.Host(all[2].Host.ID); len(ph.Findings) != 1 {
		t.Errorf("a client of HTTP forbids only the second action; findings %+v", ph.Findings)
	}
	in := intent()
	in.Goal = "fly"
	if p := NewPlan(in, all); len(p.Hosts) != 0 || len(p.Left) != 4 {
		t.Errorf("without a goal %d hosts are planned", len(p.Hosts))
	}
}

func TestHash(t *testing.T) {
	t.Parallel()
	in := intent(usual...)
	in.Policy.Waivers = []Waiver{{Reason: ReasonHTTPClient, By: "ann", Why: "a scanner", Host: "h000.corp.example", Until: epoch}}
	in.Policy.Issuers, in.Policy.Sources, in.Policy.Controllers = []string{"CN=CA"}, []string{"192.0.2.0/24"}, []string{"192.0.2.1"}
	all := subjects(12)
	all[0].Observation.Identity.Value.FQDN = "other.corp.example"
	for i := range all {
		h := &all[i].Host
		h.GUID, h.SID, h.Account, h.Site, h.OS, h.Cluster, h.Zone = "g", "s", "a$", "x", "2022", string(h.ID), "z"
		h.Roles, h.Groups = []Role{"file-server"}, []string{"Tier1"}
		all[i].Observation.Service.Value.CompatHTTP = true
	}
	p := NewPlan(in, all)
	b, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var back Plan
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	if back.Hash() != p.Hash() || len(p.Hash()) != 64 {
		t.Fatalf("written and read again, %s becomes %s", p.Hash(), back.Hash())
	}
	seen := map[string]string{p.Hash(): "the plan itself"}
	n := alter(reflect.ValueOf(&back).Elem(), "plan", func(path string) {
		if was, is := seen[back.Hash()]; is {
			t.Errorf("with another %s the hash is that of %s", path, was)
		}
		seen[back.Hash()] = path
	})
	if n < 100 {
		t.Errorf("only %d fields were altered", n)
	}
}

// alter changes one plain value after the other, tells, and puts it back.
func alter(v reflect.Value, path string, tell func(string)) (n int) {
	if at, is := v.Interface().(time.Time); is {
		v.Set(reflect.ValueOf(at.Add(time.Second)))
		tell(path)
		v.Set(reflect.ValueOf(at))
		return 1
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			n += alter(v.Field(i), path+"."+v.Type().Field(i).Name, tell)
		}
		return n
	case reflect.Slice:
		for i := range v.Len() {
			n += alter(v.Index(i), fmt.Sprintf("%s[%d]", path, i), tell)
		}
		was := v.Interface()
		v.Set(reflect.Append(v, reflect.New(v.Type().Elem()).Elem()))
		tell(path + " longer by one")
		v.Set(reflect.ValueOf(was))
		return n + 1
	}
	was := reflect.ValueOf(v.Interface())
	switch v.Kind() {
	case reflect.String:
		v.SetString(v.String() + "x")
	case reflect.Bool:
		v.SetBool(!v.Bool())
	case reflect.Uint8, reflect.Uint64:
		v.SetUint(v.Uint() + 1)
	default:
		v.SetInt(v.Int() + 1)
	}
	tell(path)
	v.Set(was)
	return 1
}

func TestPlanValidate(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		change func(*Plan)
		says   string
	}{
		"a plan of a newer program":        {func(p *Plan) { p.Version = 2 }, "version 2"},
		"a campaign without a name":        {func(p *Plan) { p.ID = "" }, "no name for a campaign"},
		"a name that is a path":            {func(p *Plan) { p.ID = "../x" }, "no name for a campaign"},
		"a name that needs quotes":         {func(p *Plan) { p.ID = "a b" }, "no name for a campaign"},
		"no goal":                          {func(p *Plan) { p.Goal = "" }, "is no goal"},
		"no hosts":                         {func(p *Plan) { p.Hosts, p.Waves = nil, nil }, "no hosts"},
		"a host twice in the list":         {func(p *Plan) { p.Hosts = append(p.Hosts, p.Hosts[0]) }, "listed twice"},
		"a host in two waves":              {func(p *Plan) { p.Waves[1].Hosts = append(p.Waves[1].Hosts, p.Waves[0].Hosts[0]) }, "in two waves"},
		"a host of a wave that is unknown": {func(p *Plan) { p.Waves[0].Hosts = append(p.Waves[0].Hosts, "x") }, "not among the hosts"},
		"a host in no wave":                {func(p *Plan) { p.Waves[0].Hosts = p.Waves[0].Hosts[1:] }, "in no wave"},
		"a wave that admits nobody":        {func(p *Plan) { p.Waves[0].InFlight = 0 }, "in_flight"},
		"a wave without a limit":           {func(p *Plan) { p.Waves[0].Limit = 0 }, "limit"},
		"a wave without hosts":             {func(p *Plan) { p.Waves = append(p.Waves, Wave{InFlight: 1, Limit: 1}) }, "wave 4"},
		"an unfit policy":                  {func(p *Plan) { p.Policy.ProofFresh = 0 }, "proof_fresh"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := NewPlan(intent(usual...), subjects(12))
			if err := p.Validate(); err != nil {
				t.Fatalf("unfit before: %v", err)
			}
			tc.change(&p)
			if err := p.Validate(); err == nil || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("it says %v, want %q", err, tc.says)
			}
		})
	}
}

func TestFingerprint(t *testing.T) {
	t.Parallel()
	_, o := healthy()
	was := o.Fingerprint()
	for name, tc := range map[string]struct {
		change func(*Observation)
		moves  bool
	}{
		"another listener":             {func(o *Observation) { o.Listeners.Value = o.Listeners.Value[:1] }, true},
		"another certificate":          {func(o *Observation) { o.Listeners.Value[1].Thumbprint = "AA" }, true},
		"another binding":              {func(o *Observation) { o.Bindings.Value[0].AppID = "{x}" }, true},
		"another policy":               {func(o *Observation) { o.Policy.Value.AllowAutoConfig = &yes }, true},
		"another filter":               {func(o *Observation) { o.Service.Value.IPv6Filter = "" }, true},
		"another computer":             {func(o *Observation) { o.Identity.Value.FQDN = "x" }, true},
		"another address":              {func(o *Observation) { o.Listeners.Value[0].ListeningOn = []string{"192.0.2.1"} }, false},
		"another peer":                 {func(o *Observation) { o.Peers.Value = []Peer{{Address: "192.0.2.1"}} }, false},
		"another day":                  {func(o *Observation) { o.At = o.At.Add(24 * time.Hour) }, false},
		"another order":                {func(o *Observation) { slices.Reverse(o.Listeners.Value) }, false},
		"another door to read through": {func(o *Observation) { o.Via = HTTPS }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, o := healthy()
			tc.change(&o)
			if moved := o.Fingerprint() != was; moved != tc.moves {
				t.Errorf("moved: %v", moved)
			}
		})
	}
	if (Observation{}).Fingerprint() != "" {
		t.Error("a host that was never seen has a fingerprint")
	}
}
