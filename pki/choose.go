package pki

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Requirement is what a certificate has to be for the WinRM HTTPS listener of one host.
type Requirement struct {
	Name       string        // fully qualified DNS name of the host
	MinLeft    time.Duration // still valid for so long at least
	MinKeyBits int           // of RSA; 2048 when 0
	Issuers    []string      // distinguished names of the CAs that may have issued it; empty means any
	Template   string        // template name or object identifier; empty means any
	Prefer     Thumbprint    // taken if it is fit: what a listener has stays
}

// Rejection says why a candidate was not taken.
type Rejection struct {
	Thumbprint Thumbprint `json:"thumbprint"`
	Subject    string     `json:"subject"`
	Code       string     `json:"code"`
	Detail     string     `json:"detail"`
}

// Choice is the certificate that was taken and every other with the reason why not.
type Choice struct {
	Certificate *Certificate `json:"certificate,omitempty"` // nil: none is fit
	Rejected    []Rejection  `json:"rejected,omitempty"`
}

// Why says in one line why nothing was chosen, the nearest misses first.
func (c Choice) Why() string {
	if len(c.Rejected) == 0 {
		return "there is none"
	}
	nearest := slices.Clone(c.Rejected)
	slices.SortStableFunc(nearest, func(a, b Rejection) int { return asked(b.Code) - asked(a.Code) })
	parts := make([]string, 0, len(nearest))
	for i, r := range nearest {
		if i == 3 {
			parts = append(parts, fmt.Sprintf("and %d more", len(nearest)-i))
			break
		}
		parts = append(parts, fmt.Sprintf("%s %s (%s)", r.Thumbprint.Short(), r.Code, r.Detail))
	}
	return strings.Join(parts, "; ")
}

// asked is how many questions a candidate answered well before it was rejected for code.
func asked(code string) int {
	return slices.IndexFunc(fitnesses, func(f fitness) bool { return f.code == code })
}

// fitness is one question about a candidate; it answers only when it objects.
type fitness struct {
	code string
	ask  func(c Certificate, r Requirement, now time.Time) (detail string, objects bool)
}

// fitnesses are asked in this order; the first objection is the reason.
var fitnesses = []fitness{
	{"no-private-key", func(c Certificate, _ Requirement, _ time.Time) (string, bool) {
		return "the store records no private key", !c.HasKey
	}},
	{"archived", func(c Certificate, _ Requirement, _ time.Time) (string, bool) {
		return "a renewal has replaced it", c.Archived
	}},
	{CodeSelfSigned, func(c Certificate, _ Requirement, _ time.Time) (string, bool) {
		return "it is self-signed", c.SelfSigned
	}},
	{CodeWrongUsage, func(c Certificate, _ Requirement, _ time.Time) (string, bool) {
		return "not for server authentication", !c.ServerAuth
	}},
	{CodeNotYetValid, func(c Certificate, _ Requirement, now time.Time) (string, bool) {
		return "valid from " + utc(c.NotBefore), now.Before(c.NotBefore)
	}},
	{CodeExpired, func(c Certificate, _ Requirement, now time.Time) (string, bool) {
		return "expired " + utc(c.NotAfter), !now.Before(c.NotAfter)
	}},
	{CodeRevoked, func(c Certificate, _ Requirement, _ time.Time) (string, bool) { return c.Revoked, c.Revoked != "" }},
	{"expires-soon", func(c Certificate, r Requirement, now time.Time) (string, bool) {
		return fmt.Sprintf("%v left, %v are needed", c.NotAfter.Sub(now).Round(time.Minute), r.MinLeft), c.NotAfter.Sub(now) < r.MinLeft
	}},
	{CodeWrongName, wrongCommonName},
	{CodeWrongName, func(c Certificate, r Requirement, _ time.Time) (string, bool) {
		has := slices.ContainsFunc(c.DNSNames, func(n string) bool { return sameHost(n, r.Name) })
		return r.Name + " is not among its DNS names", !has
	}},
	{CodeUntrusted, func(c Certificate, _ Requirement, _ time.Time) (string, bool) { return c.Untrusted, c.Untrusted != "" }},
	{"weak-key", weakKey},
	{CodeWeakChain, weakSignature},
	{"is-a-ca", func(c Certificate, _ Requirement, _ time.Time) (string, bool) {
		return "it is a CA's certificate", c.IsCA
	}},
	{"other-issuer", func(c Certificate, r Requirement, _ time.Time) (string, bool) {
		known := slices.ContainsFunc(r.Issuers, func(n string) bool { return sameName(n, c.Issuer) })
		return "issued by " + c.Issuer, len(r.Issuers) > 0 && !known
	}},
	{"other-template", func(c Certificate, r Requirement, _ time.Time) (string, bool) {
		return fmt.Sprintf("template %q", c.Template), r.Template != "" && !strings.EqualFold(c.Template, r.Template)
	}},
}

