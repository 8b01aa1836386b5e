package main

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"wavelock/rollout"
)

func aView() rollout.View {
	began := time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)
	return rollout.View{Campaign: "spring", Status: "running", Hosts: 100, Done: 40, InFlight: 7, Failures: 1, Limit: 5, At: began.Add(2 * time.Minute),
		Troubles: make([]rollout.HostView, 4),
		Waves: []rollout.WaveView{
			{Number: 1, Name: "canary", Status: rollout.WavePassed, Hosts: 10, Done: 10, Limit: 1},
			{Number: 2, Name: "a wave with a long name", Status: rollout.WaveOpen, Hosts: 90, Done: 30, Running: 7, Failed: 1, Restored: 1, Refused: 1, Waiting: 2, Limit: 3},
		}}
}

func TestFrameFitsTheTerminal(t *testing.T) {
	t.Parallel()
	v := aView()
	v.Why = strings.Repeat("why ", 60)
	for _, width := range []int{0, 40, 60, 80, 100, 300} {
		f := frame{view: v, width: width, tail: []string{strings.Repeat("ü", 200)}, keys: strings.Repeat("key ", 50), pace: pace{since: v.At.Add(-2 * time.Minute)}}
		for _, row := range f.rows() {
			if n := utf8.RuneCountInString(row); n >= max(40, width) {
				t.Errorf("at %d columns, a row has %d: %s", width, n, row)
			}
		}
	}
}

func TestFrame(t *testing.T) {
	t.Parallel()
	v := aView()
	f := frame{view: v, width: 80, tail: []string{"  web01 secure: failed, self-signed"}, keys: "p pauses", pace: pace{since: v.At.Add(-2 * time.Minute), done: 20}}
	want := strings.TrimPrefix(`
spring is running: 40 of 100 hosts done, 7 in flight, 1 of 5 failures
  2m0s, 10 hosts a minute, about 5m40s left
  1 canary    [#####################]   10/10   passed
  2 a wave w… [#######~!............]   30/90   open    1 of 3 failed, 1 put…
  web01 secure: failed, self-signed
  p pauses
`, "\n")
	if got := strings.Join(f.rows(), "\n") + "\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	f.color = true
	if got := strings.Join(f.rows(), "\n"); !strings.Contains(got, "\x1b[32m[###") {
		t.Error("a passed wave is not green")
	}
}

// TestBarIsAsLongAsItsWave adds up, whatever is rounded.
func TestBarIsAsLongAsItsWave(t *testing.T) {
	t.Parallel()
	for n := range 50 {
		w := rollout.WaveView{Hosts: n, Done: n / 3, Running: n / 4, Restored: n / 7, Refused: n / 9}
		if got := len(bar(w, 27)); got != 29 {
			t.Errorf("%d hosts: %d columns", n, got)
		}
	}
	if got := bar(rollout.WaveView{Hosts: 3, Done: 2, Waiting: 1}, 10); got != "[######zzzz]" {
		t.Errorf("%s is not full", got)
	}
	if got := bar(rollout.WaveView{Hosts: 2, Done: 1, Retired: 1}, 10); got != "[#####-----]" {
		t.Errorf("%s does not show who is retired", got)
	}
}

func TestPaceKnowsNothingAtFirst(t *testing.T) {
	t.Parallel()
	v := aView()
	if got := (pace{}).words(v); got != "" {
		t.Errorf("%q", got)
	}
	if got := (pace{since: v.At.Add(-30 * time.Second), done: v.Done}).words(v); got != "30s" {
		t.Errorf("%q: nothing got done yet", got)
	}
}
