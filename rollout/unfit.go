package rollout

import (
	"fmt"
	"strings"
	"time"

	"wavelock/pki"
)

// Unfit is the first template that must not be used under the policy, nil if all may be.
func Unfit(p Policy, templates []pki.Judgement, now time.Time) *UnfitTemplate {
	waivers := p.AuditWaivers(now)
	for _, j := range templates {
		if u := unfit(j.Waive(waivers)); u != nil {
			return u
		}
	}
	return nil
}

// unfit says why nobody's certificate should come from a template.
func unfit(j pki.Judgement) *UnfitTemplate {
	var why []string
	for _, f := range j.Findings {
		if f.Severity == pki.Blocker && f.Waived == "" {
			why = append(why, f.Code+": "+f.Detail)
		}
	}
	if len(why) == 0 {
		return nil
	}
	return &UnfitTemplate{Template: j.Name, Hosts: j.Hosts, Why: why}
}

// UnfitTemplate is a template that is dangerous or not fit, and that nobody waived.
type UnfitTemplate struct {
	Template string
	Hosts    int      // that would enroll by it
	Why      []string // each begins with its code
}

func (e *UnfitTemplate) Error() string {
	return fmt.Sprintf("the template %s, by which %d hosts are to enroll, is not to be used: %s", e.Template, e.Hosts, strings.Join(e.Why, "; "))
}

// Hint is what to do about it.
func (e *UnfitTemplate) Hint() string {
	return "wavelock pki audit says how to correct it; else name another in policy.template, set route: reuse, or waive it by name and reason in policy.waivers"
}
