package pki

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Inventory is the public key infrastructure of a forest, and what it is wanted for.
type Inventory struct {
	Forest
	Authorities    []Authority
	Templates      []Template
	LinkedPolicies map[string]string // see Use
	Names          map[string]string // of SIDs, for people
	Wanted         []Wanted
}

// Wanted is a template that hosts are to enroll by.
type Wanted struct {
	Template string
	Hosts    int // that are to use it
	Use      Use // without PublishedBy, LinkedPolicies and Names, which the inventory says
}

// Kind is what sort of thing a judgement is about.
type Kind string

// The kinds.
const (
	KindAuthority Kind = "ca"
	KindTemplate  Kind = "template"
	KindRoot      Kind = "root"
)

// Judgement is all that was found about one CA, template or root.
type Judgement struct {
	Kind     Kind     `json:"kind"`
	Name     string   `json:"name"`
	Route    Route    `json:"route,omitempty"` // of a template that is wanted
	Hosts    int      `json:"hosts,omitempty"` // that are to use it
	Issuers  []string `json:"issuers,omitempty"`
	Findings Findings `json:"findings"`
	Open     []Open   `json:"notJudged,omitempty"` // of a CA: what nothing was found out about
}

// Waiver lets a finding pass, with a person's name and reason.
type Waiver struct {
	Code    string
	Subject string // name of the template or CA
	By, Why string
}

// Audit judges every CA, root and template. Of templates that nobody wants to use
// only what is dangerous is said, and where no CA issues them it is no more than
// information.
func Audit(inv Inventory, now time.Time) []Judgement {
	var all []Judgement
	for _, a := range inv.Authorities {
		all = append(all, Judgement{Kind: KindAuthority, Name: a.Name, Findings: CheckAuthority(a, inv.Forest, inv.Templates, now), Open: OpenQuestions(a)})
	}
	for _, der := range inv.Roots {
		all = append(all, judgeRoot(der, now))
	}
	for _, w := range inv.Wanted {
		all = append(all, inv.judgeWanted(w))
	}
	for _, t := range inv.Templates {
		if !slices.ContainsFunc(inv.Wanted, func(w Wanted) bool { return strings.EqualFold(w.Template, t.Name) }) {
			all = append(all, inv.judgeOther(t))
		}
	}
	order := []Kind{KindAuthority, KindRoot, KindTemplate}
	slices.SortStableFunc(all, func(a, b Judgement) int {
		return cmp.Or(slices.Index(order, a.Kind)-slices.Index(order, b.Kind), cmp.Compare(a.Name, b.Name))
	})
	return all
}

// PublishedBy are the CAs that issue a template.
func (inv Inventory) PublishedBy(template string) []string {
	var names []string
	for _, a := range inv.Authorities {
		if slices.ContainsFunc(a.Templates, func(t string) bool { return strings.EqualFold(t, template) }) {
			names = append(names, a.Name)
		}
	}
	return names
}

func (inv Inventory) judgeWanted(w Wanted) Judgement {
	j := Judgement{Kind: KindTemplate, Name: w.Template, Route: w.Use.Route, Hosts: w.Hosts, Issuers: inv.PublishedBy(w.Template)}
	i := slices.IndexFunc(inv.Templates, func(t Template) bool { return strings.EqualFold(t.Name, w.Template) })
	if i < 0 {
		j.Findings = Findings{{Code: "template-not-found", Severity: Blocker, Detail: "the directory has no such template, or this account may not read it"}}
		return j
	}
	w.Use.PublishedBy, w.Use.LinkedPolicies, w.Use.Names = j.Issuers, inv.LinkedPolicies, inv.Names
	j.Name, j.Findings = inv.Templates[i].Name, CheckTemplate(inv.Templates[i], w.Use)
	return j
}

// judgeOther asks of a template that is not wanted what is dangerous about it.
func (inv Inventory) judgeOther(t Template) Judgement {
	j := Judgement{Kind: KindTemplate, Name: t.Name, Issuers: inv.PublishedBy(t.Name)}
	c := newTemplateCase(t, Use{PublishedBy: j.Issuers, LinkedPolicies: inv.LinkedPolicies, Names: inv.Names})
	found := c.ask(dangerChecks)
	if c.sd == nil { // who may enroll and who may change it is half of every danger: what cannot be read is not clean
		found = append(found, Finding{Code: "template-rights-unknown", Severity: Warning, Detail: "whether it is dangerous could not be judged: " + c.unread()})
	}
	for _, f := range found {
		if len(j.Issuers) == 0 {
			f.Severity, f.Detail = Info, f.Detail+"; no CA issues it"
		}
		j.Findings = append(j.Findings, f)
	}
	return j
}

func judgeRoot(der []byte, now time.Time) Judgement {
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return Judgement{Kind: KindRoot, Name: "a certificate that cannot be read", Findings: Findings{{Code: "root-unreadable", Severity: Warning, Detail: err.Error()}}}
	}
	j := Judgement{Kind: KindRoot, Name: fmt.Sprintf("%s (%s)", DistinguishedName(c.RawSubject), ThumbprintOf(der).Short())}
	switch {
	case now.After(c.NotAfter):
		j.Findings = append(j.Findings, Finding{Code: "root-expired", Severity: Warning, Detail: "it expired " + utc(c.NotAfter)})
	case c.NotAfter.Sub(now) < 4*expiresSoon:
		j.Findings = append(j.Findings, Finding{Code: "root-expires-soon", Severity: Warning, Detail: "it is valid until " + utc(c.NotAfter)})
	}
	return j
}

// Waive marks the findings that somebody let pass.
func (j Judgement) Waive(waivers []Waiver) Judgement {
	j.Findings = slices.Clone(j.Findings)
	for i, f := range j.Findings {
		for _, w := range waivers {
			if w.Code == f.Code && strings.EqualFold(w.Subject, j.Name) && w.By != "" && w.Why != "" {
				j.Findings[i].Waived = w.By + ": " + w.Why
			}
		}
	}
	return j
}

// KnownFinding reports whether a finding of an audit can have this code.
func KnownFinding(code string) bool { return Finding{Code: code}.Hint() != "" }

// Worst is the gravest severity of what was found and not waived; empty for nothing.
func Worst(all []Judgement) Severity {
	worst := Severity("")
	for _, j := range all {
		for _, f := range j.Findings {
			if f.Waived == "" && f.Severity.weight() > worst.weight() {
				worst = f.Severity
			}
		}
	}
	return worst
}

func (s Severity) weight() int { return slices.Index([]Severity{Info, Warning, Blocker}, s) + 1 }

// AtLeast reports whether the severity weighs as much as the other.
func (s Severity) AtLeast(other Severity) bool { return s.weight() >= other.weight() }
