package rollout

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // IANA zones also where the system has none, as on Windows
)

// Maintenance says when a campaign may begin something on a host. What has begun is ended, and the way back is always
// open: the end of a window leaves nobody half-way.
type Maintenance struct {
	TimeZone string   `json:"time_zone,omitempty"` // IANA name, such as Europe/Vienna; UTC when empty
	Windows  []Window `json:"windows,omitempty"`   // none: always
	Blackout []string `json:"blackout,omitempty"`  // days without work in that zone: 2026-12-24, or 2026-12-24..2027-01-06
}

// Window is a span of hours on some days.
type Window struct {
	Days []string `json:"days,omitempty"` // mon, tue, wed, thu, fri, sat, sun: those on which it opens; every day when empty
	From string   `json:"from"`           // 22:00
	To   string   `json:"to"`             // 04:00 is of the next day when it is not after From
}

// calendar is a Maintenance that was read. The zero calendar is always open.
type calendar struct {
	zone    *time.Location
	windows []opening
	dark    [][2]int // first and last day, as yyyymmdd
	broken  bool     // it could not be read: then nothing is open
}

// opening is a window in minutes of the day.
type opening struct {
	days     [7]bool // by time.Weekday
	from, to int
}

// horizon is how far ahead an opening is looked for.
const horizon = 400 // days

func (m Maintenance) read() (calendar, error) {
	c := calendar{zone: time.UTC}
	var errs []error
	if m.TimeZone != "" {
		zone, err := time.LoadLocation(m.TimeZone)
		if err != nil || m.TimeZone == "Local" {
			errs = append(errs, fmt.Errorf("maintenance.time_zone: %q is no IANA time zone such as Europe/Vienna", m.TimeZone))
		} else {
			c.zone = zone
		}
	}
	for i, w := range m.Windows {
		s, err := w.read()
		if err != nil {
			errs = append(errs, fmt.Errorf("maintenance.windows, entry %d: %w", i+1, err))
		}
		c.windows = append(c.windows, s)
	}
	for i, text := range m.Blackout {
		first, last, ranged := strings.Cut(text, "..")
		if !ranged {
			last = first
		}
		a, errA := time.Parse(time.DateOnly, first)
		b, errB := time.Parse(time.DateOnly, last)
		if errA != nil || errB != nil || b.Before(a) {
			errs = append(errs, fmt.Errorf("maintenance.blackout, entry %d: %q is not like 2026-12-24 or 2026-12-24..2027-01-06", i+1, text))
			continue
		}
		c.dark = append(c.dark, [2]int{day(a), day(b)})
	}
	err := errors.Join(errs...)
	c.broken = err != nil
	return c, err
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"} // as time.Weekday counts them

func (w Window) read() (s opening, err error) {
	for _, name := range w.Days {
		i := slices.Index(weekdays, strings.ToLower(name))
		if i < 0 {
			return s, fmt.Errorf("%q is none of mon, tue, wed, thu, fri, sat, sun", name)
		}
		s.days[i] = true
	}
	if len(w.Days) == 0 {
		s.days = [7]bool{true, true, true, true, true, true, true}
	}
	if s.from, err = minutes(w.From); err != nil {
		return s, err
	}
	if s.to, err = minutes(w.To); err != nil {
		return s, err
	}
	return s, nil
}

// minutes reads hh:mm; 24:00 is the end of the day.
func minutes(text string) (int, error) {
	if text == "24:00" {
		return 24 * 60, nil
	}
	t, err := time.Parse("15:04", text)
	if err != nil {
		return 0, fmt.Errorf("%q is no time of the day such as 22:00", text)
	}
	return t.Hour()*60 + t.Minute(), nil
}

func day(t time.Time) int { return t.Year()*10000 + int(t.Month())*100 + t.Day() }

// open reports whether work may begin at that time.
func (c calendar) open(at time.Time) bool {
	if c.zone == nil {
		return !c.broken
	}
	at = at.In(c.zone)
	d := day(at)
	if c.broken || slices.ContainsFunc(c.dark, func(dark [2]int) bool { return dark[0] <= d && d <= dark[1] }) {
		return false
	}
	m, today := at.Hour()*60+at.Minute(), at.Weekday()
	return len(c.windows) == 0 || slices.ContainsFunc(c.windows, func(s opening) bool { return s.holds(m, today) })
}

func (s opening) holds(m int, today time.Weekday) bool {
	if s.from < s.to {
		return s.days[today] && s.from <= m && m < s.to
	}
	yesterday := (today + 6) % 7
	return (s.days[today] && m >= s.from) || (s.days[yesterday] && m < s.to)
}

// opens is the first time after another at which work may begin; zero when that is not within the horizon.
func (c calendar) opens(after time.Time) time.Time { return c.next(after, true) }

// closes is the first time after another at which no work may begin any more; zero when that is not within the horizon.
func (c calendar) closes(after time.Time) time.Time { return c.next(after, false) }

// next is the first time after another at which the calendar is open, or is not.
func (c calendar) next(after time.Time, open bool) time.Time {
	if c.zone == nil || c.broken || (len(c.windows) == 0 && len(c.dark) == 0) {
		return time.Time{}
	}
	// It changes at a full hour of some day, which covers midnight and clocks that are moved, or at a window's end.
	marks := make([]int, 0, 24+2*len(c.windows))
	for h := range 24 {
		marks = append(marks, h*60)
	}
	for _, s := range c.windows {
		marks = append(marks, s.from, s.to)
	}
	slices.Sort(marks)
	y, m, d := after.In(c.zone).Date()
	for n := range horizon {
		for _, mark := range marks {
			if at := time.Date(y, m, d+n, mark/60, mark%60, 0, 0, c.zone); at.After(after) && c.open(at) == open {
				return at
			}
		}
	}
	return time.Time{}
}

// longest is how long the longest window is open; 0 says that none ever closes.
func (c calendar) longest() time.Duration {
	most := 0
	for _, s := range c.windows {
		length := s.to - s.from
		if length <= 0 {
			length += 24 * 60
		}
		most = max(most, length)
	}
	return time.Duration(most) * time.Minute
}

// validate names what is wrong with the windows for a campaign that is planned at that time.
func (m Maintenance) validate(made time.Time, quiesce Duration) error {
	c, err := m.read()
	if err != nil {
		return err
	}
	switch length := c.longest(); {
	case !c.open(made) && c.opens(made).IsZero():
		return fmt.Errorf("maintenance: no window opens within %d days from %s", horizon, made.UTC().Format(time.DateOnly))
	case length > 0 && length < 24*time.Hour && quiesce.D() >= length:
		return fmt.Errorf("maintenance: the brown-out takes %v, and the longest window is open for %v: no host could be brought to its end", quiesce, length)
	}
	return nil
}
