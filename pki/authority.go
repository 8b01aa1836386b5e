package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Authority is an enterprise CA as the directory, its lists and its web server show it.
type Authority struct {
	Name, Host         string
	Certificates       [][]byte // DER, the current one and older
	Templates          []string // cn of each that it issues
	EnrollmentServers  []string // msPKI-Enrollment-Servers: "priority\nauthentication\nrenewal only\naddress\n..."
	SecurityDescriptor []byte   // of its object in Enrollment Services; empty: it could not be read
	Lists              [][]byte // CRLs that lie in the directory for it, DER
	Web                []string // addresses below /certsrv/ that somebody answered at
	WebDoubt           string   // why it is not known whether there are more; empty: it was asked, and is known
	Unsealed           Trial    // of a call to it without packet privacy
	UnsealedDoubt      string   // why the trial came to no end
	Doubt              error    // what was found out about the revocation of its certificate, if it is not good
}

// Forest is what the directory publishes for all: DER.
type Forest struct {
	Roots, Intermediates, NTAuth [][]byte
}

// authorityCase is what the checks look at.
type authorityCase struct {
	Authority
	forest    Forest
	templates []Template
	now       time.Time
	current   *x509.Certificate // nil: it publishes none that can be read
}

type authorityCheck struct {
	code     string
	severity Severity
	ask      func(c authorityCase) (detail string, objects bool)
}

// expiresSoon is when a CA's renewal is due: it takes people, and a root takes weeks to reach every computer.
const expiresSoon = 90 * 24 * time.Hour

// CheckAuthority judges one CA. Templates are those of the forest.
func CheckAuthority(a Authority, f Forest, templates []Template, now time.Time) Findings {
	c := authorityCase{Authority: a, forest: f, templates: templates, now: now, current: newest(a.Certificates)}
	var found Findings
	for _, check := range authorityChecks {
		if detail, objects := check.ask(c); objects {
			found = append(found, Finding{Code: check.code, Severity: check.severity, Detail: detail})
		}
	}
	return found
}

// newest is the certificate that a CA signs with: the one that was issued last.
func newest(ders [][]byte) *x509.Certificate {
	var last *x509.Certificate
	for _, der := range ders {
		if c, err := x509.ParseCertificate(der); err == nil && (last == nil || c.NotBefore.After(last.NotBefore)) {
			last = c
		}
	}
	return last
}

// certified asks only of CAs whose certificate can be read.
func certified(ask func(c authorityCase) (string, bool)) func(authorityCase) (string, bool) {
	return func(c authorityCase) (string, bool) {
		if c.current == nil {
			return "", false
		}
		return ask(c)
	}
}

