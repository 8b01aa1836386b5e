// Package machine is one Windows computer in its own terms: listeners,
// certificates, TLS bindings, firewall rules, policies, tasks. It observes, acts
// and proves, one step at a time, over WS-Management; no PowerShell is started and
// no localised text is read.
//
// Every step observes, compares, acts if needed, and reads back what it did, so
// that doing it twice is harmless. What is written on a host, and nothing else:
//
//	HKLM\SOFTWARE\wavelock\before    the before-image, and a copy of the listeners
//	HKLM\SOFTWARE\wavelock\undo      the listener that the armed undo copies back, and the one of its last resort
//	\wavelock\undo                   the undo, a scheduled task as SYSTEM
//	\wavelock\rehearsal              a task that does nothing: the scheduler has to start it before the undo is relied on
//	\wavelock\enroll                 the one-shot certificate request, deleted at once
//	wavelock-https-5986              the firewall rule
//	wavelock-block-5985              the firewall rule of the brown-out
//	...\systemprofile\wavelock       certreq's request and answer, where requests are relayed; deleted at once
//
// and the listeners and the certificate that all of this is for.
//
// It does not decide: which step comes next, and whether it may be done, is the
// business of package rollout.
package machine
