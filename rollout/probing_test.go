package rollout

import (
	"errors"
	"testing"
	"time"
)

func TestProbings(t *testing.T) {
	t.Parallel()
	good := Probing{Host: subject, At: epoch.Add(-time.Hour), From: "192.0.2.9", Client: "jump1", Wire: thumb, By: "ann", Why: "tried by its owner"}
	for name, tc := range map[string]struct {
		change func(*Probing, *Observation, *Policy)
		moves  bool // the proof is taken, and the client is no obstacle any more
		taken  bool
	}{
		"a proof from the client":                {func(*Probing, *Observation, *Policy) {}, true, true},
		"its address written for IPv6":           {func(p *Probing, _ *Observation, _ *Policy) { p.From = "::ffff:192.0.2.9" }, true, true},
		"from a computer that nobody saw":        {func(p *Probing, _ *Observation, _ *Policy) { p.From = "192.0.2.10" }, false, false},
		"from no address":                        {func(p *Probing, _ *Observation, _ *Policy) { p.From = "jump1" }, false, false},
		"of another host":                        {func(p *Probing, _ *Observation, _ *Policy) { p.Host = "web2.corp.example" }, false, false},
		"of another certificate":                 {func(p *Probing, _ *Observation, _ *Policy) { p.Wire = "AA" }, false, false},
		"of no certificate, of a host with none": {func(p *Probing, o *Observation, _ *Policy) { p.Wire, o.Listeners.Value = "", nil }, false, false},
		"of the future":                          {func(p *Probing, _ *Observation, _ *Policy) { p.At = epoch.Add(5*time.Minute + 1) }, false, false},
		"of a clock that is a little ahead":      {func(p *Probing, _ *Observation, _ *Policy) { p.At = epoch.Add(5 * time.Minute) }, true, true},
		"of long ago":                            {func(p *Probing, _ *Observation, _ *Policy) { p.At = epoch.Add(-ProbingFor - 1) }, false, false},
		"of nobody":                              {func(p *Probing, _ *Observation, _ *Policy) { p.By = "" }, false, false},
		"without a why":                          {func(p *Probing, _ *Observation, _ *Policy) { p.Why = " " }, false, false},
		"older than the policy looks back":       {func(_ *Probing, _ *Observation, p *Policy) { p.ClientsWithin = Duration(time.Hour - 1) }, true, true}, // and so is the client
		"older than the policy looks, with news": {func(pr *Probing, _ *Observation, p *Policy) {
			p.ClientsWithin, pr.At = Duration(90*time.Minute), epoch.Add(-2*time.Hour)
		}, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, o := healthy()
			p, pr, c := DefaultPolicy(), good, watched(5985)
			tc.change(&pr, &o, &p)
			got, err := c.WithProbing(pr, o, p, epoch)
			var refused *ProbingError
			if (err == nil) != tc.taken || err != nil && (!errors.As(err, &refused) || refused.Hint() == "") {
				t.Fatalf("%v", err)
			}
			if left := got.NotMoved(p, epoch); (len(left) == 0) != tc.moves {
				t.Errorf("not moved: %+v", left)
			}
			if c.Clients[0].Probed != nil || got.Samples != c.Samples {
				t.Error("a proof is no sample, and does not change what it is added to")
			}
		})
	}
}