var authorityChecks = []authorityCheck{
	{"ca-no-certificate", Blocker, func(c authorityCase) (string, bool) {
		return "the directory has no certificate of it that can be read", c.current == nil
	}},
	{"ca-expired", Blocker, certified(func(c authorityCase) (string, bool) {
		return "its certificate expired " + utc(c.current.NotAfter), c.now.After(c.current.NotAfter)
	})},
	{"ca-expires-soon", Warning, certified(func(c authorityCase) (string, bool) {
		return "its certificate is valid until " + utc(c.current.NotAfter), !c.now.After(c.current.NotAfter) && c.current.NotAfter.Sub(c.now) < expiresSoon
	})},
	{"ca-cuts-validity", Info, certified(cutsValidity)},
	{"ca-untrusted", Blocker, certified(authorityCase.chain)},
	{"ca-not-in-ntauth", Warning, certified(func(c authorityCase) (string, bool) {
		is := slices.ContainsFunc(c.forest.NTAuth, func(der []byte) bool { return bytes.Equal(der, c.current.Raw) })
		return "its certificate is not among NTAuthCertificates", !is
	})},
	{"ca-weak-signature", Warning, certified(func(c authorityCase) (string, bool) {
		p := judgeSignatures([]*x509.Certificate{c.current})
		if p == nil || bytes.Equal(c.current.RawSubject, c.current.RawIssuer) { // a root's own signature proves nothing
			return "", false
		}
		return p.Detail, true
	})},
	{"ca-weak-key", Warning, certified(weakAuthority)},
	{"ca-revoked", Blocker, func(c authorityCase) (string, bool) { return unsure(c.Doubt, true) }},
	{"ca-revocation-unknown", Warning, func(c authorityCase) (string, bool) { return unsure(c.Doubt, false) }},
	{"ca-list-stale", Warning, certified(authorityCase.judgeLists)},
	{"esc8", Blocker, func(c authorityCase) (string, bool) {
		plain := slices.DeleteFunc(slices.Concat(c.Web, c.services()), func(u string) bool { return !strings.HasPrefix(strings.ToLower(u), "http:") })
		return "who relays a logon to it gets a certificate in that name: " + strings.Join(plain, ", "), len(plain) > 0
	}},
	{"esc11", Blocker, func(c authorityCase) (string, bool) {
		return "it takes requests without packet privacy: who relays a logon to it gets a certificate in that name", c.Unsealed == Taken
	}},
	{"ca-web-enrollment", Warning, func(c authorityCase) (string, bool) {
		safe := slices.DeleteFunc(slices.Clone(c.Web), func(u string) bool { return strings.HasPrefix(strings.ToLower(u), "http:") })
		return "web enrollment answers: " + strings.Join(safe, ", "), len(safe) > 0
	}},
	{"ca-enrollment-service", Info, func(c authorityCase) (string, bool) {
		return "enrollment web services are registered: " + strings.Join(c.services(), ", "), len(c.services()) > 0
	}},
	{"ca-object-writable", Blocker, func(c authorityCase) (string, bool) {
		sd, err := ParseSecurityDescriptor(c.SecurityDescriptor)
		if err != nil {
			return "", false
		}
		var who []string
		for _, sid := range sd.writers() {
			if name, is := crowd(sid); is {
				who = append(who, name)
			}
		}
		return strings.Join(who, ", ") + " may change its object in the directory, and with it the templates that it issues", len(who) > 0
	}},
	{"ca-template-missing", Info, func(c authorityCase) (string, bool) {
		missing := slices.DeleteFunc(slices.Clone(c.Templates), func(name string) bool {
			return slices.ContainsFunc(c.templates, func(t Template) bool { return strings.EqualFold(t.Name, name) })
		})
		return "it issues templates that the directory does not have: " + strings.Join(missing, ", "), len(missing) > 0
	}},
}

// cutsValidity objects where the CA ends before what it issues would.
func cutsValidity(c authorityCase) (string, bool) {
	left := c.current.NotAfter.Sub(c.now)
	for _, t := range c.templates {
		issued := slices.ContainsFunc(c.Templates, func(name string) bool { return strings.EqualFold(name, t.Name) })
		if issued && left > 0 && t.Validity > left {
			return fmt.Sprintf("its certificate has %d days left, less than the validity of %s: certificates end with the CA", int(left.Hours()/24), t.Name), true
		}
	}
	return "", false
}

// chain says why the CA does not chain to a root that every computer of the forest trusts.
func (c authorityCase) chain() (string, bool) {
	// At a time when the CA itself is valid: that it expired is said by another check.
	at := c.now
	if at.After(c.current.NotAfter) {
		at = c.current.NotAfter
	}
	if _, err := c.forest.chainOf(c.current, at); err != nil {
		return fmt.Sprintf("%s does not chain to a root in Certification Authorities: %v", DistinguishedName(c.current.RawSubject), err), true
	}
	return "", false
}

