// Package logon answers: who are we to the domain's services?
//
// A Login is a credential; it opens an Exchange for each connection to a service, and a finished Exchange gives a
// Sealer for the messages that follow:
//
//	NTLM(...)      ─┐            Next(nil) ─► token ─► service
//	Kerberos(...)  ─┼─ Start ──► Next(token) ◄────────┘   ... done ──► Sealer: Seal/Open (WinRM), Wrap/Unwrap (LDAP)
//	LoggedOn()     ─┘
//
// Basic and Certificate are logins, too, for WinRM over HTTPS only; they seal nothing.
// NTLM stands on the core of bodgit/ntlmssp, Kerberos on gokrb5 with the GSS tokens of RFC 4121 that gokrb5 lacks.
// Kerberos uses AES only. Both bind to the TLS channel (RFC 5929) and agree on sealing, or fail.
//
// It does not speak HTTP or LDAP, it knows no host, and it writes no secret anywhere.
package logon
