package rollout

import (
	"bytes"
	"encoding/json"
	"testing"
)

// FuzzReplay: a shared database may hold any event; a state is made of it, decided on and shown without a panic.
func FuzzReplay(f *testing.F) {
	f.Add([]byte(`{"kind":"wave-opened","wave":1}{"kind":"action","wave":1,"host":"h0","action":"secure"}{"kind":"settled","wave":1,"host":"h0","action":"secure","outcome":"unknown"}`))
	f.Add([]byte(`{"kind":"approved","wave":-1}{"kind":"wave-opened","wave":99}{"kind":"created","data":{}}{"kind":"roster","data":{"joined":[{}]}}`))
	for _, k := range []EventKind{EvCreated, EvApproved, EvStarted, EvStopped, EvPaused, EvResumed, EvAborted, EvRollback, EvFinished, EvRoster, EvSnapshot, EvWaveOpened,
		EvWavePassed, EvWaveHalted, EvWaveEnded, EvWaveUnproven, EvAction, EvStepOpen, EvStepDone, EvStepFail, EvSettled} {
		b, err := json.Marshal([]Event{{Kind: k, Host: "h1", Wave: 1, Actor: "ann"}, {Kind: k, Host: "nobody", Wave: 7, Data: []byte("{}")}})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(bytes.Trim(bytes.ReplaceAll(b, []byte("},{"), []byte("}{")), "[]"))
	}
	p := newStage(2, 2).p
	f.Fuzz(func(t *testing.T, b []byte) {
		s := NewState(p)
		for d := json.NewDecoder(bytes.NewReader(b)); ; {
			var e Event
			if d.Decode(&e) != nil {
				break
			}
			s.Apply(e)
			Decide(p, s, epoch)
			NewView(p, s, epoch)
		}
		if b, err := s.Snapshot(); err == nil {
			if _, err := LoadState(p, b); err != nil {
				t.Errorf("its own snapshot: %v", err)
			}
		}
	})
}
