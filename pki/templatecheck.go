package pki

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Severity says how much a finding weighs.
type Severity string

// The severities. A blocker keeps the template from being used.
const (
	Blocker Severity = "blocker"
	Warning Severity = "warning"
	Info    Severity = "info"
)

// Route is how the certificate is asked for.
type Route string

// The routes. In self the computer asks and the CA names it; in relay a service
// account asks for the computer and names it in the request.
const (
	Self  Route = "self"
	Relay Route = "relay"
)

// Use is what a template is wanted for.
type Use struct {
	Route          Route
	SIDs           []string          // the token that will ask: of a computer, or of the service account; empty: whether it may is not judged
	Tokens         []Token           // of more computers, where many are to use the template
	Account        string            // relay: the service account's own SID
	PublishedBy    []string          // names of the CAs that issue the template
	MinKeyBits     int               // of RSA; 2048 when 0
	MinLeft        time.Duration     // how long a certificate must be valid at least
	LinkedPolicies map[string]string // issuance policies that put their holder into a group (msDS-OIDToGroupLink), with the group
	Names          map[string]string // of SIDs, for people
}

// Token is what computers with the same groups are to a descriptor.
type Token struct {
	SIDs    []string
	Hosts   int    // that have it
	Example string // one of them
}

// named is the SID with its name, where that is known.
func (u Use) named(sid string) string {
	if name := u.Names[sid]; name != "" {
		return name + " (" + sid + ")"
	}
	return sid
}

// Finding is what a check has to say about a template.
type Finding struct {
	Code     string   `json:"code"`
	Severity Severity `json:"severity"`
	Detail   string   `json:"detail"`
	Waived   string   `json:"waived,omitempty"` // by whom and why
}

// Hint is what an administrator can do about it.
func (f Finding) Hint() string {
	if h := templateHints[f.Code]; h != "" {
		return h
	}
	return authorityHints[f.Code]
}

// Findings are in the order of the checks.
type Findings []Finding

// Fit reports whether the template may be used: nothing blocks it, or somebody waived what does.
func (f Findings) Fit() bool {
	return !slices.ContainsFunc(f, func(f Finding) bool { return f.Severity == Blocker && f.Waived == "" })
}

// Has reports whether the finding is among them.
func (f Findings) Has(code string) bool {
	return slices.ContainsFunc(f, func(f Finding) bool { return f.Code == code })
}

// templateCase is what the checks look at: a template, the use, and its descriptor, which
// is nil where it could not be read.
type templateCase struct {
	Template
	use     Use
	sd      *SecurityDescriptor
	err     error
	writers []string // SIDs that may change it
}

// templateCheck is one question about a template; it answers only when it objects.
type templateCheck struct {
	code     string
	severity Severity
	ask      func(c templateCase) (detail string, objects bool)
}

// CheckTemplate asks whether a certificate of the template would be fit for a
// WinRM listener, and whether its shape is dangerous. What is dangerous blocks
// even where it would work: nobody's rollout should lean on it.
func CheckTemplate(t Template, use Use) Findings {
	c := newTemplateCase(t, use)
	return append(c.ask(fitChecks), c.ask(dangerChecks)...)
}

func newTemplateCase(t Template, use Use) templateCase {
	c := templateCase{Template: t, use: use}
	if len(t.SecurityDescriptor) > 0 {
		c.sd, c.err = ParseSecurityDescriptor(t.SecurityDescriptor)
	}
	if c.sd != nil {
		c.writers = c.sd.writers()
	}
	return c
}

// unread says why there is no descriptor.
func (c templateCase) unread() string {
	if c.err != nil {
		return c.err.Error()
	}
	return "its security descriptor could not be read"
}

func (c templateCase) ask(checks []templateCheck) (found Findings) {
	for _, check := range checks {
		if detail, objects := check.ask(c); objects {
			found = append(found, Finding{Code: check.code, Severity: check.severity, Detail: detail})
		}
	}
	return found
}

// self asks only of templates by which the computer itself enrolls.
func self(ask func(templateCase) (string, bool)) func(templateCase) (string, bool) {
	return func(c templateCase) (string, bool) {
		if c.use.Route == Relay {
			return "", false
		}
		return ask(c)
	}
}

// relayed asks only of templates by which a service account enrolls for computers.
func relayed(ask func(templateCase) (string, bool)) func(templateCase) (string, bool) {
	return func(c templateCase) (string, bool) {
		if c.use.Route != Relay {
			return "", false
		}
		return ask(c)
	}
}

// when objects with a sentence when a fact holds.
func when(detail string, holds func(c templateCase) bool) func(templateCase) (string, bool) {
	return func(c templateCase) (string, bool) { return detail, holds(c) }
}

