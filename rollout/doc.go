// Package rollout answers one question: how does the fleet get to WinRM over
// HTTPS safely? It decides and never acts: no network, no files, no clock.
//
// The way of the data, each arrow a pure function or a driver beside this package:
//
//	directory ─▶ hosts ─▶ observation ─▶ assessment ─▶ plan ─▶ procedure per host ─▶ journal ─▶ dashboard
//	ldapdisco    Host     machine        Assess        NewPlan  Next, by engine       Event      NewView, web
//
// A campaign is the fold of its events:
//
//	state := NewState(plan); state.Apply(event) ...
//	Decide(plan, state, now)  what should happen next, and why nothing else does
//	Next(run, now)            which step of an action a host needs now
//	NewView(plan, state, now) what people look at
//
// A crash is no special case: replay the events and decide again. A step that
// was started and has no end makes its host unknown, and an unknown host is
// inspected before anything else is done to it.
//
// One host's way, with the steps of each action:
//
//	secure   inspect ▶ save-image ▶ enroll ▶ listen-https ▶ allow-https ▶ prove-https
//	quiesce  inspect ▶ prove-https ▶ arm-undo ▶ narrow-http ▶ prove-narrow ▶ disarm-undo ▶ soaks   if the policy has it
//	close    inspect ▶ prove-https ▶ arm-undo ▶ remove-http ▶ prove-closed ▶ disarm-undo ▶ widen-http if it was narrowed
//	renew    inspect ▶ enroll ▶ arm-undo ▶ listen-https ▶ prove-closed ▶ disarm-undo ▶ prove-https
//	restore  inspect ▶ put-back ▶ inspect
//
// And how an action can end:
//
//	passed    refused      a check forbids it; nothing was written
//	          deferred     unreachable before anything was written; later, outside the budget
//	          await-policy Group Policy owns HTTP; the policy has to change first
//	          pending      the CA has not decided
//	          soaking      HTTP is narrowed, and it is watched who is turned away
//	          failed       counted; restored if anything had been written
//	          unknown      counted; nothing new starts until a restore has found out
//	          restored     back at the before-image
//	          needs-human  the way back failed as well
package rollout
