// Package wsman answers: what does this Windows host say, and will it do what we ask, over WS-Management?
//
//	Target ── Open ──► Session ── Get Put Create Delete Enumerate Invoke Identify
//	                      │        Shell ── Run
//	                      └ one TCP connection, one logon; calls wait for each other
//
// Over HTTP every message is sealed by NTLM or Kerberos ([MS-WSMV] 2.2.9.1) and an answer that is not sealed is never
// believed; over HTTPS the logon is bound to the TLS channel. Redirects are not followed and proxies not used.
//
// A failure is a typed error with advice: *Fault when the host answered no, *DialError and *TLSError when there is no
// connection, *AuthError when it does not let us in, *TransportError, *ClearTextError and *ProtocolError when no good
// answer came. After one of the last three the outcome may be unknown: ask OutcomeUnknown.
//
// It does not know what a listener, a registry key or a rollout is; package machine does.
package wsman
