package main

import (
	"fmt"
	"strings"
	"time"

	"wavelock/rollout"
)

// text is the dossier for people.
func (d dossier) text(now time.Time) string {
	var b strings.Builder
	d.who(&b)
	d.standing(&b, now)
	d.seen(&b, now)
	if len(d.Findings) > 0 {
		b.WriteString("\nWHAT STANDS IN ITS WAY\n")
		for _, f := range d.Findings {
			mark := string(f.Severity)
			if f.Waived != "" {
				mark = "waived by " + f.Waived
			}
			fmt.Fprintf(&b, "  %s (%s)\n%s\n", f.Reason, mark, fold(f.Detail, 78, "      "))
		}
	}
	b.WriteString("\nWHAT A NEW PLAN WOULD DO\n")
	for _, w := range d.Would {
		b.WriteString(fold(w, 78, "  ") + "\n")
	}
	d.history(&b)
	if len(d.Advice) > 0 {
		b.WriteString("\nWHAT TO DO\n")
		for _, e := range d.Advice {
			fmt.Fprintf(&b, "  %s: %s\n%s\n", e.Code, e.Title, fold(e.Hint, 78, "      "))
		}
	}
	return b.String()
}

func (d dossier) who(b *strings.Builder) {
	h := d.Record.Host
	fmt.Fprintf(b, "%s is %s: %s\n", printable(string(h.ID)), d.class(), classMeaning[d.class()])
	for _, p := range []struct{ name, value string }{
		{"account", h.Account}, {"OU", h.OU}, {"site", h.Site}, {"zone", string(h.Zone)}, {"system", h.OS}, {"roles", joined(h.Roles)}, {"cluster", h.Cluster}, {"problem", d.Record.Problem},
	} {
		if p.value != "" {
			fmt.Fprintf(b, "  %-12s %s\n", p.name, printable(p.value))
		}
	}
}

func (d dossier) class() rollout.Class {
	if d.Record.Class == "" {
		return rollout.ClassUnknown
	}
	return d.Record.Class
}

func joined(roles []rollout.Role) string {
	words := make([]string, len(roles))
	for i, r := range roles {
		words[i] = string(r)
	}
	return strings.Join(words, ", ")
}

func (d dossier) seen(b *strings.Builder, now time.Time) {
	o := d.Record.Observation
	if o == nil {
		fmt.Fprintf(b, "  %-12s never\n", "looked at")
		return
	}
	fmt.Fprintf(b, "  %-12s %s, %s ago\n", "looked at", o.At.Format("2006-01-02 15:04:05"), now.Sub(o.At).Round(time.Second))
	fmt.Fprintf(b, "  %-12s HTTP %s, HTTPS %s\n", "doors", doorText(o.HTTP), doorText(o.HTTPS))
	for _, l := range o.Listeners.Value {
		fmt.Fprintf(b, "  %-12s %s %s:%d%s%s\n", "listener", l.Transport, printable(l.Address), l.Port, prefixed(" ", l.Thumbprint.Short()), prefixed(" from ", string(l.Source)))
	}
	if c := d.Fit.Certificate; c != nil {
		fmt.Fprintf(b, "  %-12s %s fit, valid until %s, %s\n", "certificate", c.Thumbprint.Short(), c.NotAfter.Format(time.DateOnly), printable(c.Issuer))
	}
	unfit(b, d.Fit.Rejected)
	for _, p := range o.Peers.Value {
		if !p.Self {
			fmt.Fprintf(b, "  %-12s %s on %d\n", "client", printable(p.Address), p.Port)
		}
	}
	if o.Undo.Known && o.Undo.Value.Armed {
		fmt.Fprintf(b, "  %-12s armed by %s\n", "undo", printable(o.Undo.Value.Campaign))
	}
}

func doorText(d rollout.Door) string {
	word := string(d.State)
	if word == "" {
		word = "not tried"
	}
	return word + prefixed(" at ", d.Address)
}

func prefixed(prefix, s string) string {
	if s == "" {
		return ""
	}
	return prefix + s
}

// history tells what campaigns did: the ends of their actions, and what failed.
func (d dossier) history(b *strings.Builder) {
	for _, ch := range d.Past {
		fmt.Fprintf(b, "\nCAMPAIGN %s: wave %d, %s\n", ch.Campaign, ch.Row.Wave, ch.Row.Status)
		if ch.Image != nil {
			fmt.Fprintf(b, "  before-image of %s: %s\n", ch.Image.At.Format("2006-01-02 15:04:05"), imageText(*ch.Image))
		}
		for _, e := range ch.Events {
			if e.Kind != rollout.EvSettled && e.Kind != rollout.EvStepFail && e.Kind != rollout.EvStepDone {
				continue
			}
			what := strings.TrimSpace(fmt.Sprintf("%s %s", e.Action, e.Step))
			fmt.Fprintf(b, "  %s  %-22s %s\n", e.At.Format("15:04:05"), what, printable(eventText(e)))
		}
		if p := ch.Row.Proof; p != nil {
			fmt.Fprintf(b, "  proved %s: issued %s, listener %s, http.sys %s, wire %s, %s\n", p.At.Format("15:04:05"),
				p.Issued.Short(), p.Listener.Short(), p.Bound.Short(), p.Wire.Short(), p.TLS)
		}
	}
}

func imageText(image rollout.BeforeImage) string {
	var parts []string
	for _, l := range image.Listeners {
		parts = append(parts, fmt.Sprintf("%s %s:%d", l.Transport, l.Address, l.Port))
	}
	if len(parts) == 0 {
		return "no listener"
	}
	return strings.Join(parts, ", ")
}

func eventText(e rollout.Event) string {
	s := string(e.Outcome)
	if e.Kind == rollout.EvStepDone {
		s = "ok"
	}
	if e.Kind == rollout.EvStepFail {
		s = "failed"
	}
	s += prefixed(", ", string(e.Class)) + prefixed(", ", string(e.Reason))
	return s + prefixed(": ", e.Detail)
}
