// Package web shows what package rollout says: the coverage of the fleet now and at
// any past date, each campaign, each host, what stands in the way, certificates and
// the journal. Pages are rendered on the server, work without JavaScript, and become
// live with it: one stream of events says that something changed, and the page asks
// for itself again.
//
//	journal ─▶ Source ─▶ fleet (in memory, moved on by what changed) ─▶ page
//	                                   ▲
//	browser ◀── /live: "changed" ──────┘      POST ─▶ who? may they? ─▶ Speaker ─▶ journal
//
// Nothing is loaded from elsewhere: the policy of every page forbids it, and inline
// scripts and styles too. Without accounts it only reads.
package web
