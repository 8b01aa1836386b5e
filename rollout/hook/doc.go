// Package hook tells other programs what a campaign does, and lets them stop it: a command that is run, or a web
// address that is posted to. Some occasions are gates: the campaign waits for the answer, and anything but a yes in
// time pauses it.
//
//	gates     campaign-start, wave-start, confirm-removal
//	told      wave-done, wave-failed, rollback, campaign-done, event, drift
package hook
