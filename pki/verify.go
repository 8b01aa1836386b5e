package pki

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Chain is a verified chain: the leaf first, the enterprise root last.
type Chain []*x509.Certificate

// maxPresented bounds what one handshake may make the verifier try.
const maxPresented = 10

// VerifyPresented judges what a host presented in a fresh handshake: the chain to
// the roots, the name in the subject alternative name, the usage, the dates and
// the signatures. The common name is never taken for a name, and without roots
// nothing is trusted: the operating system's own store is not asked.
//
// Issuing are the CA certificates that the directory publishes (AIA). They never
// make a chain good; with them a host that forgot its intermediate is told from
// one that somebody else vouches for. Such a host gives both the chain, as members
// of the domain will build it, and a *Problem, since others cannot.
//
// Every error is a *Problem.
func VerifyPresented(presented []*x509.Certificate, roots *x509.CertPool, name string, now time.Time, issuing ...*x509.Certificate) (Chain, error) {
	if len(presented) == 0 || presented[0] == nil {
		return nil, problem(CodeNoCertificate, "the host presented no certificate")
	}
	presented = presented[:min(len(presented), maxPresented)]
	if roots == nil { // to x509 nil means the roots of the operating system
		roots = x509.NewCertPool()
	}
	leaf := presented[0]
	if p := judgeLeaf(leaf, name, now); p != nil {
		return nil, p
	}
	chain, err := verifyChain(leaf, presented[1:], roots, name, now)
	if err == nil {
		if p := judgeSignatures(chain[:len(chain)-1]); p != nil { // a root's own signature proves nothing
			return nil, p
		}
		return chain, nil
	}
	all := slices.Concat(presented[1:], issuing)
	if p := judgeSignatures(append([]*x509.Certificate{leaf}, path(leaf, all)...)); p != nil {
		return nil, p
	}
	if known, again := verifyChain(leaf, all, roots, name, now); again == nil {
		return known, problem(CodeMissingIntermediate, "the host does not present %s", listSubjects(known, presented))
	}
	return nil, translate(presented, roots, len(issuing) > 0, now, err)
}

// Untrusted says why no chain leads from a certificate to one of the roots, through the given CAs; empty: one does. Names,
// usage and the certificate's own dates are other questions. A certificate that nobody here issued is no candidate, however long it is valid.
func Untrusted(der []byte, roots *x509.CertPool, between []*x509.Certificate, now time.Time) string {
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return err.Error()
	}
	if roots == nil { // to x509 nil means the roots of the operating system
		roots = x509.NewCertPool()
	}
	pool := x509.NewCertPool()
	for _, c := range between {
		pool.AddCert(c)
	}
	at := now
	if at.After(leaf.NotAfter) {
		at = leaf.NotAfter
	}
	if at.Before(leaf.NotBefore) {
		at = leaf.NotBefore
	}
	if _, err = leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: pool, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}); err != nil {
		return fmt.Sprintf("issued by %s, from where no chain leads to the roots of the forest: %v", leaf.Issuer, err)
	}
	return ""
}

func verifyChain(leaf *x509.Certificate, between []*x509.Certificate, roots *x509.CertPool, name string, now time.Time) (Chain, error) {
	pool := x509.NewCertPool()
	for _, c := range between {
		if c != nil {
			pool.AddCert(c)
		}
	}
	chains, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: pool, DNSName: name, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		return nil, err
	}
	return chains[0], nil
}

// judgeLeaf asks first what the verifier would answer in words of its own.
func judgeLeaf(leaf *x509.Certificate, name string, now time.Time) *Problem {
	switch {
	case slices.Equal(leaf.RawIssuer, leaf.RawSubject):
		return problem(CodeSelfSigned, "%s signed itself", subject(leaf))
	case now.Before(leaf.NotBefore):
		return problem(CodeNotYetValid, "valid from %s, it is %s", utc(leaf.NotBefore), utc(now))
	case now.After(leaf.NotAfter):
		return problem(CodeExpired, "expired %s", utc(leaf.NotAfter))
	case !hasUsage(leaf, x509.ExtKeyUsageServerAuth):
		return problem(CodeWrongUsage, "%s is not for server authentication", subject(leaf))
	case leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return problem(CodeWrongUsage, "the key of %s is not for digital signatures, which TLS 1.3 needs", subject(leaf))
	case leaf.VerifyHostname(name) != nil:
		return problem(CodeWrongName, "it is for %s, not for %s", presentedNames(leaf), name)
	}
	return judgeSignatures([]*x509.Certificate{leaf})
}

// presentedNames are those that count; that the common name does not is said
// where it is all there is.
func presentedNames(leaf *x509.Certificate) string {
	switch {
	case len(leaf.DNSNames) > 4:
		return strings.Join(leaf.DNSNames[:4], ", ") + fmt.Sprintf(" and %d more", len(leaf.DNSNames)-4)
	case len(leaf.DNSNames) > 0:
		return strings.Join(leaf.DNSNames, ", ")
	case leaf.Subject.CommonName != "":
		return fmt.Sprintf("no DNS name (only its common name is %s, which does not count)", leaf.Subject.CommonName)
	}
	return "no name at all"
}

