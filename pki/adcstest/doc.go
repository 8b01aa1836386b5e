// Package adcstest is an AD CS in this process: a root and an issuing CA that
// issue to computers what their template says, and are unkind on request. It
// answers, for the tests and the lab: what would a CA of the domain give to this
// account?
//
// It names the certificate from the account that asks, as AD CS does, whatever the
// request says, unless the template lets the enrollee supply the subject. A
// request is judged, numbered and then issued, denied or left pending:
//
//	Issue ── denied: *Denied
//	   │
//	   ├──── taken under submission: *Pending ── Approve / Refuse ── Retrieve
//	   │
//	   └──── certificate in DER; ChainOf is what AD CS sends along
//
// Its keys are made anew at every start, so that nobody can use it for real. It
// keeps no database of certificates and publishes no revocation list.
package adcstest
