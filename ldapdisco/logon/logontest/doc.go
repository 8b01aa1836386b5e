// Package logontest answers, for the simulated services of the tests: is this
// really the account that it says it is, and what did it send under seal?
//
// It is the other end of package logon, and is written on other foundations so
// that an error in one does not hide the same error in the other: NTLMv2 from
// [MS-NLMP], SPNEGO from RFC 4178, the Kerberos acceptor on the service side of
// gokrb5 with its own AP-REP and RFC 4121 tokens.
//
//	Directory ── accounts of one domain
//	   │
//	 Host ────── one service host: names, keytab
//	   │ Accept(bind, level), one for each TCP connection
//	 Conn ────── Step, Step ... done ── Seal / Open, Wrap / Unwrap
//
// A Conn holds no goroutine and no buffer before its first token, so a fleet of
// ten thousand simulated hosts costs little. It does not speak HTTP or LDAP, and
// it is no server for production: it trusts whoever makes its Directory.
package logontest
