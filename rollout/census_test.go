package rollout

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// look is one sample: a host that answers as itself, and who is connected.
func look(at time.Time, peers ...Peer) Observation {
	return Observation{Host: subject, At: at, Identity: Saw(Identity{FQDN: strings.ToUpper(string(subject))}), Peers: Saw(peers)}
}

// watched is a census of two hours until one hour ago, with one client at the ports.
func watched(ports ...int) Census {
	var peers []Peer
	for _, p := range ports {
		peers = append(peers, Peer{Address: "192.0.2.9", Port: p})
	}
	return Census{}.With(look(epoch.Add(-2*time.Hour), peers...)).With(look(epoch.Add(-time.Hour), peers...))
}

func TestCensus(t *testing.T) {
	t.Parallel()
	p := DefaultPolicy()
	client := Peer{Address: "192.0.2.9", Port: 5985, Name: "jump1.corp.example"}
	for name, tc := range map[string]struct {
		looks []Observation
		words string
	}{
		"a host never looked at is unknown, not clean": {nil, "unknown: never sampled"},
		"nobody seen is said with how often and since when": {
			[]Observation{look(epoch), look(epoch.Add(time.Minute))}, "none seen in 2 samples since 2026-03-02 08:00"},
		"somebody seen once is named with when": {
			[]Observation{look(epoch), look(epoch.Add(time.Minute), client), look(epoch.Add(time.Hour))},
			"jump1.corp.example (192.0.2.9) 1 times, last 2026-03-02 08:01; in 3 samples since 2026-03-02 08:00"},
		"two connections of one client are one client": {
			[]Observation{look(epoch, client, client)}, "jump1.corp.example (192.0.2.9) 1 times, last 2026-03-02 08:00; in 1 sample since 2026-03-02 08:00"},
		"the name stays when a later look has none": {
			[]Observation{look(epoch, client), look(epoch.Add(1), Peer{Address: "192.0.2.9", Port: 5985})},
			"jump1.corp.example (192.0.2.9) 2 times, last 2026-03-02 08:00; in 2 samples since 2026-03-02 08:00"},
		"our own connection is nobody": {
			[]Observation{look(epoch, Peer{Address: "192.0.2.9", Port: 5985, Self: true})}, "none seen in 1 sample since 2026-03-02 08:00"},
		"a client of HTTPS is no user of HTTP": {
			[]Observation{look(epoch, Peer{Address: "192.0.2.9", Port: 5986})}, "none seen in 1 sample since 2026-03-02 08:00"},
		"a look that saw no connections is no sample": {
			[]Observation{{Host: subject, At: epoch, Identity: Saw(Identity{FQDN: string(subject)}), Peers: Unseen[[]Peer]("denied")}}, "unknown: never sampled"},
		"what another computer tells is no sample": {
			[]Observation{{Host: subject, At: epoch, Identity: Saw(Identity{FQDN: "web2.corp.example"}), Peers: Saw([]Peer{client})}}, "unknown: never sampled"},
		"the same look counts once": {
			[]Observation{look(epoch), look(epoch)}, "none seen in 1 sample since 2026-03-02 08:00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var c Census
			for _, o := range tc.looks {
				c = c.With(o)
			}
			if got := c.Words(p, epoch.Add(time.Hour)); got != tc.words {
				t.Errorf("got  %s\nwant %s", got, tc.words)
			}
		})
	}
}

func TestACensusStaysSmall(t *testing.T) {
	t.Parallel()
	var c Census
	for i := range 2 * maxClients {
		c = c.With(look(epoch.Add(time.Duration(i)*time.Second), Peer{Address: fmt.Sprintf("192.0.2.%03d", i), Port: 5985}))
	}
	if len(c.Clients) != maxClients || c.More != maxClients || c.Clients[0].Address != "192.0.2.200" {
		t.Errorf("%d clients, %d more, the first is %s", len(c.Clients), c.More, c.Clients[0])
	}
	if w := c.Words(Policy{HTTPPort: 1, Port: 2}, epoch); strings.Contains(w, "none seen") {
		t.Errorf("clients were left out, and it says %q", w)
	}
}

// Whatever the order of looks, a client that was at HTTP and never at HTTPS is
// named, and a census counts no more samples than there were looks.
func TestCensusForgetsNobody(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var c Census
		http, https := map[string]bool{}, map[string]bool{}
		n := rapid.IntRange(0, 30).Draw(t, "looks")
		for i := range n {
			var peers []Peer
			for range rapid.IntRange(0, 3).Draw(t, "peers") {
				p := Peer{Address: fmt.Sprintf("192.0.2.%d", rapid.IntRange(1, 5).Draw(t, "client")), Port: rapid.SampledFrom([]int{5985, 5986}).Draw(t, "port")}
				peers = append(peers, p)
				map[int]map[string]bool{5985: http, 5986: https}[p.Port][p.Address] = true
			}
			c = c.With(look(epoch.Add(time.Duration(i)*time.Minute), peers...))
		}
		left := map[string]bool{}
		for _, k := range c.NotMoved(DefaultPolicy(), epoch.Add(24*time.Hour)) {
			left[k.Address] = true
		}
		for a := range http {
			if left[a] == https[a] {
				t.Errorf("%s: on HTTPS %v, counted as not moved %v", a, https[a], left[a])
			}
		}
		if c.Samples != n || len(left) > len(http) {
			t.Errorf("%d samples of %d looks, %d clients of %d", c.Samples, n, len(left), len(http))
		}
	})
}
