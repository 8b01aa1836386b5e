package web

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"wavelock/rollout"
)

// kept is a record of accesses in memory.
type kept struct {
	mu    sync.Mutex
	lines []rollout.Access
	err   error
}

func (k *kept) Witness(_ context.Context, a rollout.Access) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.err == nil {
		a.N = int64(len(k.lines) + 1)
		k.lines = append(k.lines, a)
	}
	return k.err
}

func (k *kept) Accesses(_ context.Context, before int64, limit int) ([]rollout.Access, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var some []rollout.Access
	for _, a := range slices.Backward(k.lines) {
		if (before == 0 || a.N < before) && len(some) < limit {
			some = append(some, a)
		}
	}
	return some, k.err
}

func TestWhoCameInIsRecorded(t *testing.T) {
	t.Parallel()
	x := newHouse(t, false)
	vera := x.login("vera")
	x.do("POST", "/login", url.Values{"name": {"vera"}, "password": {"guess"}}, "")
	x.do("POST", "/login", url.Values{"name": {hostile + "\r\nx"}, "password": {"guess"}}, "")
	x.third = "[2001:db8::7]:99"
	x.do("POST", "/login", url.Values{"name": {hostile}, "password": {"guess"}}, "")
	token := x.token(vera)
	x.do("POST", "/campaign/spring/abort", url.Values{"token": {token}, "confirm": {"spring"}}, vera)
	x.do("POST", "/campaign/spring/abort", url.Values{"token": {"guess"}, "confirm": {"spring"}}, vera)
	x.do("POST", "/logout", url.Values{"token": {token}}, vera)
	var got []string
	for _, a := range x.door.lines {
		if a.At != noon || a.From == "" {
			t.Errorf("without time or address: %+v", a)
		}
		got = append(got, string(a.Kind)+" "+a.Who+" "+a.From)
	}
	want := []string{"login vera 192.0.2.1", "refused vera 192.0.2.1", "refused " + hostile + " 2001:db8::7", "denied vera 2001:db8::7", "denied vera 2001:db8::7", "logout vera 2001:db8::7"}
	if !slices.Equal(got, want) {
		t.Errorf("recorded\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	otto := x.login("otto")
	for _, path := range []string{"/access", "/access.csv"} {
		if w := x.do("GET", path, nil, otto); w.Code != 200 || strings.Contains(w.Body.String(), "<script>alert") && path == "/access" || !strings.Contains(w.Body.String(), "2001:db8::7") {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
		if w := x.do("GET", path, nil, x.login("vera")); w.Code != 403 {
			t.Errorf("a viewer asks for %s: %d", path, w.Code)
		}
	}
}

func TestALoginThatCannotBeRecordedIsNone(t *testing.T) {
	t.Parallel()
	x := newHouse(t, false)
	x.door.err = errors.New("the disk is full")
	w := x.do("POST", "/login", url.Values{"name": {"vera"}, "password": {"pw-vera"}}, "")
	if w.Code != 503 || len(w.Result().Cookies()) != 0 {
		t.Errorf("let in: %d %v", w.Code, w.Result().Cookies())
	}
}

func TestAWordCarriesTicketReasonAndAddress(t *testing.T) {
	t.Parallel()
	x := newHouse(t, false)
	anna := x.login("anna")
	w := x.do("POST", "/campaign/spring/approve", url.Values{"token": {x.token(anna)}, "hash": {"h"}, "ticket": {" CHG0042\r\n"}, "why": {"looked at it"}}, anna)
	if w.Code != 303 || len(x.said.words) != 1 {
		t.Fatalf("approve: %d", w.Code)
	}
	if got := x.said.words[0]; got.Ticket != "CHG0042" || got.Why != "looked at it" || got.From != "192.0.2.1" || got.By != "anna" {
		t.Errorf("said %+v", got)
	}
}

func TestWhoApprovedThePlanIsToldAboutTheSecondPerson(t *testing.T) {
	t.Parallel()
	second := Campaign{SecondPerson: true, View: rollout.View{Campaign: "spring", Approved: "CORP\\Anna", Status: "running"}}
	card := waveCard{WaveView: rollout.WaveView{Number: 1, Status: rollout.WaveWaiting}, Asks: Approval{Wave: 1, Needs: true, Waits: "an approval"}}
	if form, barred := waveWord(Person{"corp\\anna", []Role{Approver}}, second, card); form != nil || !barred {
		t.Errorf("who approved the plan: %v, %t", form, barred)
	}
	if form, barred := waveWord(Person{"olga", []Role{Approver}}, second, card); form == nil || barred {
		t.Errorf("somebody else: %v, %t", form, barred)
	}
	if form, barred := waveWord(Person{"otto", []Role{Operator}}, second, card); form != nil || barred {
		t.Errorf("an operator: %v, %t", form, barred)
	}
	again := func(expired bool) bool {
		c := second
		c.Expired = expired
		return slices.ContainsFunc(wordsFor(Person{"anna", []Role{Approver}}, c), func(f wordForm) bool { return f.Word == "approve" })
	}
	if again(false) || !again(true) {
		t.Error("an approval that has expired cannot be given again, or one that has not can")
	}
}

func TestOneNetworkOfIPv6IsOneAddress(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{"192.0.2.1": "192.0.2.1", "2001:db8:1:2:3:4:5:6": "2001:db8:1:2::/64", "::ffff:192.0.2.1": "::ffff:192.0.2.1", "fe80::1%eth0": "fe80::/64", "pipe": "pipe"} {
		if got := neighbourhood(address); got != want {
			t.Errorf("%s is of %s, want %s", address, got, want)
		}
	}
}

func fetch(address string) ([]byte, error) {
	answer, err := http.Get(address)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	return io.ReadAll(answer.Body)
}

// brokenLater is a source whose journal cannot be read to its end.
type brokenLater struct{ canned }

func (b brokenLater) Events(ctx context.Context, id rollout.CampaignID, host rollout.HostID, before int64, limit int) ([]rollout.Event, error) {
	if before > 0 {
		return nil, errors.New("the disk is gone")
	}
	return b.canned.Events(ctx, id, host, before, limit)
}

func TestATableThatIsNotWholeIsNotTakenForWhole(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(dashboard(t, brokenLater{}))
	defer s.Close()
	if body, err := fetch(s.URL + "/journal/spring/events.csv"); err == nil {
		t.Errorf("the export ended well: %s", body)
	}
}
