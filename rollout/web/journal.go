package web

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"wavelock/rollout"
)

type journalPage struct {
	Campaigns []Campaign
	Now       time.Time
	Door      bool // the record of who came in can be seen
}

func (s *server) journal(w http.ResponseWriter, r *http.Request) {
	all, err := s.allCampaigns(r.Context())
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.show(w, r, "journal.html", page{Title: "Journal", Active: "journal", Body: journalPage{all, s.Now(), s.Witness != nil && (visitorOf(r) == nil || visitorOf(r).person.May("pause"))}})
}

type eventsPage struct {
	Campaign Campaign
	Host     rollout.HostID
	Events   []rollout.Event
	Older    string
	Newest   string // address of the end; empty when it is shown
	CSV      string
	Now      time.Time
}

func (s *server) events(w http.ResponseWriter, r *http.Request) {
	id, v := rollout.CampaignID(r.PathValue("id")), r.URL.Query()
	c, err := s.Source.Campaign(r.Context(), id)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	p := eventsPage{Campaign: c, Host: rollout.HostID(strings.ToLower(strings.TrimSpace(v.Get("host")))), Now: s.Now()}
	before, err := strconv.ParseInt(v.Get("before"), 10, 64)
	if err != nil {
		before = 0 // from the end
	}
	if p.Events, err = s.Source.Events(r.Context(), id, p.Host, before, pageSize); err != nil {
		s.fail(w, r, err)
		return
	}
	if n := len(p.Events); n == pageSize && p.Events[n-1].Seq > 1 {
		p.Older = with(v, r.URL.Path, "before", strconv.FormatInt(p.Events[n-1].Seq, 10))
	}
	if before > 0 {
		p.Newest = with(v, r.URL.Path, "before", "")
	}
	p.CSV = with(v, r.URL.Path+"/events.csv", "before", "")
	s.show(w, r, "events.html", page{Title: "Journal of " + string(id), Active: "journal", Body: p})
}

func (s *server) eventsCSV(w http.ResponseWriter, r *http.Request) {
	id, host := rollout.CampaignID(r.PathValue("id")), rollout.HostID(strings.ToLower(strings.TrimSpace(r.URL.Query().Get("host"))))
	some, err := s.Source.Events(r.Context(), id, host, 0, 1000)
	if err != nil {
		s.fail(w, r, err)
		return
	}
	s.csv(w, r, "journal", []string{"seq", "at", "actor", "event", "wave", "host", "action", "attempt", "step", "outcome", "reason", "class", "detail", "why", "ticket", "from"}, func(row func(...string)) {
		for len(some) > 0 && err == nil {
			for _, e := range some {
				row(strconv.FormatInt(e.Seq, 10), stamp(e.At), e.Actor, string(e.Kind), strconv.Itoa(e.Wave), string(e.Host), string(e.Action),
					strconv.Itoa(e.Attempt), string(e.Step), string(e.Outcome), string(e.Reason), string(e.Class), e.Detail, e.Why, e.Ticket, e.From)
			}
			some, err = s.Source.Events(r.Context(), id, host, some[len(some)-1].Seq, 1000)
		}
	})
	s.cutShort(r, err)
}

type hostPage struct {
	Dossier
	Now   time.Time
	Sides []side
	Proof *rollout.Proof
	Agree bool
	Doors []doorView
}

// side is one of the four from which a certificate is looked at.
type side struct{ Name, How, Thumbprint string }

type doorView struct {
	Name string
	Port int
	rollout.Door
}

func (s *server) host(w http.ResponseWriter, r *http.Request) {
	d, err := s.Source.Host(r.Context(), rollout.HostID(strings.ToLower(r.PathValue("id"))))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	p := hostPage{Dossier: d, Now: s.Now()}
	for i := range slices.Backward(d.Past) {
		if p.Proof = d.Past[i].Row.Proof; p.Proof != nil {
			break
		}
	}
	for i := range p.Past {
		p.Past[i].Events = ended(p.Past[i].Events)
	}
	p.Sides, p.Agree = sidesOf(d, p.Proof)
	if o := d.Observation; o != nil {
		p.Doors = []doorView{{"HTTP", 5985, o.HTTP}, {"HTTPS", 5986, o.HTTPS}}
	}
	s.show(w, r, "host.html", page{Title: string(d.Host.ID), Active: "hosts", Body: p})
}

// ended leaves out the beginnings of steps whose end is told, too.
func ended(events []rollout.Event) []rollout.Event {
	var out []rollout.Event
	for i, e := range events {
		if e.Kind == rollout.EvStepOpen && i+1 < len(events) && events[i+1].Step == e.Step {
			continue
		}
		out = append(out, e)
	}
	return out
}

// sidesOf is the certificate from four sides: what the last observation read of the
// listener and of http.sys, and what the last proof saw of all four.
func sidesOf(d Dossier, proof *rollout.Proof) (sides []side, agree bool) {
	var listener, bound string
	if o := d.Observation; o != nil {
		for _, l := range o.Listeners.Value {
			if l.Transport == rollout.HTTPS && l.Enabled {
				listener = string(l.Thumbprint)
			}
		}
		for _, b := range o.Bindings.Value {
			if strings.EqualFold(b.AppID, rollout.WinRMAppID) {
				bound = string(b.Thumbprint)
			}
		}
	}
	var issued, wire string
	if proof != nil {
		issued, wire = string(proof.Issued), string(proof.Wire)
		if listener == "" {
			listener = string(proof.Listener)
		}
		if bound == "" {
			bound = string(proof.Bound)
		}
	}
	sides = []side{{"Issued", "chosen or enrolled by the campaign", issued}, {"Listener", "named by the WinRM listener", listener},
		{"http.sys", "bound to the port", bound}, {"Wire", "presented in the handshake", wire}}
	return sides, issued != "" && issued == listener && issued == bound && issued == wire
}
