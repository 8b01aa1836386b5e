package logon

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"math/big"
	"strings"
	"testing"
	"time"
)

func TestCertificate(t *testing.T) {
	t.Parallel()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	// An otherName of another type first, then a name for mail, then the UPN: as the template User has them.
	names := []byte{0xa0, 0x0b, 0x06, 0x03, 0x2a, 0x03, 0x04, 0xa0, 0x04, 0x0c, 0x02, 'n', 'o', 0x81, 0x03, 'a', '@', 'b'}
	upn := append([]byte{0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, 0x14, 0x02, 0x03, 0xa0, 0x0a, 0x0c, 0x08}, "al@x.tld"...)
	names = append(names, append([]byte{0xa0, byte(len(upn))}, upn...)...)
	made := func(usage x509.ExtKeyUsage, san []byte) tls.Certificate {
		c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "al"}, NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{usage}}
		if san != nil {
			c.ExtraExtensions = []pkix.Extension{{Id: subjectAltName, Value: append([]byte{0x30, byte(len(san))}, san...)}}
		}
		der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	}
	for name, x := range map[string]struct {
		tls.Certificate
		principal, wrong string
	}{
		"with a UPN":          {made(x509.ExtKeyUsageClientAuth, names), "the certificate of al@x.tld", ""},
		"without a UPN":       {made(x509.ExtKeyUsageClientAuth, nil), "the certificate of CN=al", ""},
		"with broken names":   {made(x509.ExtKeyUsageClientAuth, []byte{0xa0, 0x02, 0x06, 0x00}), "the certificate of CN=al", ""},
		"for servers":         {made(x509.ExtKeyUsageServerAuth, names), "", "not for client authentication"},
		"without a key":       {tls.Certificate{Certificate: made(x509.ExtKeyUsageClientAuth, nil).Certificate}, "", "private key"},
		"that is no such one": {tls.Certificate{Certificate: [][]byte{{1}}, PrivateKey: key}, "", "the client certificate"},
		"without anything":    {tls.Certificate{}, "", "private key"},
	} {
		l, err := Certificate(x.Certificate)
		if err != nil {
			if x.wrong == "" || !strings.Contains(err.Error(), x.wrong) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if x.wrong != "" || l.Principal() != x.principal || ClientCertificate(l) == nil {
			t.Errorf("%s: taken as %q", name, l.Principal())
		}
		if _, err := l.Start(t.Context(), Service{Class: "HTTP", Host: "h"}, nil); err == nil || !strings.Contains(err.Error(), "HTTP") {
			t.Errorf("%s, over HTTP: %v", name, err)
		}
	}
	if ClientCertificate(NTLM("CORP", "a", "b")) != nil {
		t.Error("a password shows a certificate")
	}
}

func FuzzUserPrincipalName(f *testing.F) {
	f.Add([]byte{0x30, 0x0b, 0xa0, 0x09, 0x06, 0x01, 0x2a, 0xa0, 0x04, 0x0c, 0x02, 'n', 'o'})
	f.Fuzz(func(_ *testing.T, san []byte) {
		UserPrincipalName(&x509.Certificate{Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: san}}})
	})
}
