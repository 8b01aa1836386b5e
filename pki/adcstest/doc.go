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
// Serve lets it be asked over the network: CertServerRequest of [MS-ICPR] over TCP, with an endpoint mapper, NTLM and
// Kerberos, and packet privacy or nothing. The wire format is written by hand here, so that it shares no parser with the
// client in package adcs; impacket is the third opinion. What Windows does and is not known for sure: another account
// than the one that submitted a request is refused when it asks for the certificate.
//
// Its web server has what real certificates point to: the list and the delta list
// of what was revoked, as they were last published, and a responder.
//
// Its keys are made anew at every start, so that nobody can use it for real, and
// what it issued is forgotten with it.
package adcstest
