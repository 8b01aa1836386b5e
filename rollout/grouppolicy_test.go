package rollout

import (
	"strings"
	"testing"
)

func TestPolicyChanges(t *testing.T) {
	t.Parallel()
	p := &Plan{ID: "spring", Hosts: []Planned{{Host: Host{ID: "a"}}, {Host: Host{ID: "b"}}, {Host: Host{ID: "c"}}, {Host: Host{ID: "d"}}, {Host: Host{ID: "e"}}},
		Waves: []Wave{{Hosts: []HostID{"a", "b"}}, {Hosts: []HostID{"c", "d", "e"}}}}
	s := NewState(p)
	for id, wave := range map[HostID]int{"a": 1, "b": 1, "c": 2, "d": 2, "e": 2} {
		s.Hosts[id].Wave = wave
		if id != "e" {
			s.Hosts[id].Outcome = AwaitPolicy
		}
	}
	winner := func(id HostID) PolicyValue {
		if id > "c" {
			return PolicyValue{}
		}
		return PolicyValue{GPO: "Servers", Object: &PolicyObject{Links: []string{"OU=Web"}, Path: `\\corp\x`}}
	}
	got := PolicyChanges(p, s, winner, "")
	if len(got) != 3 || len(got[0].Computers) != 2 || got[0].GPO != "Servers" || got[0].Group != "spring-wave-1" || len(got[0].Links) != 1 || got[0].File == "" || got[1].Links != nil || got[1].GPO != "" || got[1].Computers[0] != "d" || got[2].Computers[0] != "c" {
		t.Fatalf("%+v", got)
	}
	if !strings.Contains(got[0].Do[1], `deny that group 'Apply group policy' on the Group Policy object "Servers"`) || !strings.Contains(got[0].Do[0], "spring-wave-1") {
		t.Errorf("%q", got[0].Do)
	}
	if !strings.Contains(got[1].Do[0], "gpresult") || len(got[1].Revert) == 0 || !strings.Contains(got[1].Want, "not Disabled") {
		t.Errorf("%+v", got[1])
	}
	if got := PolicyChanges(p, s, winner, "HTTPS only"); got[0].Group != "HTTPS only" || !strings.Contains(got[0].Revert[0], "HTTPS only") {
		t.Errorf("%+v", got[0])
	}
}

func TestWhatTheDirectoryHasOfAPolicyIsTold(t *testing.T) {
	t.Parallel()
	value := PolicyValue{Name: "AllowAutoConfig", GPO: "cn={A}", ID: "{A}"}
	seen := func(v PolicyValue) Observation { return Observation{PolicyValues: Saw([]PolicyValue{v})} }
	named := value
	named.Object = &PolicyObject{Name: "WinRM", Links: []string{"OU=Web", "OU=Mail (enforced)"}}
	if got := seen(named).winner("allowautoconfig"); got != ` (by the Group Policy object "WinRM", linked to OU=Web; OU=Mail (enforced))` {
		t.Errorf("%q", got)
	}
	if got := seen(value).winner("AllowAutoConfig"); got != ` (by the Group Policy object "cn={A}")` {
		t.Errorf("%q", got)
	}
	if got := seen(value).Remember(seen(named)); got.Winner("AllowAutoConfig") != "WinRM" {
		t.Errorf("a campaign's look forgets the object: %+v", got.PolicyValues)
	}
	other := value
	other.ID = "{B}"
	if got := seen(other).Remember(seen(named)); got.PolicyValues.Value[0].Object != nil {
		t.Errorf("another object wins by now: %+v", got.PolicyValues)
	}
}

func TestInitiators(t *testing.T) {
	t.Parallel()
	host := func(address string, listeners []int, rules ...FirewallRule) Observation {
		o := Observation{HTTP: Door{Address: address + ":5985"}, Firewall: Saw(Firewall{Profiles: []FirewallProfile{{Name: "domain", Enabled: true, BlockIn: true}}, Rules: rules})}
		var ls []Listener
		for _, p := range listeners {
			ls = append(ls, Listener{Port: p, Enabled: true})
		}
		o.Listeners = Saw(ls)
		return o
	}
	rule := func(port string, remote ...string) FirewallRule {
		return FirewallRule{Allow: true, Active: true, Ports: []string{port}, Remote: remote}
	}
	for name, tc := range map[string]struct {
		hosts []Observation
		want  Initiators
	}{
		"all are scoped to one": {[]Observation{
			host("192.0.2.1", []int{5986}, rule("5986", "192.0.2.1")), host("192.0.2.2", []int{5986}, rule("5986", "192.0.2.1"), rule("5985"))}, // no listener on 5985
			Initiators{Computers: 2, Can: 1, Scoped: 2}},
		"one lets everybody in over HTTP": {[]Observation{
			host("192.0.2.1", []int{5986}, rule("5986", "192.0.2.1")), host("192.0.2.2", []int{5985, 5986}, rule("5986", "192.0.2.1"), rule("5985"))},
			Initiators{Computers: 2, Can: 2, Open: 1, Scoped: 1}},
		"a local subnet is anybody":     {[]Observation{host("192.0.2.1", []int{5986}, rule("5986", "LocalSubnet"))}, Initiators{Computers: 1, Can: 1, Scoped: 1}},
		"an unread firewall is unknown": {[]Observation{{HTTP: Door{Address: "192.0.2.1:5985"}}}, Initiators{Computers: 1, Unknown: 1}},
		"ranges of both families, which overlap": {[]Observation{
			host("192.0.2.1", []int{5986}, rule("5986", "192.0.2.0/255.255.255.0", "192.0.2.200-192.0.3.10", "2001:db8::/64")), host("192.0.3.10", []int{5986}), host("192.0.3.11", []int{5986}),
			host("[2001:db8::7]", []int{5986}), host("[2001:db8:1::7]", []int{5986}), host("10.0.0.1", []int{5986})}, Initiators{Computers: 6, Can: 3, Scoped: 6}},
		"a host without a rule lets nobody in": {[]Observation{host("192.0.2.1", []int{5986})}, Initiators{Computers: 1, Scoped: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var n Initiators
			for _, o := range tc.hosts {
				n.Add(EntryOf(o))
			}
			n.Count()
			n.sources, n.addresses = nil, nil
			if n.Words() != tc.want.Words() {
				t.Errorf("got  %s\nwant %s", n.Words(), tc.want.Words())
			}
		})
	}
	off := host("192.0.2.1", []int{5986}, rule("5986", "192.0.2.9"))
	off.Firewall.Value.Profiles[0].Enabled = false
	var n Initiators
	n.Add(EntryOf(off))
	if n.Open != 1 {
		t.Error("a firewall that is off lets everybody in")
	}
}

func TestSourcesAreAddresses(t *testing.T) {
	t.Parallel()
	for source, ok := range map[string]bool{"192.0.2.0/24": true, "192.0.2.1": true, "2001:db8::/32": true, "192.0.2.1-192.0.2.9": true, "LocalSubnet": true,
		"any": false, "jump1.corp.example": false, "192.0.2.0/33": false, "": false, "192.0.2.9-192.0.2.1": false} {
		p := DefaultPolicy()
		p.Sources = []string{source}
		if err := p.Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", source, err)
		}
	}
}
