package machine_test

import (
	"bufio"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"net/http"
	"strings"
	"testing"
	"time"

	"wavelock/ldapdisco/logon"
	"wavelock/rollout"
	"wavelock/rollout/machinetest"
	"wavelock/rollout/wsman"
)

// userCA issues certificates to people.
type userCA struct {
	t    *testing.T
	cert *x509.Certificate
	key  crypto.Signer
}

func newUserCA(t *testing.T) *userCA {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Users CA"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err = x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &userCA{t, c, key}
}

// login is a certificate of the user, changed where the test wants it.
func (u *userCA) login(upn string, change func(*x509.Certificate)) tls.Certificate {
	u.t.Helper()
	other, err := asn1.MarshalWithParams(struct {
		Type  asn1.ObjectIdentifier
		Value string `asn1:"tag:0,explicit,utf8"`
	}{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}, upn}, "tag:0")
	if err != nil {
		u.t.Fatal(err)
	}
	names, err := asn1.Marshal([]asn1.RawValue{{FullBytes: other}})
	if err != nil {
		u.t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		u.t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "somebody"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: names}}}
	if change != nil {
		change(c)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, u.cert, key.Public(), u.key)
	if err != nil {
		u.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestACertificateIsACredential(t *testing.T) {
	t.Parallel()
	b, people, strangers := setup(t), newUserCA(t), newUserCA(t)
	b.want(rollout.ActSecure, rollout.Passed)
	alice := people.login("alice@corp.example", nil)
	as := func(c tls.Certificate) error {
		t.Helper()
		l, err := logon.Certificate(c)
		if err != nil {
			t.Fatal(err)
		}
		b.cfg.Login = func(rollout.Host) logon.Login { return l }
		b.timeout(5 * time.Second)
		m := b.open()
		defer m.Close()
		_, err = m.Probe(t.Context())
		return err
	}
	refused := func(what string, c tls.Certificate) {
		t.Helper()
		var auth *wsman.AuthError
		if err := as(c); !errors.As(err, &auth) || auth.Status != 401 || !strings.Contains(auth.Hint(), "certmapping") || !strings.Contains(err.Error(), "@corp.example") {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("Auth/Certificate is off, as it is everywhere at first", alice)
	b.win.MapCertificate(people.cert.Raw, "alice@corp.example", "admin", "Passw0rd.1")
	refused("the issuer is none of the host's roots", alice)
	b.win.InstallRoot(people.cert.Raw)
	if err := as(alice); err != nil {
		t.Fatalf("a mapped certificate: %v", err)
	}
	refused("another user", people.login("bob@corp.example", nil))
	refused("another issuer", strangers.login("alice@corp.example", nil))
	refused("an expired certificate", people.login("alice@corp.example", func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }))
	b.win.InstallRoot(strangers.cert.Raw)
	refused("an issuer that is trusted and not mapped", strangers.login("alice@corp.example", nil))

	// With the credential alone the whole way can be gone once there is HTTPS.
	if err := as(alice); err != nil {
		t.Fatal(err)
	}
	b.want(rollout.ActObserve, rollout.Passed)
	b.want(rollout.ActClose, rollout.Passed)
	b.doors(false, true)
}

// Where there is no HTTPS yet nothing is sent to the HTTP port, and the reason is said.
func TestACertificateIsNotForHTTP(t *testing.T) {
	t.Parallel()
	b := setup(t)
	l, err := logon.Certificate(newUserCA(t).login("alice@corp.example", nil))
	if err != nil {
		t.Fatal(err)
	}
	b.cfg.Login = func(rollout.Host) logon.Login { return l }
	b.timeout(5 * time.Second)
	before := b.win.Requests()
	end, _, _ := b.do(rollout.ActSecure)
	if end.Outcome == rollout.Passed || end.Reason != rollout.ReasonLogonRefused || b.win.Requests() != before || !strings.Contains(end.Detail, "this is HTTP") {
		t.Errorf("%+v after %d requests", end, b.win.Requests()-before)
	}
}

// In TLS 1.3 http.sys can ask for a certificate only in the handshake, and does so only if the binding says so (DefaultFlags 0x2:
// netsh's clientcertnegotiation). That is why our client offers no more than TLS 1.2 with a certificate.
func TestTLS13AsksForACertificateInTheHandshakeOnly(t *testing.T) {
	t.Parallel()
	b, people := setup(t), newUserCA(t)
	b.want(rollout.ActSecure, rollout.Passed)
	b.win.InstallRoot(people.cert.Raw)
	b.win.MapCertificate(people.cert.Raw, "*@corp.example", "admin", "Passw0rd.1")
	alice := people.login("alice@corp.example", nil)
	identify := func(version uint16) (asked bool, status int) {
		t.Helper()
		conn, err := tls.Dial("tcp", b.win.Address(5986), &tls.Config{RootCAs: b.cfg.Roots, ServerName: string(b.host.ID), MinVersion: version, MaxVersion: version,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				asked = true
				return &alice, nil
			}})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		const body = `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><i:Identify xmlns:i="http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd"/></s:Body></s:Envelope>`
		req, err := http.NewRequest(http.MethodPost, "https://web01.corp.example:5986/wsman", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", logon.SchemeCertificate)
		if err := req.Write(conn); err != nil {
			t.Fatal(err)
		}
		resp, err := http.ReadResponse(bufio.NewReader(conn), req)
		if err != nil {
			return asked, 0
		}
		resp.Body.Close()
		return asked, resp.StatusCode
	}
	if asked, status := identify(tls.VersionTLS12); !asked || status != 200 {
		t.Errorf("TLS 1.2: asked %v, HTTP %d", asked, status)
	}
	if asked, status := identify(tls.VersionTLS13); asked || status != 0 {
		t.Errorf("TLS 1.3: asked %v, HTTP %d instead of a connection that ends", asked, status)
	}
	b.win.Registry(func(r *machinetest.Registry) {
		r.SetNum(`SYSTEM\CurrentControlSet\Services\HTTP\Parameters\SslBindingInfo\0.0.0.0:5986`, "DefaultFlags", 2)
	})
	if asked, status := identify(tls.VersionTLS13); !asked || status != 200 {
		t.Errorf("TLS 1.3 where the binding asks: asked %v, HTTP %d", asked, status)
	}
}
