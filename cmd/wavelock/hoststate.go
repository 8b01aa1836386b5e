package main

import (
	"fmt"
	"strings"
	"time"

	"wavelock/pki"
	"wavelock/rollout"
)

// classMeaning says what a class means for whoever wants to reach the host.
var classMeaning = map[rollout.Class]string{
	rollout.ClassHTTPOnly:  "it is managed over HTTP alone",
	rollout.ClassBoth:      "HTTPS works, HTTP is still there",
	rollout.ClassHTTPSOnly: "HTTP is gone",
	rollout.ClassNone:      "neither door let us in",
	rollout.ClassUnknown:   "nobody has seen its doors",
}

// statusMeaning says what the state of a host in a campaign means, and how it goes on.
var statusMeaning = map[string]string{
	"waiting":                   "its turn has not come; nothing was done to it",
	"running":                   "it is worked on",
	"secured":                   "HTTPS is there and proved; HTTP goes next",
	"done":                      "all that the campaign wanted is done and proved",
	rollout.Shelved:             "the directory has changed since the plan was made; it is left as it is",
	string(rollout.Soaking):     "HTTP is narrowed to this controller, and it is watched who is turned away; HTTP goes, or is let in again, when the time is over",
	string(rollout.Deferred):    "it could not be reached before anything was written by this action; it is tried again later, outside the error budget",
	string(rollout.Pending):     "the CA has its request and has not decided; it is asked again",
	string(rollout.AwaitPolicy): "Group Policy owns its HTTP listener; it is proved and counted when the policy has changed",
	string(rollout.Refused):     "something stands in its way, and this action wrote nothing; a new plan takes it when that is gone",
	string(rollout.Failed):      "the action failed; what was written is put back",
	string(rollout.Restored):    "the action failed, and it was put back to its before-image, which was proved; a new plan may try again",
	string(rollout.Unknown):     "an action began, and how it ended is not known; the campaign is held until wavelock run has inspected it",
	string(rollout.NeedsHuman):  "it could not be put back either; somebody has to look at it, and wavelock restore --from-host tries again",
}

// standing is the last campaign's word on the host: what its state means and when it goes on.
func (d dossier) standing(b *strings.Builder, now time.Time) {
	if len(d.Past) == 0 {
		fmt.Fprintf(b, "  %-12s in no campaign yet\n", "state")
		return
	}
	last := d.Past[len(d.Past)-1]
	s := last.Row.Status
	if meaning := statusMeaning[s]; meaning != "" {
		s += ": " + meaning
	}
	if again := last.Row.Again; again.After(now) {
		s += fmt.Sprintf(" (not before %s)", again.Format("2006-01-02 15:04"))
	}
	fmt.Fprintf(b, "  %-12s %s\n", "state", strings.TrimLeft(fold(fmt.Sprintf("in campaign %s, wave %d, %s", last.Campaign, last.Row.Wave, s), 79, strings.Repeat(" ", 15)), " "))
}

// unfit are the certificates of the store that will not do, by what is wrong with them.
func unfit(b *strings.Builder, rejected []pki.Rejection) {
	var order []string
	by := map[string][]string{}
	for _, r := range rejected {
		code := r.Code
		if by[code] == nil {
			order = append(order, code)
		}
		by[code] = append(by[code], r.Thumbprint.Short())
	}
	for _, code := range order {
		if all := by[code]; len(all) > 1 {
			fmt.Fprintf(b, "  %-12s %d are %s: %s\n", "unfit", len(all), code, listed(all, 4))
		}
	}
	for _, r := range rejected {
		if len(by[r.Code]) == 1 {
			fmt.Fprintf(b, "  %-12s %s %s: %s\n", "unfit", r.Thumbprint.Short(), r.Code, printable(r.Detail))
		}
	}
}
