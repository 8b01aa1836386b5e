package rollout

import (
	"fmt"
	"testing"
	"time"
)

// fleet is an approved campaign of n hosts in four waves.
func fleet(n int) (*Plan, *State) {
	p := &Plan{Version: PlanVersion, ID: "bench", Made: epoch, Goal: GoalClose, Policy: DefaultPolicy()}
	p.Policy.FailureLimit = n
	for i, part := range []int{1, 9, 40, 50} {
		w := Wave{Name: fmt.Sprint(i), InFlight: 200, Limit: n}
		for range n * part / 100 {
			id := HostID(fmt.Sprintf("h%06d.corp.example", len(p.Hosts)))
			w.Hosts = append(w.Hosts, id)
			p.Hosts = append(p.Hosts, Planned{Host: Host{ID: id, Domain: "corp.example", OU: fmt.Sprint("corp.example/", len(p.Hosts)%50), GUID: "6f9619ff-8b86-d011-b42d-00cf4fc964ff"},
				Basis: "0011223344556677", Class: ClassHTTPOnly})
		}
		p.Waves = append(p.Waves, w)
	}
	s := NewState(p)
	s.Apply(Event{Kind: EvApproved, Detail: p.Hash(), Actor: "ann"})
	return p, s
}

// finishWave lets a wave be worked on until all of its hosts have ended, one of ten deferred.
func finishWave(p *Plan, s *State, n int) []Event {
	var log []Event
	write := func(e Event) {
		e.Seq, e.Campaign, e.At = s.Seq+1, p.ID, epoch
		s.Apply(e)
		log = append(log, e)
	}
	write(Event{Kind: EvWaveOpened, Wave: n})
	for i, id := range p.Waves[n-1].Hosts {
		for a, act := range p.Actions() {
			e := Event{Host: id, Action: act, Attempt: a + 1, Wave: n}
			e.Kind = EvAction
			write(e)
			e.Kind, e.Outcome, e.Class = EvSettled, Passed, ClassHTTPSOnly
			if i%10 == 0 {
				e.Outcome, e.Until = Deferred, epoch.Add(time.Hour)
			}
			write(e)
			if e.Outcome == Deferred {
				break
			}
		}
	}
	return log
}

func BenchmarkDecide(b *testing.B) {
	p, s := fleet(100_000)
	for n := 1; n < 4; n++ {
		finishWave(p, s, n)
		s.Apply(Event{Kind: EvWavePassed, Wave: n})
	}
	s.Apply(Event{Kind: EvWaveOpened, Wave: 4})
	if d := Decide(p, s, epoch); len(d.Actions) != 200 {
		b.Fatalf("%d actions, want 200", len(d.Actions))
	}
	for b.Loop() {
		Decide(p, s, epoch)
	}
}

func BenchmarkDecideRollback(b *testing.B) {
	p, s := fleet(100_000)
	for n := 1; n <= 4; n++ {
		finishWave(p, s, n)
	}
	s.Apply(Event{Kind: EvRollback, Actor: "ann"})
	for b.Loop() {
		Decide(p, s, epoch)
	}
}

func BenchmarkNewView(b *testing.B) {
	p, s := fleet(100_000)
	finishWave(p, s, 1)
	for b.Loop() {
		NewView(p, s, epoch)
	}
}

func BenchmarkReplay(b *testing.B) {
	p, s := fleet(100_000)
	log := []Event{{Seq: 1, Kind: EvApproved, Detail: p.Hash()}}
	for n := 1; n <= 4; n++ {
		log = append(log, finishWave(p, s, n)...)
	}
	b.ResetTimer()
	for b.Loop() {
		s := NewState(p)
		for _, e := range log {
			s.Apply(e)
		}
	}
	b.ReportMetric(float64(len(log)), "events")
}

func BenchmarkNewPlan(b *testing.B) {
	var subjects []Subject
	for i := range 20_000 {
		h := Host{ID: HostID(fmt.Sprintf("h%06d.corp.example", i)), Domain: "corp.example"}
		subjects = append(subjects, Subject{Host: h, Observation: Observation{Host: h.ID}})
	}
	in := Intent{ID: "bench", Goal: GoalClose, Policy: DefaultPolicy(), Waves: []WaveRule{{Name: "canary", Count: 10, InFlight: 1, Limit: 1}, {Name: "rest", InFlight: 100, Limit: 5}}}
	for b.Loop() {
		NewPlan(in, subjects)
	}
}

// BenchmarkLoadState is the state of 100,000 hosts from a snapshot.
func BenchmarkLoadState(b *testing.B) {
	p, s := fleet(100_000)
	for n := 1; n <= 4; n++ {
		finishWave(p, s, n)
	}
	body, err := s.Snapshot()
	if err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	for b.Loop() {
		if _, err := LoadState(p, body); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(body))/1e6, "MB")
}
