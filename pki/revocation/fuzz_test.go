package revocation

import (
	"crypto/x509"
	"testing"
	"time"

	"wavelock/pki/adcstest"
)

// FuzzForeignBytes holds that whatever a web server or responder sends gives a judgement and nothing else, and that
// nothing is taken for good that the CA did not sign.
func FuzzForeignBytes(f *testing.F) {
	ca, err := adcstest.New(adcstest.Config{Keys: adcstest.NewKeyPool(adcstest.P256, 0)})
	if err != nil {
		f.Fatal(err)
	}
	issuer, err := x509.ParseCertificate(ca.Issuing())
	if err != nil {
		f.Fatal(err)
	}
	good := map[string]bool{}
	for _, delta := range []bool{false, true} {
		list, err := ca.List(delta)
		if err != nil {
			f.Fatal(err)
		}
		good[string(list)] = true
		f.Add(list)
		f.Add(list[:len(list)/2])
	}
	f.Add([]byte("<html>"))
	f.Add([]byte{0x30, 0x80, 0x30, 0x80})
	f.Add([]byte{0x30, 0x03, 0x0a, 0x01, 3})
	c := New(Config{Now: time.Now})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := c.judgeList(raw, issuer, "http://ca01/list.crl"); err == nil && !good[string(raw)] {
			// ECDSA signatures can be written in more than one way; what they sign cannot.
			if parsed, perr := x509.ParseRevocationList(raw); perr != nil || parsed.CheckSignatureFrom(issuer) != nil {
				t.Fatalf("a list that the CA did not sign is taken: %x", raw)
			}
		} else if err != nil && (err.Code == "" || err.Hint() == "") {
			t.Fatalf("%+v has no code or hint", err)
		}
		if r, err := c.judgeResponse(raw, nil, issuer, issuer, "http://ca01/ocsp"); err == nil {
			t.Fatalf("an answer that nobody made is taken: %+v", r)
		}
		_, _ = points(raw)
		_, _, _ = nonceOf(raw)
		_, _ = withNonce(raw, nil)
	})
}
