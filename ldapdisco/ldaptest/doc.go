// Package ldaptest answers, for tests and the lab: what would a domain controller say to that?
//
// It is an LDAP server of the shape of Active Directory, in this process, on loopback:
//
//	Config ─ Start ─► Server ─┬─ LDIF, Add, AddMachine, AddFleet   what the directory holds
//	                          ├─ URL, SecureURL, Roots             how to reach it
//	                          ├─ SetLogonState                     accounts that are disabled, expired, locked ...
//	                          └─ SetFaults                         what goes wrong
//
// Like a domain controller it wants a logon before it answers, refuses passwords in clear and SASL without sealing on
// 389, minds the channel binding inside TLS, gives a thousand entries at most without paging, splits long attributes
// into ranges, keeps the configuration partition apart from the domain, hides security descriptors from those who ask
// for the audit part, and writes the error texts of AD. A fleet is made entry by entry while it is searched, so that a
// hundred thousand computers cost a few bytes each.
//
// Everybody who logs on may read everything and nobody may write. There is no schema, no replication, no referral
// chasing, and no global catalogue.
package ldaptest