// wrongCommonName asks for the name alone: WinRM takes no wildcard and compares
// with the listener's host name (0x803380E9).
func wrongCommonName(c Certificate, r Requirement, _ time.Time) (string, bool) {
	if c.CommonName == "" {
		return "it has no common name, WinRM compares it with " + r.Name, true
	}
	return fmt.Sprintf("common name %q, WinRM compares it with %s", c.CommonName, r.Name), !sameHost(c.CommonName, r.Name)
}

// weakSignature objects to what browsers and Schannel refuse, and to what x509
// cannot name: that is a hash or a padding which clients cannot check either.
func weakSignature(c Certificate, _ Requirement, _ time.Time) (string, bool) {
	if c.Signature == x509.UnknownSignatureAlgorithm.String() {
		return "signed with an algorithm that TLS clients do not know", true
	}
	weak := func(hash string) bool { return strings.Contains(c.Signature, hash) }
	return "signed with " + c.Signature, slices.ContainsFunc([]string{"SHA1", "MD5", "MD2"}, weak)
}

func weakKey(c Certificate, r Requirement, _ time.Time) (string, bool) {
	least := cmp.Or(r.MinKeyBits, 2048)
	if c.KeyAlgorithm != "RSA" {
		least = 256
	}
	return fmt.Sprintf("%s with %d bits, %d are needed", c.KeyAlgorithm, c.KeyBits, least), c.KeyBits < least
}

// Choose takes one of a machine's certificates. The same certificates give the
// same choice whatever their order: the preferred one if it is fit, else the one
// that is valid longest, and of equals the lowest thumbprint.
func Choose(certs []Certificate, r Requirement, now time.Time) Choice {
	var choice Choice
	var fit []Certificate
	for _, c := range certs {
		if rej, objects := reject(c, r, now); objects {
			choice.Rejected = append(choice.Rejected, rej)
			continue
		}
		fit = append(fit, c)
	}
	slices.SortFunc(fit, func(a, b Certificate) int {
		return cmp.Or(preferred(b, r)-preferred(a, r), b.NotAfter.Compare(a.NotAfter), cmp.Compare(a.Thumbprint, b.Thumbprint))
	})
	for i, c := range fit {
		if i == 0 {
			choice.Certificate = &fit[0]
			continue
		}
		choice.Rejected = append(choice.Rejected, Rejection{c.Thumbprint, c.Subject, "not-the-longest", "another fit one was preferred"})
	}
	slices.SortFunc(choice.Rejected, func(a, b Rejection) int { return cmp.Compare(a.Thumbprint, b.Thumbprint) })
	return choice
}

func preferred(c Certificate, r Requirement) int {
	if r.Prefer != "" && c.Thumbprint == r.Prefer {
		return 1
	}
	return 0
}

func reject(c Certificate, r Requirement, now time.Time) (Rejection, bool) {
	for _, f := range fitnesses {
		if detail, objects := f.ask(c, r, now); objects {
			return Rejection{c.Thumbprint, c.Subject, f.code, detail}, true
		}
	}
	return Rejection{}, false
}
