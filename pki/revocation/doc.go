// Package revocation asks whether the certificates of a chain are still good, as
// their CA says by OCSP (RFC 6960) or by its lists (RFC 5280). It answers: was
// this certificate revoked, or can that not be said, and why not?
//
//	chain ── for each certificate below the root
//	           ├── OCSP, where the certificate names a responder
//	           └── CRL over HTTP or LDAP, with the delta that it points to
//	                 └── *Error: revoked, or one code for each way of not knowing
//
// Not knowing is never taken for good here; whether it stops anything is the
// caller's policy. Lists and answers are kept for as long as they say and no longer
// than Config.Keep; a server that failed is left alone for a moment, so that a
// fleet of a thousand proofs does not wait a thousand times for the same silence.
package revocation
