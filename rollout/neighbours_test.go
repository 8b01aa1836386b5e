package rollout

import (
	"reflect"
	"slices"
	"testing"
)

func TestCollectorsFetchFromTheirSources(t *testing.T) {
	t.Parallel()
	sub := Subscription{Enabled: true, Fetches: true, Sources: []string{"web1.corp.example", "web2.corp.example"}}
	off, https, pushed := sub, sub, sub
	off.Enabled, https.HTTPS, pushed.Fetches = false, true, false
	got := NeighboursOf(nil, []Observation{
		{Host: "wec1.corp.example", Uses: Saw(Uses{Subscriptions: []Subscription{sub, sub}})},
		{Host: "wec2.corp.example", Uses: Saw(Uses{Subscriptions: []Subscription{{Enabled: true, Fetches: true, Sources: []string{"web2.corp.example"}}, off, https, pushed}})},
	})
	if len(got) != 2 || joined(got["web1.corp.example"].Collectors) != "wec1.corp.example" || joined(got["web2.corp.example"].Collectors) != "wec1.corp.example, wec2.corp.example" {
		t.Errorf("%v", got)
	}
}

// Whoever a source may mean keeps HTTP: the one of the name it writes, and any that collects when nobody has the name.
func TestSourcesOfACollector(t *testing.T) {
	t.Parallel()
	gathers := func(host HostID, address string) Observation {
		return Observation{Host: host, HTTP: Door{Address: address}, Services: Saw([]WindowsService{{Name: "Wecsvc", Running: true}}),
			Uses: Saw(Uses{Subscriptions: []Subscription{{Name: "logons", Enabled: true, HTTPS: true}}})}
	}
	idle := gathers("wec3.corp.example", "192.0.2.3:5985")
	idle.Uses.Value.Subscriptions[0].Fetches = true // it goes to its sources itself
	collectors := []Observation{gathers("wec1.corp.example", "192.0.2.1:5985"), gathers("wec1.lab.example", "[2001:db8::1]:5985"), idle}
	known := []HostID{"wec1.corp.example", "wec1.lab.example", "wec3.corp.example", "off.corp.example", "web1.corp.example", "web1.test.example"}
	source := func(as string, perhaps bool) []EventSource {
		return []EventSource{{Host: "web1.corp.example", As: as, Perhaps: perhaps}}
	}
	for name, tc := range map[string]struct {
		forwards Forwarding
		by       HostID
		want     map[HostID][]EventSource
	}{
		"by the full name":        {Forwarding{Server: "wec1.corp.example", Port: 5985}, "", map[HostID][]EventSource{"wec1.corp.example": source("", false)}},
		"without a port":          {Forwarding{Server: "wec1.corp.example"}, "", map[HostID][]EventSource{"wec1.corp.example": source("", false)}},
		"one that was not seen":   {Forwarding{Server: "off.corp.example"}, "", map[HostID][]EventSource{"off.corp.example": source("", false)}},
		"one that fetches":        {Forwarding{Server: "wec3.corp.example"}, "", map[HostID][]EventSource{"wec3.corp.example": source("", false)}},
		"over HTTPS":              {Forwarding{Server: "wec1.corp.example", Port: 5986, HTTPS: true}, "", nil},
		"nobody can read where":   {Forwarding{Unclear: "wec1.corp.example?"}, "", nil},
		"by a short name":         {Forwarding{Server: "wec1"}, "", map[HostID][]EventSource{"wec1.corp.example": source("wec1", false)}},
		"by an address":           {Forwarding{Server: "192.0.2.1"}, "", map[HostID][]EventSource{"wec1.corp.example": source("192.0.2.1", false)}},
		"by an address of IPv6":   {Forwarding{Server: "2001:db8::1"}, "", map[HostID][]EventSource{"wec1.lab.example": source("2001:db8::1", false)}},
		"to itself":               {Forwarding{Server: "localhost"}, "", map[HostID][]EventSource{"web1.corp.example": source("localhost", false)}},
		"by the loopback":         {Forwarding{Server: "127.0.0.1"}, "", map[HostID][]EventSource{"web1.corp.example": source("127.0.0.1", false)}},
		"by a name nobody has":    {Forwarding{Server: "events.corp.example"}, "", map[HostID][]EventSource{"wec1.corp.example": source("events.corp.example", true), "wec1.lab.example": source("events.corp.example", true)}},
		"by a label nobody has":   {Forwarding{Server: "events"}, "", map[HostID][]EventSource{"wec1.corp.example": source("events", true), "wec1.lab.example": source("events", true)}},
		"by an address of no one": {Forwarding{Server: "192.0.2.77"}, "", map[HostID][]EventSource{"wec1.corp.example": source("192.0.2.77", true), "wec1.lab.example": source("192.0.2.77", true)}},
		"by a short name from another domain": {Forwarding{Server: "wec1"}, "web1.test.example", map[HostID][]EventSource{
			"wec1.corp.example": {{Host: "web1.test.example", As: "wec1", Perhaps: true}}, "wec1.lab.example": {{Host: "web1.test.example", As: "wec1", Perhaps: true}}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			by := tc.by
			if by == "" {
				by = "web1.corp.example"
			}
			all := NeighboursOf(known, append(slices.Clone(collectors), Observation{Host: by, Uses: Saw(Uses{Forwards: []Forwarding{tc.forwards, tc.forwards}})}))
			got := map[HostID][]EventSource{}
			for id, n := range all {
				got[id] = n.EventSources
			}
			if len(got) != len(tc.want) || len(got) > 0 && !reflect.DeepEqual(got, tc.want) {
				t.Errorf("got  %v\nwant %v", got, tc.want)
			}
		})
	}
}

func TestManagedFrom(t *testing.T) {
	t.Parallel()
	list := func(host HostID, names ...string) Observation {
		return Observation{Host: host, ServerLists: Saw(ServerLists{Names: names})}
	}
	got := NeighboursOf([]HostID{"web1.corp.example", "web2.corp.example", "web2.lab.example"}, []Observation{
		list("admin1.corp.example", "admin1.corp.example", "web1.corp.example", "web2", "other.corp.example", "web1.corp.example"),
		list("admin2.corp.example", "web1.corp.example", "ADMIN2"),
		list("admin3.corp.example", "admin3"), // only itself
		{Host: "admin4.corp.example", ServerLists: Unseen[ServerLists]("denied")},
	})
	if len(got) != 2 || joined(got["web1.corp.example"].ManagedFrom) != "admin1.corp.example, admin2.corp.example" || joined(got["web2.corp.example"].ManagedFrom) != "admin1.corp.example" {
		t.Errorf("%+v", got)
	}
}

func TestManySourcesAreCounted(t *testing.T) {
	t.Parallel()
	h, o := healthy()
	for i := range 12 {
		h.EventSources = append(h.EventSources, EventSource{Host: HostID([]byte{'a' + byte(i)})})
	}
	h.EventSources[0] = EventSource{Host: "web1", As: "events", Perhaps: true}
	f, _ := Assess(h, o, DefaultPolicy(), epoch).Blocking(ActClose)
	if want := "over HTTP go the events of web1 (to events, which may be this computer), b, c, d, e, f, g, h, i, j, 2 more"; f.Detail != want {
		t.Errorf("%q, want %q", f.Detail, want)
	}
}