var fitChecks = []templateCheck{
	{"template-not-published", Blocker, when("no CA issues it", func(c templateCase) bool { return len(c.use.PublishedBy) == 0 })},
	{"template-not-for-machines", Blocker, self(when("it is for users", func(c templateCase) bool { return c.Flags&flagMachine == 0 }))},
	{"template-no-server-auth", Blocker, when("its certificates are not for server authentication", func(c templateCase) bool {
		return !slices.Contains(c.usages(), usageServerAuth) && !slices.Contains(c.usages(), usageAny) && len(c.usages()) > 0
	})},
	{"template-subject-supplied", Blocker, self(when("the enrollee supplies the subject, and the computer's own request has none", func(c templateCase) bool { return c.suppliesSubject() }))},
	{"template-no-dns-common-name", Blocker, self(when("it does not put the DNS name into the common name, with which WinRM compares the host's name", func(c templateCase) bool {
		return !c.suppliesSubject() && c.NameFlags&nameDNSAsCN == 0
	}))},
	{"template-no-dns-name", Blocker, self(when("it does not put the DNS name into the subject alternative name", func(c templateCase) bool {
		return !c.suppliesSubject() && c.NameFlags&nameDNSInAlt == 0
	}))},
	{"template-names-the-requester", Blocker, relayed(when("the CA would name the service account and not the computer", func(c templateCase) bool { return c.NameFlags&nameSupplied == 0 }))},
	{"template-weak-key", Blocker, smallKey},
	{"template-no-digital-signature", Blocker, when("the key usage lacks digital signature, which TLS needs", func(c templateCase) bool {
		return len(c.KeyUsage) > 0 && c.KeyUsage[0]&0x80 == 0
	})},
	{"template-short-validity", Blocker, shortValidity},
	{"template-no-renewal-overlap", Warning, when("it has no renewal period", func(c templateCase) bool { return c.Overlap <= 0 })},
	{"template-needs-a-person", Blocker, when("enrollment asks for a person's input, or protects the key by a prompt", func(c templateCase) bool {
		return c.EnrollmentFlags&enrollInteraction != 0 || c.PrivateKeyFlags&keyProtected != 0
	})},
	{"template-smart-card", Blocker, when("every provider that it allows is a smart card's", func(c templateCase) bool {
		return len(c.CSPs) > 0 && !slices.ContainsFunc(c.CSPs, func(p string) bool { return !strings.Contains(strings.ToLower(p), "smart card") })
	})},
	{"template-ra-signature", Blocker, func(c templateCase) (string, bool) {
		return fmt.Sprintf("a request needs %d signatures of an enrollment agent", c.RASignatures), c.RASignatures > 0
	}},
	{"template-rights-unknown", Blocker, func(c templateCase) (string, bool) {
		return c.unread(), c.sd == nil
	}},
	{"template-no-enroll-right", Blocker, noEnrollRight},
	{"template-pends", Warning, when("every request waits for a CA manager", func(c templateCase) bool { return c.EnrollmentFlags&enrollPend != 0 })},
	{"template-attestation", Warning, when("the key must be attested by a TPM, which not every computer has", func(c templateCase) bool { return c.PrivateKeyFlags&keyMustBeProven != 0 })},
	{"template-exportable-key", Warning, when("the private key may be exported", func(c templateCase) bool { return c.PrivateKeyFlags&keyExportable != 0 })},
	{"template-archived-key", Warning, when("the CA archives the private key", func(c templateCase) bool { return c.PrivateKeyFlags&keyArchived != 0 })},
	{"template-client-auth", Warning, when("its certificates also log on as a client: 802.1X, VPN and management agents may pick them up", func(c templateCase) bool {
		return slices.Contains(c.usages(), usageClientAuth)
	})},
	{"template-no-autoenroll", Info, self(func(c templateCase) (string, bool) {
		return "the computer may enroll but not autoenroll", c.sd != nil && len(c.use.SIDs) > 0 && c.sd.CanEnroll(c.use.SIDs) && !c.sd.CanAutoEnroll(c.use.SIDs)
	})},
	{"relay-template-shared", Warning, relayed(sharedRelay)},
}

// noEnrollRight counts the hosts that may not.
func noEnrollRight(c templateCase) (string, bool) {
	if c.sd == nil {
		return "", false
	}
	if len(c.use.SIDs) > 0 && !c.sd.CanEnroll(c.use.SIDs) {
		return fmt.Sprintf("none of the account's %d SIDs may enroll", len(c.use.SIDs)), true
	}
	all, refused, example := 0, 0, ""
	for _, t := range c.use.Tokens {
		all += t.Hosts
		if !c.sd.CanEnroll(t.SIDs) {
			refused += t.Hosts
			example = cmp.Or(example, t.Example)
		}
	}
	return fmt.Sprintf("%d of %d hosts may not enroll, such as %s", refused, all, example), refused > 0
}

func smallKey(c templateCase) (string, bool) {
	least := cmp.Or(c.use.MinKeyBits, 2048)
	if c.elliptic() {
		least = 256
	}
	// Version 1 leaves the size to the provider, which gives 2048.
	unsaid := c.MinimalKeySize == 0 && c.SchemaVersion <= 1
	return fmt.Sprintf("it allows keys of %d bits, %d are needed", c.MinimalKeySize, least), !unsaid && c.MinimalKeySize < least
}

func shortValidity(c templateCase) (string, bool) {
	switch {
	case c.Validity <= 0:
		return "it says no validity", true
	case c.Validity <= c.Overlap:
		return fmt.Sprintf("it is valid for %s and renewed %s before the end", Days(c.Validity), Days(c.Overlap)), true
	}
	return fmt.Sprintf("it is valid for %s, %s are needed", Days(c.Validity), Days(c.use.MinLeft)), c.Validity < c.use.MinLeft
}

// sharedRelay names who else may ask for any computer's name.
func sharedRelay(c templateCase) (string, bool) {
	if c.sd == nil {
		return "", false
	}
	var others []string
	for _, sid := range c.sd.enrollees() {
		if _, is := crowd(sid); !is && sid != c.use.Account && !administers(sid) {
			others = append(others, c.use.named(sid))
		}
	}
	return "besides the service account these may enroll in any name: " + strings.Join(others, ", "), len(others) > 0
}
