package adcstest

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"slices"
	"strings"
	"time"
)

// maxRequest is MaxIncomingMessageSize of certsvc.
const maxRequest = 64 << 10

// submission is a request that waits.
type submission struct {
	request  Request
	template Template
	csr      *x509.CertificateRequest
	since    time.Time
	approved bool
	refused  bool

	done   []byte // it was issued at once: the certificate
	denied error  // it was denied at once
}

// Issue answers the certificate in DER, or *Denied or *Pending.
func (ca *CA) Issue(ctx context.Context, r Request) ([]byte, error) {
	if err := ca.dawdle(ctx, r.host()); err != nil {
		return nil, err
	}
	t, csr, err := ca.judge(r)
	if err != nil {
		return nil, err
	}
	if t.Pend || ca.has(Pend, r.host()) {
		return nil, &Pending{ca.submit(&submission{request: r, template: t, csr: csr, since: ca.cfg.Clock()})}
	}
	return ca.sign(t, r, csr)
}

func (ca *CA) dawdle(ctx context.Context, fqdn string) error {
	if !ca.has(Slow, fqdn) {
		return ctx.Err()
	}
	timer := time.NewTimer(ca.cfg.SlowBy)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// judge is the policy module: the template, the right to enroll, the request, and
// whether the account can be named.
func (ca *CA) judge(r Request) (Template, *x509.CertificateRequest, error) {
	i := slices.IndexFunc(ca.cfg.Templates, func(t Template) bool { return strings.EqualFold(t.Name, r.Template) })
	switch {
	case r.Template == "":
		return Template{}, nil, &Denied{NoTemplate, "the request names no certificate template"}
	case i < 0:
		return Template{}, nil, &Denied{UnsupportedTemplate, "the template " + r.Template + " is not issued by this CA"}
	case ca.has(Deny, r.host()), !ca.cfg.Templates[i].allows(r.Account):
		return Template{}, nil, &Denied{TemplateDenied, "the permissions on the template do not allow the account to enroll"}
	}
	t := ca.cfg.Templates[i]
	csr, err := parseRequest(r.CSR)
	if err != nil {
		return t, nil, err
	}
	if k, isRSA := csr.PublicKey.(*rsa.PublicKey); isRSA && k.N.BitLen() < max(t.MinKeyBits, 2048) {
		return t, nil, &Denied{KeyTooShort, fmt.Sprintf("the key has %d bits", k.N.BitLen())}
	}
	switch {
	case t.SuppliesSubject && csr.Subject.CommonName == "" && len(csr.DNSNames) == 0:
		return t, nil, &Denied{BadSubject, "the request has no subject"}
	case !t.SuppliesSubject && r.FQDN == "":
		return t, nil, &Denied{DNSNameRequired, "the account has no dNSHostName"}
	}
	return t, csr, nil
}

func parseRequest(der []byte) (*x509.CertificateRequest, error) {
	if len(der) > maxRequest {
		return nil, &Denied{BadRequest, "the request is too long"}
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, &Denied{BadASN1, err.Error()}
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, &Denied{BadSignature, err.Error()}
	}
	return csr, nil
}

func (ca *CA) submit(s *submission) int {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	ca.nextID++
	ca.pending[ca.nextID] = s
	return ca.nextID
}

// Approve is a CA manager's "issue" on a pending request.
func (ca *CA) Approve(id int) error {
	return ca.manage(id, func(s *submission) { s.approved, s.refused = true, false })
}

// Refuse is a CA manager's "deny" on a pending request.
func (ca *CA) Refuse(id int) error {
	return ca.manage(id, func(s *submission) { s.approved, s.refused = false, true })
}

func (ca *CA) manage(id int, decide func(*submission)) error {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	s := ca.pending[id]
	if s == nil {
		return &Denied{PropertyEmpty, fmt.Sprintf("there is no request %d", id)}
	}
	decide(s)
	return nil
}

// Waiting are the numbers of the requests that nobody has decided.
func (ca *CA) Waiting() (ids []int) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	for id, s := range ca.pending {
		if !s.approved && !s.refused && s.done == nil && s.denied == nil {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// Retrieve asks for what became of a pending request.
func (ca *CA) Retrieve(ctx context.Context, id int) ([]byte, error) {
	ca.mu.Lock()
	s := ca.pending[id]
	if s == nil {
		ca.mu.Unlock()
		return nil, &Denied{PropertyEmpty, fmt.Sprintf("there is no request %d", id)}
	}
	if s.done != nil || s.denied != nil {
		ca.mu.Unlock()
		return s.done, s.denied
	}
	waited := ca.cfg.Clock().Sub(s.since)
	approved := s.approved || ca.cfg.ApproveAfter > 0 && waited >= ca.cfg.ApproveAfter
	refused := s.refused
	ca.mu.Unlock()
	if err := ca.dawdle(ctx, s.request.host()); err != nil {
		return nil, err
	}
	switch {
	case refused:
		return nil, &Denied{AdminDenied, "a CA manager refused the request"}
	case !approved:
		return nil, &Pending{id}
	}
	return ca.sign(s.template, s.request, s.csr)
}

// sign makes the certificate that the request and its faults lead to.
func (ca *CA) sign(t Template, r Request, csr *x509.CertificateRequest) ([]byte, error) {
	faults := ca.spoilt(r.host())
	is := func(f Fault) bool { return slices.Contains(faults, f) }
	cert, err := ca.fill(t, r, csr, is)
	if err != nil {
		return nil, fmt.Errorf("fill the certificate of %s: %w", r.Account, err)
	}
	by, public := ca.issuing, csr.PublicKey
	if is(OtherCA) {
		by = ca.others[1]
	}
	if is(WrongKey) {
		public = ca.others[1].key.Public()
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, by.cert, public, by.key)
	if err != nil {
		return nil, fmt.Errorf("sign for %s: %w", r.Account, err)
	}
	if is(Garbage) {
		der = der[:len(der)/2]
	}
	return der, nil
}

// fill writes what the template and the account ask for, then spoils it.
func (ca *CA) fill(t Template, r Request, csr *x509.CertificateRequest, is func(Fault) bool) (*x509.Certificate, error) {
	ca.mu.Lock()
	ca.serial++
	number := ca.serial
	ca.mu.Unlock()
	serial, err := ca.cfg.serialNumber(number)
	if err != nil {
		return nil, err
	}
	cert := &x509.Certificate{SerialNumber: serial, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment}
	cert.CRLDistributionPoints, cert.IssuingCertificateURL = ca.cfg.distribution()
	if ca.cfg.Responder {
		cert.OCSPServer = []string{ca.cfg.web() + "/ocsp"}
	}
	ca.date(cert, t, is)
	name(cert, t, r, csr, is)
	if !t.NoServerAuth && !is(NoServerAuth) {
		cert.ExtKeyUsage = append(cert.ExtKeyUsage, x509.ExtKeyUsageServerAuth)
	}
	if t.ClientAuth || is(NoServerAuth) {
		cert.ExtKeyUsage = append(cert.ExtKeyUsage, x509.ExtKeyUsageClientAuth)
	}
	template, err := templateExtension(t)
	if err != nil {
		return nil, err
	}
	policies, err := policiesExtension(cert.ExtKeyUsage)
	if err != nil {
		return nil, err
	}
	cert.ExtraExtensions = []pkix.Extension{template, policies}
	if r.SID == "" || t.SuppliesSubject || is(NoSID) {
		return cert, nil
	}
	sid := r.SID
	if is(WrongSID) {
		sid += "1"
	}
	security, err := securityExtension(sid)
	cert.ExtraExtensions = append(cert.ExtraExtensions, security)
	return cert, err
}

// date begins ten minutes ago, as AD CS does for clocks that are behind.
func (ca *CA) date(cert *x509.Certificate, t Template, is func(Fault) bool) {
	validity := ca.cfg.Validity
	if t.Validity != 0 {
		validity = t.Validity
	}
	now := ca.cfg.Clock()
	switch {
	case is(Expired):
		now, validity = now.Add(-48*time.Hour), 24*time.Hour
	case is(NotYetValid):
		now = now.Add(24 * time.Hour)
	case is(ShortLived):
		validity = time.Hour
	}
	cert.NotBefore, cert.NotAfter = now.Add(-10*time.Minute), now.Add(validity)
}

// name takes the names from the account, or from the request where the template says so.
func name(cert *x509.Certificate, t Template, r Request, csr *x509.CertificateRequest, is func(Fault) bool) {
	common, dns := r.FQDN, []string{r.FQDN}
	if t.SuppliesSubject {
		common, dns = csr.Subject.CommonName, csr.DNSNames
	}
	if is(WrongName) {
		common, dns = "other."+common, []string{"other." + r.host()}
	}
	if !t.NoCommonName && !is(NoCommonName) {
		cert.Subject = pkix.Name{CommonName: common}
	}
	if !is(NoDNSName) {
		cert.DNSNames = dns
	}
}
