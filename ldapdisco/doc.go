// Package ldapdisco answers: which computers, CAs and templates does the domain have?
//
//	Config ── Dial ──► Directory ─┬─ Computers   streamed, page by page, with the reason why one cannot be managed
//	          TLS, bind, seal     ├─ Authorities, Templates, Roots   what AD CS published, as raw facts
//	                              ├─ Domain      names, domain controllers, sites and subnets
//	                              └─ GroupSIDs   the groups in a computer's token
//
// Nothing is read over a connection that is neither TLS nor sealed, and no password is shown to a server whose
// certificate was not verified. An enumeration that did not reach its end is an error, never a shorter list.
//
// It writes nothing to the directory, touches no computer, and draws no conclusion from a template or a certificate:
// package pki does. Other domains of the forest are not followed.
package ldapdisco
