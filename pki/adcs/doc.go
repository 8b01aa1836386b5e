// Package adcs asks an Active Directory Certificate Services CA for certificates
// on behalf of other computers: the route relay. It answers: what does the CA say
// to this request?
//
//	Submit ── *Error: denied, unreachable, too busy, ...
//	   │
//	   ├──── Answer.Pending ── Retrieve, again and again
//	   │
//	   └──── Answer.Certificate
//
// It speaks CertServerRequest of [MS-ICPR] over TCP, always with packet privacy,
// and Kerberos unless NTLM was asked for in so many words: the library underneath
// (go-msrpc) deciphers NTLM answers without comparing their signatures. So nothing
// that comes back is believed here; whoever asks has to judge the certificate with
// pki.VerifyIssued, whichever logon was used. go-msrpc also brings a Kerberos
// client of its own, which is used here and nowhere else.
package adcs
