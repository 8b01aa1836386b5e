package lab

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"wavelock/ldapdisco/ldaptest"
	"wavelock/ldapdisco/logon/logontest"
	"wavelock/pki/adcstest"
	"wavelock/rollout/machinetest"
)

const (
	caHost       = "ca01." + domain
	relayAccount = "svc-wavelock" // may enroll by the relay template, and nobody else may
)

// relayRID is the relative id of that account.
const relayRID = 1601

// published is a template, once for the CA and once for the directory.
type published struct {
	adcstest.Template
	nameFlags, enrollmentFlags string
	enroll                     uint32 // relative id of who may
}

var issued = []published{
	{adcstest.Template{Name: template, OID: oid}, "402653184", "32", ldaptest.RIDDomainComputers}, // DNS name as CN and in the SAN; autoenrollment
	{adcstest.Template{Name: "WinRMRelay", OID: oid + ".1", SuppliesSubject: true, Enroll: []string{relayAccount}}, "1", "0", relayRID},
	{adcstest.Template{Name: "WinRMApproved", OID: oid + ".2", SuppliesSubject: true, Pend: true, Enroll: []string{relayAccount}}, "1", "2", relayRID},
}

func (l *Lab) makeCA() error {
	address := netip.AddrFrom4([4]byte{127, byte(l.first), 0, 1}).String()
	web, err := net.Listen("tcp", net.JoinHostPort(address, "0")) // its port is written into every certificate
	if err != nil {
		return fmt.Errorf("start the CA's web server: %w", err)
	}
	_, port, err := net.SplitHostPort(web.Addr().String())
	if err != nil {
		return errors.Join(err, web.Close())
	}
	cfg := adcstest.Config{Name: "CORP-CA01-CA", Host: "ca01", Domain: domain, Validity: l.cfg.Validity, Clock: l.cfg.Clock, Web: "http://" + net.JoinHostPort(caHost, port), Responder: true}
	for _, t := range issued {
		cfg.Templates = append(cfg.Templates, t.Template)
	}
	if l.ca, err = adcstest.New(cfg); err != nil {
		return errors.Join(err, web.Close())
	}
	l.caWeb = &http.Server{Handler: l.ca.Handler(), ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(l.cfg.Log.Handler(), slog.LevelDebug)}
	go func() { // ends with Close
		if err := l.caWeb.Serve(web); !errors.Is(err, http.ErrServerClosed) {
			l.cfg.Log.Error("the CA's web server ended", "err", err)
		}
	}()
	if l.kdc, err = logontest.StartKDC(l.accounts); err != nil {
		return fmt.Errorf("start the KDC: %w", err)
	}
	host := &logontest.Host{Directory: l.accounts, NetBIOSName: "CA01", DNSName: caHost, Keytab: l.kdc.Register("host/" + caHost)}
	if l.ca01, err = l.ca.Serve(adcstest.Endpoint{Host: host, Account: l.account, Address: address, Log: l.cfg.Log}); err != nil {
		return err
	}
	l.records[caHost] = address
	return nil
}

// CA is the domain's authority, for whoever wants to play its manager or make it unkind.
func (l *Lab) CA() *adcstest.CA { return l.ca }

