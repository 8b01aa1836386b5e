package rollout

import (
	"testing"
	"time"

	"wavelock/pki"
)

var midday = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestHistoryAnswersForAnyDate(t *testing.T) {
	t.Parallel()
	day := func(n int) time.Time { return midday.AddDate(0, 0, n) }
	var h History
	h.Add(ClassChange{1, day(0), "a", ClassHTTPOnly}, ClassChange{2, day(0), "b", ClassHTTPOnly}, ClassChange{4, day(6), "a", ClassHTTPSOnly})
	h.Add(ClassChange{3, day(4), "a", ClassBoth}) // came late
	for _, c := range []struct {
		day         int
		hosts       int
		http, https int
	}{{-1, 0, 0, 0}, {0, 2, 2, 0}, {4, 2, 1, 0}, {5, 2, 1, 0}, {6, 2, 1, 1}, {99, 2, 1, 1}} {
		p := h.At(day(c.day))
		if p.Hosts != c.hosts || p.Classes[ClassHTTPOnly] != c.http || p.Classes[ClassHTTPSOnly] != c.https {
			t.Errorf("day %d: %+v, want %+v", c.day, p, c)
		}
	}
	if h.Last() != 4 || h.Len() != 4 {
		t.Errorf("last %d of %d", h.Last(), h.Len())
	}
	series := h.Series(day(10), 11)
	if len(series) != 11 || !series[10].At.Equal(day(10)) || series[4].Classes[ClassBoth] != 1 || series[6].Classes[ClassHTTPSOnly] != 1 || series[5].Hosts != 2 {
		t.Errorf("series %+v", series)
	}
	for _, p := range series {
		if want := h.At(p.At); want.Hosts != p.Hosts || want.Classes[ClassHTTPSOnly] != p.Classes[ClassHTTPSOnly] {
			t.Errorf("the series says %+v, the history %+v", p, want)
		}
	}
	if s := (&History{}).Series(midday, 10); s != nil {
		t.Errorf("nothing has a history: %v", s)
	}
}

func TestSummaryKeepsWhatListsShow(t *testing.T) {
	t.Parallel()
	o := Observation{Host: "h1.corp.example", At: midday, Via: HTTP, HTTP: Door{State: DoorOpen}, HTTPS: Door{State: DoorOpen},
		Listeners:    Saw([]Listener{{Transport: HTTP, Enabled: true, Port: 5985}, {Transport: HTTPS, Enabled: true, Port: 5986, Thumbprint: "AB"}}),
		Certificates: Saw([]pki.Certificate{{Thumbprint: "AB", Subject: "CN=h1", NotAfter: midday.AddDate(0, 1, 0)}}),
		Peers:        Saw([]Peer{{Address: "192.0.2.7", Port: 5985}, {Address: "192.0.2.7", Port: 5985}, {Address: "192.0.2.8", Port: 5986}, {Address: "192.0.2.9", Port: 5985, Self: true}})}
	s := Summarize(Host{ID: "h1.corp.example", OU: "corp.example/Web"}, "", &o, DefaultPolicy(), PostureRules{}, midday.Add(time.Hour))
	if s.Class != ClassBoth || !s.Seen.Equal(midday) || !s.Observed || len(s.Clients) != 1 || s.Clients[0] != "192.0.2.7" {
		t.Errorf("%+v", s)
	}
	if s.Certificate == nil || s.Certificate.Subject != "CN=h1" || s.Certificate.Missing {
		t.Errorf("certificate %+v", s.Certificate)
	}
	if f, blocked := s.Blocked(); !blocked || f.Detail == "" {
		t.Errorf("an identity that was not read blocks: %+v", s.Findings)
	}
	o.Certificates = Saw([]pki.Certificate{})
	if s := Summarize(Host{ID: "h1.corp.example"}, "", &o, DefaultPolicy(), PostureRules{}, midday); s.Certificate == nil || !s.Certificate.Missing {
		t.Errorf("a certificate that the store does not have: %+v", s.Certificate)
	}
	if s := Summarize(Host{ID: "x"}, "stale-account", nil, DefaultPolicy(), PostureRules{}, midday); s.Class != ClassUnknown || s.Observed || s.Problem == "" {
		t.Errorf("never seen: %+v", s)
	}
}