func (f Forest) chainOf(ca *x509.Certificate, at time.Time) (Chain, error) {
	pool := func(ders [][]byte) *x509.CertPool {
		p := x509.NewCertPool()
		for _, der := range ders {
			if cert, err := x509.ParseCertificate(der); err == nil {
				p.AddCert(cert)
			}
		}
		return p
	}
	chains, err := ca.Verify(x509.VerifyOptions{Roots: pool(f.Roots), Intermediates: pool(f.Intermediates), CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
	if err != nil {
		return nil, err
	}
	return chains[0], nil
}

// ChainOf is the chain from the certificate that a CA signs with to a root of the forest; nil if there is none now.
func (f Forest) ChainOf(a Authority, now time.Time) Chain {
	current := newest(a.Certificates)
	if current == nil {
		return nil
	}
	chain, err := f.chainOf(current, now)
	if err != nil {
		return nil
	}
	return chain
}

func weakAuthority(c authorityCase) (string, bool) {
	switch k := c.current.PublicKey.(type) {
	case *rsa.PublicKey:
		return fmt.Sprintf("its key has %d bits", k.N.BitLen()), k.N.BitLen() < 2048
	case *ecdsa.PublicKey:
		return fmt.Sprintf("its key has %d bits", k.Params().BitSize), k.Params().BitSize < 256
	}
	return "", false
}

// unsure sorts what asking for the CA's revocation gave.
func unsure(err error, revoked bool) (string, bool) {
	if err == nil {
		return "", false
	}
	said, ok := err.(interface{ Revoked() bool })
	return err.Error(), (ok && said.Revoked()) == revoked
}

// judgeLists looks at the lists that lie in the directory for this CA.
func (c authorityCase) judgeLists() (string, bool) {
	for _, der := range c.Lists {
		list, err := x509.ParseRevocationList(der)
		switch {
		case err != nil:
			return fmt.Sprintf("the list in the directory cannot be read: %v", err), true
		case !bytes.Equal(list.RawIssuer, c.current.RawSubject) || list.CheckSignatureFrom(c.current) != nil:
			continue // of an older key: it is not what today's certificates point to
		case c.now.After(list.NextUpdate):
			return "the list in the directory should have been replaced by " + utc(list.NextUpdate), true
		}
	}
	return "", false
}

// services are the addresses of enrollment web services ([MS-WCCE] 2.2.2.11.2; the form is [MS-XCEP]'s).
func (c authorityCase) services() []string {
	var all []string
	for _, s := range c.EnrollmentServers {
		for _, line := range strings.Split(s, "\n") {
			if line = strings.TrimSpace(line); strings.HasPrefix(strings.ToLower(line), "http") {
				all = append(all, line)
			}
		}
	}
	return all
}

var authorityHints = map[string]string{
	"ca-no-certificate":     "restart certsvc on the CA: it publishes its certificate; else certutil -dspublish",
	"ca-expired":            "renew the CA's certificate, or remove the CA's objects from the directory if it is gone",
	"ca-expires-soon":       "renew the CA's certificate (certsrv.msc, All Tasks, Renew CA Certificate), and its parent's first where that ends too",
	"ca-cuts-validity":      "renew the CA's certificate before it has less left than what it issues is to be valid",
	"ca-untrusted":          "publish the root (certutil -dspublish -f root.cer RootCA) and the CAs between (SubCA)",
	"ca-not-in-ntauth":      "certutil -dspublish -f ca.cer NTAuthCA if its certificates are to log on; server certificates work without",
	"ca-weak-signature":     "renew the CA's certificate with SHA-256: its parent's signature counts",
	"ca-weak-key":           "renew the CA's certificate with a new key of 4096 bits, or 384 of a curve",
	"ca-revoked":            "its parent took it back: nothing that it issues is worth anything",
	"ca-revocation-unknown": "look at the distribution points in the CA's certificate: pkiview.msc shows them all",
	"ca-list-stale":         "run certutil -crl on the CA and see why it does not publish; delete the object if nothing points to it any more",
	"esc8":                  "remove web enrollment, or demand HTTPS with Extended Protection and no NTLM",
	"esc11":                 "certutil -setreg CA\\InterfaceFlags +IF_ENFORCEENCRYPTICERTREQUEST on the CA, and restart certsvc",
	"ca-web-enrollment":     "remove the role Certification Authority Web Enrollment if nobody needs it; else demand Extended Protection and no NTLM",
	"ca-enrollment-service": "see that Extended Protection is demanded there, and that it runs over HTTPS",
	"ca-object-writable":    "take the write rights away, and look at which templates the CA issues",
	"ca-template-missing":   "remove them from the CA (certsrv.msc, Certificate Templates)",
	"root-expired":          "remove it from Certification Authorities if nothing chains to it any more",
	"root-expires-soon":     "renew the root, and publish the new one well before: every computer has to learn of it",
	"root-unreadable":       "remove it from Certification Authorities, or publish it again",
	"template-not-found":    "correct policy.template, or policy.routes, or let these hosts only reuse certificates (route: reuse)",
}