// account is what the directory knows of an account that logs on to the CA.
func (l *Lab) account(user string) (adcstest.Account, bool) {
	_, name, _ := strings.Cut(user, `\`)
	fqdn := strings.ToLower(strings.TrimSuffix(name, "$")) + "." + domain
	if !strings.HasSuffix(name, "$") || l.hosts[fqdn] == nil {
		return adcstest.Account{}, false
	}
	return adcstest.Account{FQDN: fqdn}, true
}

func (l *Lab) makeDirectory() error {
	cert, err := l.controllerCertificate()
	if err != nil {
		return fmt.Errorf("certify the domain controller: %w", err)
	}
	s, err := ldaptest.Start(ldaptest.Config{Directory: l.accounts, Host: "dc1." + domain, Certificate: cert, Roots: l.ca.Roots(), Keytab: l.kdc.Register("ldap/dc1." + domain)})
	if err != nil {
		return fmt.Errorf("start the directory: %w", err)
	}
	l.ldap = s
	var names []string
	for _, t := range issued {
		names = append(names, t.Name)
		if err := s.AddTemplate(t.Name, l.templateAttributes(t)...); err != nil {
			return err
		}
	}
	list, err := l.ca.List(false)
	if err != nil {
		return err
	}
	return errors.Join(l.makePolicies(), s.AddSite("Default-First-Site-Name", "127.0.0.0/8"), s.AddSite("Elsewhere", "10.0.0.0/8"), s.AddAccount(relayAccount, relayRID), s.AddAuthority(l.ca.Name(), caHost, l.ca.Issuing(), names...), s.AddRoot("CORP Root CA", l.ca.Root()), s.AddList(l.ca.Name(), "ca01", list))
}

// makePolicies puts the Group Policy objects that the computers name into the directory.
func (l *Lab) makePolicies() error {
	const at = "CN=Policies,CN=System,DC=corp,DC=example"
	return l.ldap.LDIF(`dn: CN=System,DC=corp,DC=example
objectClass: container

dn: ` + at + `
objectClass: container

dn: CN={6AC1786C-016F-11D2-945F-00C04FB984F9},` + at + `
objectClass: groupPolicyContainer
displayName: WinRM for servers
gPCFileSysPath: \\corp.example\SysVol\corp.example\Policies\{6AC1786C-016F-11D2-945F-00C04FB984F9}
flags: 0

dn: OU=Servers,DC=corp,DC=example
objectClass: organizationalUnit
gPLink: [LDAP://cn={6AC1786C-016F-11D2-945F-00C04FB984F9},cn=policies,cn=system,DC=corp,DC=example;0]
`)
}

// templateAttributes is a template as the directory holds it.
func (l *Lab) templateAttributes(t published) []ldaptest.Attribute {
	validity := l.cfg.Validity
	if validity == 0 {
		validity = 365 * 24 * time.Hour
	}
	one := func(name, value string) ldaptest.Attribute {
		return ldaptest.Attribute{Name: name, Values: []string{value}}
	}
	return []ldaptest.Attribute{
		one("msPKI-Cert-Template-OID", t.OID), one("msPKI-Template-Schema-Version", "2"), one("msPKI-Certificate-Name-Flag", t.nameFlags),
		one("msPKI-Enrollment-Flag", t.enrollmentFlags), one("flags", "131648"), one("msPKI-Minimal-Key-Size", "2048"),
		one("nTSecurityDescriptor", ldaptest.EnrollDescriptor(t.enroll)), one("pKIExtendedKeyUsage", "1.3.6.1.5.5.7.3.1"),
		one("pKIExpirationPeriod", ldaptest.Period(validity)), one("pKIOverlapPeriod", ldaptest.Period(validity*42/365)),
	}
}

// SetTemplate makes a template in the directory that the CA is said to issue, or changes who may enroll by one that is
// there, as an administrator of the certificates does. The CA itself does not learn of it.
func (l *Lab) SetTemplate(name, nameFlags string, rid uint32) error {
	dn := "CN=" + name + ",CN=Certificate Templates,CN=Public Key Services,CN=Services," + l.ldap.ConfigDN()
	if _, err := l.ldap.Entry(dn); err == nil {
		return l.ldap.Set(dn, "nTSecurityDescriptor", ldaptest.EnrollDescriptor(rid))
	}
	t := published{adcstest.Template{Name: name, OID: oid + ".99"}, nameFlags, "0", rid}
	if err := l.ldap.AddTemplate(name, l.templateAttributes(t)...); err != nil {
		return err
	}
	ca := "CN=" + l.ca.Name() + ",CN=Enrollment Services,CN=Public Key Services,CN=Services," + l.ldap.ConfigDN()
	e, err := l.ldap.Entry(ca)
	if err != nil {
		return err
	}
	return l.ldap.Set(ca, "certificateTemplates", append(e.Values("certificateTemplates"), name)...)
}

// enroll hands a computer's request to the CA, in the computer's name.
func (l *Lab) enroll(ctx context.Context, r machinetest.EnrollRequest) ([]byte, error) {
	der, err := l.ca.Issue(ctx, adcstest.Request{Account: r.Account, FQDN: r.FQDN, Template: r.Template, CSR: r.CSR})
	var pending *adcstest.Pending
	var denied *adcstest.Denied
	switch {
	case errors.As(err, &pending):
		return nil, &machinetest.EnrollError{Pending: true}
	case errors.As(err, &denied):
		return nil, &machinetest.EnrollError{HRESULT: denied.HRESULT}
	}
	return der, err
}

// controllerCertificate is the one for LDAPS, from the domain's own CA.
func (l *Lab) controllerCertificate() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, err
	}
	der, err := l.ca.Issue(context.Background(), adcstest.Request{Account: "DC1$", FQDN: "dc1." + domain, Template: template, CSR: csr})
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, l.ca.Issuing()}, PrivateKey: key, Leaf: leaf}, nil
}

// Rebind has a computer's http.sys present another certificate of its own than its listener is configured with, as
// software that looks after certificates does.
func (l *Lab) Rebind(host string) error {
	h, err := l.host(host)
	if err != nil {
		return err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return err
	}
	name, _, _ := strings.Cut(host, ".")
	der, err := l.ca.Issue(context.Background(), adcstest.Request{Account: strings.ToUpper(name) + "$", FQDN: host, Template: template, CSR: csr})
	if err != nil {
		return err
	}
	h.Bind(der, key)
	return nil
}
