package web

import (
	"fmt"
	"html/template"
	"math"
	"path"
	"strings"
	"time"

	"wavelock/rollout"
)

// parsePages makes a template of every page: the layout, the parts that pages
// share, and the page.
func parsePages() map[string]*template.Template {
	shared := template.Must(template.New("").Funcs(funcs()).ParseFS(assets, "assets/layout.html", "assets/parts.html"))
	names, err := assets.ReadDir("assets/pages")
	if err != nil {
		panic("web: the embedded pages are there: " + err.Error())
	}
	pages := map[string]*template.Template{}
	for _, n := range names {
		t := template.Must(shared.Clone())
		pages[n.Name()] = template.Must(t.ParseFS(assets, path.Join("assets/pages", n.Name())))
	}
	return pages
}

func funcs() template.FuncMap {
	return template.FuncMap{
		"percent": rollout.Percent, "classes": rollout.Classes, "classTitle": classTitle,
		"reason": func(r rollout.Reason) string { return r.Title() }, "hint": func(r rollout.Reason) string { return r.Hint() },
		"asReason": func(s string) rollout.Reason { return rollout.Reason(s) },
		"bars":     bars, "short": short, "num": num, "date": date, "when": when, "iso": stamp, "until": until, "ago": ago,
		"plural": plural, "link": link, "or_": orDash, "str": func(v any) string { return fmt.Sprint(v) },
		"secured": func(c map[rollout.Class]int) int { return c[rollout.ClassHTTPSOnly] }, "unknown": func(c map[rollout.Class]int) int { return c[rollout.ClassUnknown] },
		"eventWord": eventWord, "lower": strings.ToLower, "postureCheck": postureCheck, "dict": dict, "add": func(a, b int) int { return a + b }, "join": func(list []string, sep string) string { return strings.Join(list, sep) },
	}
}

// dict passes more than one value to a part of a page.
func dict(pairs ...any) map[string]any {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		m[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return m
}

// link is the address of a list that is narrowed by one parameter.
func link(path, key string, value any) string {
	v := fmt.Sprint(value)
	if v == "" {
		v = "-"
	}
	return with(nil, path, key, v)
}

func orDash(s any) string {
	if v := fmt.Sprint(s); v != "" {
		return v
	}
	return "–"
}

func short(s any) string {
	v := fmt.Sprint(s)
	return v[:min(12, len(v))]
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return num(n) + " " + noun + "s"
}

// num is a number with thin groups of thousands.
func num(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

func date(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format(time.DateOnly)
}

func when(t time.Time) string {
	if t.IsZero() {
		return "–"
	}
	return t.UTC().Format("2006-01-02 15:04:05")
}

// ago is how long before now something was, in one unit.
func ago(t, now time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return span(now.Sub(t)) + " ago"
}

// until is how long is left.
func until(t, now time.Time) string {
	if t.IsZero() {
		return "–"
	}
	if d := t.Sub(now); d > 0 {
		return "in " + span(d)
	}
	return "since " + span(now.Sub(t))
}

func span(d time.Duration) string {
	switch {
	case d < time.Minute:
		return plural(int(d.Abs().Seconds()), "second")
	case d < time.Hour:
		return plural(int(d.Minutes()), "minute")
	case d < 48*time.Hour:
		return plural(int(d.Hours()), "hour")
	}
	return plural(int(d.Hours()/24), "day")
}

// eventWord is an event as a person would tell it.
func eventWord(e rollout.Event) string {
	word := map[rollout.EventKind]string{rollout.EvAction: "is begun", rollout.EvStepOpen: "begins " + string(e.Step), rollout.EvStepDone: "did " + string(e.Step),
		rollout.EvStepFail: "failed at " + string(e.Step), rollout.EvSettled: "ended"}[e.Kind]
	if word == "" || e.Action == "" {
		return strings.ReplaceAll(string(e.Kind), "-", " ")
	}
	return string(e.Action) + " " + word
}

func classTitle(c rollout.Class) string {
	switch c {
	case rollout.ClassHTTPSOnly:
		return "HTTPS only"
	case rollout.ClassBoth:
		return "HTTPS and HTTP"
	case rollout.ClassHTTPOnly:
		return "HTTP only"
	case rollout.ClassNone:
		return "No WinRM"
	}
	return "Unknown"
}

// bar is one part of a coverage bar, in thousandths of its width.
type bar struct {
	Class    rollout.Class
	N        int
	X, Width int
}

func bars(classes map[rollout.Class]int, total int) []bar {
	var out []bar
	x, sum := 0, 0
	for _, c := range rollout.Classes() {
		n := classes[c]
		if n == 0 || total == 0 {
			continue
		}
		sum += n
		end := int(math.Round(float64(sum) * 1000 / float64(total)))
		out = append(out, bar{c, n, x, end - x})
		x = end
	}
	return out
}

// Size of the chart of the coverage over time. It is stretched to the page's width.
const chartWidth, chartHeight = 1000, 240

// area is one class in the chart over time.
type area struct {
	Class rollout.Class
	Path  string
}

// chart is the coverage over time, stacked.
type chart struct {
	Areas []area
	Ticks []string // along the bottom
	Rows  []rollout.CoveragePoint
	Max   int
	Mid   int
}

// newChart is nil where there is nothing to draw yet: fewer than two points, or no host at any.
func newChart(series []rollout.CoveragePoint) *chart {
	c := &chart{}
	for _, p := range series {
		c.Max = max(c.Max, p.Hosts)
	}
	if len(series) < 2 || c.Max == 0 {
		return nil
	}
	c.Mid = c.Max / 2
	c.Areas = stack(series, c.Max)
	c.Ticks = ticks(series)
	rows := min(shownPoints, len(series))
	for k := range rows {
		c.Rows = append(c.Rows, series[k*(len(series)-1)/(rows-1)])
	}
	return c
}

// shownPoints is how many rows the table beneath the chart has at the most: the first point, the last, and one after
// each twelfth of the time.
const shownPoints = 13

// stack draws the classes one on another, most hosts at the top of the chart. A class that no host ever had is left out.
func stack(series []rollout.CoveragePoint, most int) []area {
	x := func(i int) float64 { return float64(i) * chartWidth / float64(len(series)-1) }
	y := func(n int) float64 { return chartHeight - float64(n)*chartHeight/float64(most) }
	var areas []area
	floor := make([]int, len(series))
	for _, class := range rollout.Classes() {
		var b strings.Builder
		top := make([]int, len(series))
		any := false
		for i, p := range series {
			top[i] = floor[i] + p.Classes[class]
			any = any || p.Classes[class] > 0
			op := "L"
			if i == 0 {
				op = "M"
			}
			fmt.Fprintf(&b, "%s%.1f %.1f", op, x(i), y(top[i]))
		}
		for i := len(series) - 1; i >= 0; i-- {
			fmt.Fprintf(&b, "L%.1f %.1f", x(i), y(floor[i]))
		}
		if floor = top; any {
			areas = append(areas, area{class, b.String() + "Z"})
		}
	}
	return areas
}

// ticks are five times along the bottom, as exact as the span needs.
func ticks(series []rollout.CoveragePoint) []string {
	form := "2 Jan 2006"
	switch span := series[len(series)-1].At.Sub(series[0].At); {
	case span < time.Hour:
		form = time.TimeOnly
	case span < 48*time.Hour:
		form = "2 Jan 15:04"
	}
	out := make([]string, 5)
	for k := range out {
		out[k] = series[k*(len(series)-1)/(len(out)-1)].At.UTC().Format(form)
	}
	return out
}
