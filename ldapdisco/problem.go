package ldapdisco

// Problem is a reason not to touch a computer.
type Problem struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// Reason codes of Problem. Each has an entry in the table below.
const (
	Excluded         = "excluded"             // the query excludes it
	NotFound         = "not-found"            // the query names it, and the directory has it not
	ManagedAccount   = "gmsa"                 // a service account, no computer
	ClusterName      = "cluster-virtual-name" // a name that a failover cluster answers to
	Disabled         = "disabled"
	NotWindows       = "not-windows"
	Stale            = "stale"       // long unused
	NoDNSName        = "no-dns-name" // none, or one that is no host name
	NoIdentity       = "no-identity" // no objectGUID or objectSid that can be read
	UnknownOS        = "unknown-os"  // it never told the directory what it is
	DuplicateDNSName = "duplicate-dns-name"
)

// ProblemText is what a code of Problem means and what to do about it.
type ProblemText struct{ Code, Title, Hint string }

// ProblemTexts is the one table of the codes of Problem, in the order in which they are looked for.
func ProblemTexts() []ProblemText {
	return []ProblemText{
		{Excluded, "the configuration excludes the computer", "exclusions win over every other choice; see select.exclude in the configuration"},
		{NotFound, "the configuration names a computer that the directory does not have", "check the spelling under select.names, and whether the account was deleted or lies outside select.ous"},
		{ManagedAccount, "a managed service account, no computer", "nothing has to be done: it has no WinRM"},
		{ClusterName, "a name that a failover cluster answers to, no computer of its own", "the nodes are moved under their own names; a certificate for the cluster's name is a matter of the cluster"},
		{Disabled, "the computer account is disabled", "nothing is done to it; delete the account if the computer is gone, enable it if it is not"},
		{NotWindows, "it does not run Windows", "nothing has to be done: it has no WinRM"},
		{Stale, "the computer has shown no sign of life for long", "if it is in use, let it log on to the domain; else retire the account; select.stale_after says what long is"},
		{NoDNSName, "the account has no usable dNSHostName", "let the computer register its name (restart Netlogon) or correct dNSHostName; a certificate is made for that name"},
		{NoIdentity, "the account's objectGUID or objectSid cannot be read", "look at the object with another tool (ldp.exe, Get-ADComputer); whoever is not who he says cannot be told without them, so nothing is done to it"},
		{DuplicateDNSName, "several computer accounts have the same DNS name", "find out which one the computer uses and correct or delete the others; a certificate would be made for the wrong one"},
		{UnknownOS, "the account does not tell its operating system", "it may never have been joined; let the computer log on to the domain, then look again"},
	}
}
