package rollout

import (
	"fmt"
	"testing"
)

func TestClassOf(t *testing.T) {
	t.Parallel()
	l := func(t Transport) Listener { return Listener{Transport: t, Enabled: true} }
	compat, off := l(HTTP), l(HTTP)
	compat.Source, off.Enabled = SourceCompatibility, false
	unknown := Unseen[[]Listener]("denied")
	for name, tc := range map[string]struct {
		http, https DoorState
		listeners   Seen[[]Listener]
		want        Class
	}{
		"both doors are open":                                  {DoorOpen, DoorOpen, Saw([]Listener{l(HTTP), l(HTTPS)}), ClassBoth},
		"a listener counts although a firewall hides it":       {DoorSilent, DoorOpen, Saw([]Listener{l(HTTP), l(HTTPS)}), ClassBoth},
		"a door that answers counts although it is not listed": {DoorOpen, DoorOpen, Saw([]Listener{l(HTTPS)}), ClassBoth},
		"only HTTP":                           {DoorOpen, DoorRefused, Saw([]Listener{l(HTTP)}), ClassHTTPOnly},
		"HTTPS is listed and does not answer": {DoorOpen, DoorSilent, Saw([]Listener{l(HTTP), l(HTTPS)}), ClassHTTPOnly},
		"HTTP, and a silent door of a host that hid its list":          {DoorOpen, DoorSilent, unknown, ClassUnknown},
		"HTTP, and HTTPS is refused":                                   {DoorOpen, DoorRefused, unknown, ClassHTTPOnly},
		"only HTTPS":                                                   {DoorRefused, DoorOpen, Saw([]Listener{l(HTTPS)}), ClassHTTPSOnly},
		"only HTTPS, and IIS has 5985":                                 {DoorOther, DoorOpen, unknown, ClassHTTPSOnly},
		"HTTPS, and a silent HTTP of a host that hid its list":         {DoorSilent, DoorOpen, unknown, ClassUnknown},
		"HTTPS, and the list says that HTTP is silent for good reason": {DoorSilent, DoorOpen, Saw([]Listener{l(HTTPS)}), ClassHTTPSOnly},
		"the compatibility listener is no door":                        {DoorRefused, DoorOpen, Saw([]Listener{compat, l(HTTPS)}), ClassHTTPSOnly},
		"a disabled listener is no door":                               {DoorRefused, DoorOpen, Saw([]Listener{off, l(HTTPS)}), ClassHTTPSOnly},
		"neither":                                                      {DoorRefused, DoorRefused, unknown, ClassNone},
		"neither, and something else answers":                          {DoorOther, DoorRefused, unknown, ClassNone},
		"silence proves nothing":                                       {DoorSilent, DoorSilent, unknown, ClassUnknown},
		"half a silence proves nothing":                                {DoorRefused, DoorSilent, unknown, ClassUnknown},
		"a name that does not resolve proves nothing":                  {DoorNoName, DoorNoName, unknown, ClassUnknown},
		"nobody tried":                                                 {DoorUnknown, DoorUnknown, unknown, ClassUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := Observation{HTTP: Door{State: tc.http}, HTTPS: Door{State: tc.https}, Listeners: tc.listeners}
			if got := ClassOf(o); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}

func TestCoversPort(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		ports []string
		want  bool
	}{
		{nil, true}, {[]string{"5986"}, true}, {[]string{"5985"}, false}, {[]string{"80", "5986"}, true}, {[]string{"5985-5986"}, true},
		{[]string{"5986-5990"}, true}, {[]string{"5980-5985"}, false}, {[]string{"5987-6000"}, false}, {[]string{"0-65535"}, true},
		{[]string{"59860"}, false}, {[]string{"598"}, false}, {[]string{"RPC"}, false}, {[]string{""}, false}, {[]string{"5990-5980"}, false},
		{[]string{"RPC-EPMap", "IPHTTPSIn"}, false}, {[]string{"-5986"}, false}, {[]string{"5986-"}, true},
	} {
		t.Run(fmt.Sprint(tc.ports), func(t *testing.T) {
			t.Parallel()
			if got := coversPort(tc.ports, 5986); got != tc.want {
				t.Errorf("%v, want %v", got, tc.want)
			}
		})
	}
}

func TestAllowsHTTPS(t *testing.T) {
	t.Parallel()
	domain := FirewallProfile{Name: "domain", Enabled: true, BlockIn: true, LocalMerge: true}
	private := FirewallProfile{Name: "private", Enabled: true, BlockIn: true, LocalMerge: true}
	public := FirewallProfile{Name: "public", Enabled: true, BlockIn: true, LocalMerge: true}
	rule := FirewallRule{Allow: true, Active: true, Ports: []string{"5986"}}
	with := func(r FirewallRule, change func(*FirewallRule)) FirewallRule { change(&r); return r }
	profile := func(p FirewallProfile, change func(*FirewallProfile)) FirewallProfile { change(&p); return p }
	for name, tc := range map[string]struct {
		profiles []FirewallProfile
		rules    []FirewallRule
		want     bool
	}{
		"a rule for all profiles":                 {[]FirewallProfile{domain, private, public}, []FirewallRule{rule}, true},
		"no rule":                                 {[]FirewallProfile{domain}, nil, false},
		"no profile was read":                     {nil, []FirewallRule{rule}, false},
		"a firewall that is off needs none":       {[]FirewallProfile{profile(domain, func(p *FirewallProfile) { p.Enabled = false })}, nil, true},
		"a firewall that lets all in needs none":  {[]FirewallProfile{profile(domain, func(p *FirewallProfile) { p.BlockIn = false })}, nil, true},
		"one profile without a rule is too many":  {[]FirewallProfile{domain, private}, []FirewallRule{with(rule, func(r *FirewallRule) { r.Profiles = []string{"domain"} })}, false},
		"the public profile does not count":       {[]FirewallProfile{domain, public}, []FirewallRule{with(rule, func(r *FirewallRule) { r.Profiles = []string{"domain"} })}, true},
		"a rule for each profile":                 {[]FirewallProfile{domain, private}, []FirewallRule{with(rule, func(r *FirewallRule) { r.Profiles = []string{"domain"} }), with(rule, func(r *FirewallRule) { r.Profiles = []string{"private"} })}, true},
		"a rule that is off":                      {[]FirewallProfile{domain}, []FirewallRule{with(rule, func(r *FirewallRule) { r.Active = false })}, false},
		"a rule that blocks":                      {[]FirewallProfile{domain}, []FirewallRule{with(rule, func(r *FirewallRule) { r.Allow = false })}, false},
		"a rule for one program":                  {[]FirewallProfile{domain}, []FirewallRule{with(rule, func(r *FirewallRule) { r.Only = []string{`App=C:\app.exe`} })}, false},
		"a rule for another port":                 {[]FirewallProfile{domain}, []FirewallRule{with(rule, func(r *FirewallRule) { r.Ports = []string{"5985"} })}, false},
		"a local rule that is not merged":         {[]FirewallProfile{profile(domain, func(p *FirewallProfile) { p.LocalMerge = false })}, []FirewallRule{rule}, false},
		"a rule of Group Policy is always merged": {[]FirewallProfile{profile(domain, func(p *FirewallProfile) { p.LocalMerge = false })}, []FirewallRule{with(rule, func(r *FirewallRule) { r.Policy = true })}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := allowsHTTPS(Firewall{Profiles: tc.profiles, Rules: tc.rules}, 5986); got != tc.want {
				t.Errorf("%v, want %v", got, tc.want)
			}
		})
	}
}
