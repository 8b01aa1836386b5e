package ldaptest

import "time"

// Faults is what goes wrong; its zero value is nothing. It counts from the moment it is set.
type Faults struct {
	// DropAfterPages closes the connection in the middle of the page that follows so many pages; -1 already the first.
	DropAfterPages int
	// LoseCookieAfterPages forgets every search after so many pages, as a domain controller does that restarts or runs
	// out of cursors: the cookie is answered with result 12.
	LoseCookieAfterPages int
	// OmitPaging leaves the paging control out of every answer, so that nobody can tell whether there is more.
	OmitPaging bool
	// EndlessPages answers every search with empty pages and a cookie.
	EndlessPages bool
	// IgnorePageSize gives everything in one page.
	IgnorePageSize bool
	// SizeLimit ends every page with result 4 and no cookie, as a server with a limit of its own does.
	SizeLimit bool
	// ChildDomain names a domain below this one: a search of the whole domain gets a reference to it.
	ChildDomain string
	// Delay comes before every answer, a logon's too.
	Delay time.Duration
	// Hang never answers a search, nor who somebody is.
	Hang bool
	// Refer answers every search with a referral to this URL.
	Refer string
	// Busy answers every search with result 51.
	Busy bool
	// WrongCertificate presents a certificate for another name on new TLS connections.
	WrongCertificate bool
	// UnknownCA presents a certificate of a CA that nobody trusts on new TLS connections.
	UnknownCA bool
	// ClockAhead sets the server's clock wrong.
	ClockAhead time.Duration
	// ClearAfterBind answers in clear after a sealed logon.
	ClearAfterBind bool
}

// LogonState is why an account with the right password is turned away.
type LogonState string

// States, by AD's error data.
const (
	LogonAllowed        LogonState = ""
	LogonWrongHour      LogonState = "530"
	LogonWrongComputer  LogonState = "531"
	PasswordExpired     LogonState = "532"
	AccountDisabled     LogonState = "533"
	AccountExpired      LogonState = "701"
	PasswordMustChange  LogonState = "773"
	AccountLockedOut    LogonState = "775"
	AccountRestrictions LogonState = "52f"
)
