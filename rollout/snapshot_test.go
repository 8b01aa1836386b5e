package rollout

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// thaw makes the state anew from a snapshot of itself; the drill does it in the middle of campaigns.
func (d *drill) thaw() {
	b, err := d.s.Snapshot()
	if err != nil {
		d.t.Fatal(err)
	}
	s, err := LoadState(d.p, b)
	if err != nil {
		d.t.Fatal(err)
	}
	if !reflect.DeepEqual(s, d.s) {
		d.t.Fatalf("the snapshot gives another state:\n%s\nwant\n%s", dump(s), dump(d.s))
	}
	d.s = s
}

func TestSnapshotsThatAreNotBelieved(t *testing.T) {
	t.Parallel()
	st := newStage(2)
	b, err := st.s.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := LoadState(st.p, b); err != nil {
		t.Fatal(err)
	}
	other := newStage(3)
	text := string(b)
	for name, c := range map[string]struct {
		plan *Plan
		text string
	}{
		"no JSON":                 {st.p, "{"},
		"nothing":                 {st.p, "null"},
		"another plan":            {other.p, text},
		"another version":         {st.p, strings.Replace(text, fmt.Sprintf(`"version":%d`, snapshotVersion), `"version":99`, 1)},
		"a host that is unknown":  {st.p, strings.Replace(text, `"h0":{`, `"h9":{`, 1)},
		"a wave that is not":      {st.p, strings.Replace(text, `"Wave":1`, `"Wave":7`, 1)},
		"actions that are not":    {st.p, strings.Replace(text, `"Wave":1`, `"Wave":1,"Next":9`, 1)},
		"a state that is nothing": {st.p, `{"version":2,"plan":"` + st.p.Hash() + `","state":null}`},
	} {
		if _, err := LoadState(c.plan, []byte(c.text)); err == nil {
			t.Errorf("%s: believed", name)
		}
	}
}

// FuzzLoadState is for go test -fuzz FuzzLoadState -fuzzminimizetime 10x: by itself go test tries for a minute to shorten
// each input that is new to it, and looks as if it were stuck.
func FuzzLoadState(f *testing.F) {
	st := newStage(1).wave(EvWaveOpened, 1).act("h0", ActSecure, Failed)
	b, err := st.s.Snapshot()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := LoadState(st.p, b); err == nil {
			for _, kind := range []EventKind{EvStarted, EvRoster, EvRollback} { // nothing of this may panic
				Decide(st.p, s, epoch)
				NewView(st.p, s, epoch)
				s.Apply(Event{Kind: kind, Actor: "ann"})
			}
		}
	})
}
