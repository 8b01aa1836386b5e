package rollout

import (
	"strings"
	"testing"
	"time"
)

func at(t *testing.T, zone, text string) time.Time {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	when, err := time.ParseInLocation("2006-01-02 15:04", text, loc)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

func TestWindows(t *testing.T) {
	t.Parallel()
	const vienna = "Europe/Vienna"
	night := Maintenance{TimeZone: vienna, Windows: []Window{{From: "22:00", To: "04:00", Days: []string{"fri", "Sat"}}}}
	summer := Maintenance{TimeZone: vienna, Windows: []Window{{From: "02:30", To: "05:00"}}}
	for name, c := range map[string]struct {
		m    Maintenance
		when string // in Vienna
		open bool
		next string // the next change
	}{
		"no windows":                         {Maintenance{}, "2026-11-23 12:00", true, ""},
		"before it opens":                    {night, "2026-11-27 21:59", false, "2026-11-27 22:00"},
		"at its beginning":                   {night, "2026-11-27 22:00", true, "2026-11-28 04:00"},
		"after midnight":                     {night, "2026-11-28 03:59", true, "2026-11-28 04:00"},
		"at its end":                         {night, "2026-11-28 04:00", false, "2026-11-28 22:00"},
		"the night after the last day":       {night, "2026-11-29 03:00", true, "2026-11-29 04:00"},
		"not on the evening of another day":  {night, "2026-11-29 23:00", false, "2026-12-04 22:00"},
		"not after midnight of another day":  {night, "2026-11-27 03:00", false, "2026-11-27 22:00"},
		"a window for the whole day":         {Maintenance{Windows: []Window{{From: "00:00", To: "24:00"}}}, "2026-11-27 13:00", true, ""},
		"from and to the same":               {Maintenance{Windows: []Window{{From: "08:00", To: "08:00"}}}, "2026-11-27 07:00", true, ""},
		"an hour that the clocks leave out":  {summer, "2026-03-29 01:59", false, "2026-03-29 03:00"},
		"just after it":                      {summer, "2026-03-29 03:00", true, "2026-03-29 05:00"},
		"an hour that the clocks show twice": {summer, "2026-10-25 02:15", false, "2026-10-25 02:30"},
		"a day without work":                 {Maintenance{TimeZone: vienna, Blackout: []string{"2026-12-24"}}, "2026-12-24 12:00", false, "2026-12-25 00:00"},
		"the day before it":                  {Maintenance{TimeZone: vienna, Blackout: []string{"2026-12-24..2027-01-06"}}, "2026-12-23 23:59", true, "2026-12-24 00:00"},
		"a window and days without work": {Maintenance{TimeZone: vienna, Windows: night.Windows, Blackout: []string{"2026-11-28..2026-12-05"}},
			"2026-11-27 23:00", true, "2026-11-28 00:00"},
		"after such days": {Maintenance{TimeZone: vienna, Windows: night.Windows, Blackout: []string{"2026-11-28..2026-12-05"}}, "2026-11-28 02:00", false, "2026-12-06 00:00"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cal, err := c.m.read()
			if err != nil {
				t.Fatal(err)
			}
			now := at(t, vienna, c.when)
			var want time.Time
			if c.next != "" {
				want = at(t, vienna, c.next)
			}
			if got := cal.open(now); got != c.open {
				t.Errorf("open is %v", got)
			}
			if got := cal.next(now, !c.open); !got.Equal(want) {
				t.Errorf("it changes %v, want %v", got, want)
			}
		})
	}
}

func TestWindowsThatCannotBe(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		m       Maintenance
		quiesce time.Duration
		want    string
	}{
		"no such zone":                {Maintenance{TimeZone: "Middle/Earth"}, 0, "no IANA time zone"},
		"the computer's own zone":     {Maintenance{TimeZone: "Local"}, 0, "no IANA time zone"},
		"no such day":                 {Maintenance{Windows: []Window{{Days: []string{"caturday"}, From: "1:00", To: "02:00"}}}, 0, "entry 1"},
		"no such hour":                {Maintenance{Windows: []Window{{From: "25:00", To: "02:00"}}}, 0, "no time of the day"},
		"no such date":                {Maintenance{Blackout: []string{"2026-02-30"}}, 0, "blackout, entry 1"},
		"a range that goes back":      {Maintenance{Blackout: []string{"2026-03-02..2026-03-01"}}, 0, "blackout, entry 1"},
		"never open":                  {Maintenance{Windows: []Window{{From: "01:00", To: "02:00"}}, Blackout: []string{"2020-01-01..2099-12-31"}}, 0, "no window opens"},
		"too short for the brown-out": {Maintenance{Windows: []Window{{From: "01:00", To: "02:00"}}}, time.Hour, "no host could be brought to its end"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := c.m.validate(epoch, Duration(c.quiesce)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// TestWhatCannotBeReadIsNeverOpen: a state may be made of a plan that nobody validated.
func TestWhatCannotBeReadIsNeverOpen(t *testing.T) {
	t.Parallel()
	st := newStage(1)
	st.p.Policy.Maintenance = Maintenance{TimeZone: "Middle/Earth"}
	if d := Decide(st.p, st.begin().s, epoch); told(d) != "" || !strings.Contains(d.Hold, "no maintenance window opens") {
		t.Errorf("%q, %q", told(d), d.Hold)
	}
}

func TestClockThatJumps(t *testing.T) {
	t.Parallel()
	st := newStage(2)
	st.p.Policy.Maintenance = Maintenance{Windows: []Window{{From: "22:00", To: "04:00"}}}
	st.p.Policy.ApprovalFor = Duration(24 * time.Hour)
	st.begin().wave(EvWaveOpened, 1)
	night := time.Date(2026, 3, 2, 23, 0, 0, 0, time.UTC)
	if d := Decide(st.p, st.s, night); told(d) != "secure h0 in 1, secure h1 in 1" {
		t.Fatalf("in the window %q", told(d))
	}
	for _, now := range []time.Time{night.AddDate(-20, 0, 0).Add(-14 * time.Hour), night.AddDate(300, 0, 0).Add(-14 * time.Hour)} {
		if d := Decide(st.p, st.s, now); told(d) != "" || d.Wake.IsZero() || !d.Wake.After(now) {
			t.Errorf("at %v %q, woken %v", now, told(d), d.Wake)
		}
	}
}