// path follows the issuers of leaf by name, as far as they go; the root that ends
// it is left out. The verifier gives up at a weak signature without saying so.
func path(leaf *x509.Certificate, known []*x509.Certificate) []*x509.Certificate {
	var out []*x509.Certificate
	for c := leaf; len(out) < maxPresented; {
		i := slices.IndexFunc(known, func(k *x509.Certificate) bool { return k != nil && bytes.Equal(k.RawSubject, c.RawIssuer) })
		if i < 0 || bytes.Equal(known[i].RawIssuer, known[i].RawSubject) {
			return out
		}
		c = known[i]
		out = append(out, c)
	}
	return out
}

func judgeSignatures(chain []*x509.Certificate) *Problem {
	for _, c := range chain {
		switch c.SignatureAlgorithm {
		case x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1, x509.MD5WithRSA, x509.MD2WithRSA:
			return problem(CodeWeakChain, "%s is signed with %s", subject(c), c.SignatureAlgorithm)
		case x509.UnknownSignatureAlgorithm:
			return problem(CodeWeakChain, "%s is signed with an algorithm that TLS clients do not know", subject(c))
		}
	}
	return nil
}

// translate says which of the enterprise's or the host's faults the verifier met.
func translate(presented []*x509.Certificate, roots *x509.CertPool, issuingKnown bool, now time.Time, err error) *Problem {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	p := &Problem{Code: CodeUntrusted, Detail: err.Error(), Err: err}
	switch {
	case errors.As(err, &unknown):
		explainUnknown(p, presented, roots, issuingKnown)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired && now.Before(invalid.Cert.NotBefore):
		p.Code, p.Detail = CodeNotYetValid, fmt.Sprintf("the CA %s is valid from %s", subject(invalid.Cert), utc(invalid.Cert.NotBefore))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		p.Code, p.Detail = CodeExpired, fmt.Sprintf("the CA %s expired %s", subject(invalid.Cert), utc(invalid.Cert.NotAfter))
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		p.Code, p.Detail = CodeWrongUsage, "a CA of the chain may not issue for server authentication"
	case errors.As(err, &invalid) && invalid.Reason == x509.CANotAuthorizedForThisName:
		p.Detail = "a CA of the chain may not issue for this name (name constraints)"
	}
	return p
}

// explainUnknown tells where the chain breaks off. When nobody said which CAs the
// directory knows, a host that presents its leaf alone is taken to have forgotten
// the rest, which is by far the more frequent.
func explainUnknown(p *Problem, presented []*x509.Certificate, roots *x509.CertPool, issuingKnown bool) {
	leaf, top := presented[0], presented[0]
	if above := path(leaf, presented[1:]); len(above) > 0 {
		top = above[len(above)-1]
	}
	isIssuer := func(c *x509.Certificate) bool { return c != nil && bytes.Equal(c.RawSubject, leaf.RawIssuer) }
	switch {
	case isRootName(roots, top.RawIssuer):
		p.Detail = fmt.Sprintf("%s says that %s issued it, but the enterprise root of this name did not sign it", subject(top), DistinguishedName(top.RawIssuer))
	case !issuingKnown && !slices.ContainsFunc(presented[1:], isIssuer):
		p.Code = CodeMissingIntermediate
		p.Detail = fmt.Sprintf("%s was issued by %s, which is no enterprise root and which the host does not present", subject(leaf), DistinguishedName(leaf.RawIssuer))
	default:
		p.Detail = fmt.Sprintf("%s was issued by %s, which is no enterprise root", subject(top), DistinguishedName(top.RawIssuer))
	}
}

// isRootName reports whether a root has this name. Subjects leaves out those of
// the operating system, which are not asked here.
func isRootName(roots *x509.CertPool, name []byte) bool {
	//nolint:staticcheck // it is deprecated because it leaves out the system's roots
	return slices.ContainsFunc(roots.Subjects(), func(s []byte) bool { return bytes.Equal(s, name) })
}

// listSubjects names the members of chain below the root that were not presented.
func listSubjects(chain Chain, presented []*x509.Certificate) string {
	var names []string
	for _, c := range chain[:len(chain)-1] {
		if !slices.ContainsFunc(presented, func(p *x509.Certificate) bool { return p != nil && p.Equal(c) }) {
			names = append(names, subject(c))
		}
	}
	return strings.Join(names, " and ")
}

func subject(c *x509.Certificate) string {
	if s := DistinguishedName(c.RawSubject); s != "" {
		return s
	}
	return "the certificate " + ThumbprintOf(c.Raw).Short()
}

func utc(t time.Time) string { return t.UTC().Format(time.RFC3339) }
