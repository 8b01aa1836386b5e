// Package engine is the only place that acts. It asks the pure core what should
// happen, records that, does it through the small interfaces it declares, and
// records what came of it:
//
//	coordinator   state ─▶ rollout.Decide ─▶ journal (events + jobs, one transaction)
//	worker        job ─▶ rollout.Next ─▶ journal (step-open) ─▶ Machine.Do ─▶ journal (step-done) ─▶ Next ...
//
// What cannot be journalled is not done: the first failure to write stops the
// engine. A worker whose process dies leaves a step without an end; whoever
// takes the job up again begins with an inspection of the host.
//
// It knows neither WS-Management nor SQL nor the queue: cmd joins them to it.
package engine
