package main

import (
	"slices"
	"strings"
	"testing"
	"time"

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
			if n := columns(row); n >= max(40, width) {
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
  2 a wave w… [#######~!............]   30/90   open    1 of 3 failed, 1 put b…
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

func TestLongSentencesTakeTwoLines(t *testing.T) {
	t.Parallel()
	got := twoLines("wave 1 was halted and put back (1 failed, the limit is 1); wavelock resume goes on", 40)
	want := []string{"  wave 1 was halted and put back (1", "  failed, the limit is 1); wavelock res…"}
	if !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestColumns(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int{"": 0, "web01": 5, "Zürich": 6, "東京": 4, "e\u0301": 1, "😀": 2, "ｗｅｂ": 6, "a\u200bb": 2, "…": 1} {
		if got := columns(s); got != want {
			t.Errorf("%q: %d columns, want %d", s, got, want)
		}
	}
	for _, n := range []int{0, 1, 2, 3, 4, 5, 6, 7} {
		if got := columns(cut("東京サーバー", n)); got > n {
			t.Errorf("cut to %d it has %d columns", n, got)
		}
	}
	if got := cut("東京サーバー", 6); got != "東京…" {
		t.Errorf("%q", got)
	}
	if got := padded("東京", 6); got != "東京  " {
		t.Errorf("%q", got)
	}
}

// TestTableOfWideNames: the columns of a table begin below one another, whatever letters are in it.
func TestTableOfWideNames(t *testing.T) {
	t.Parallel()
	tab := table{head: []string{"OU", "HOSTS"}}
	tab.add("東京/サーバー", 3)
	tab.add("Zürich 😀", 12)
	var b strings.Builder
	if err := tab.align(&b); err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(strings.TrimSpace(b.String()), "\n") {
		i := strings.LastIndex(line, "  ") + 2
		if columns(line[:i]) != columns("東京/サーバー")+2 {
			t.Errorf("the second column of %q begins elsewhere", line)
		}
	}
}

func TestHeightOfWhatWasDrawn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ width, want int }{{100, 3}, {80, 3}, {79, 4}, {40, 4}, {20, 7}} {
		if got := heightOf([]int{80, 0, 30}, c.width); got != c.want {
			t.Errorf("at %d columns: %d lines, want %d", c.width, got, c.want)
		}
	}
}

func TestLocale(t *testing.T) {
	t.Parallel()
	for want, envs := range map[bool][]map[string]string{
		true:  {{"LANG": "de_AT.UTF-8"}, {"LC_ALL": "C.utf8", "LANG": "C"}, {"LC_CTYPE": "en_US.UTF-8"}},
		false: {{}, {"LANG": "C"}, {"LC_ALL": "POSIX", "LANG": "de_AT.UTF-8"}, {"LANG": "de_AT.ISO-8859-1"}},
	} {
		for _, env := range envs {
			if got := utf8Locale(func(k string) string { return env[k] }); got != want {
				t.Errorf("%v: %v", env, got)
			}
		}
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
