package pki

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"testing"

	"go.mozilla.org/pkcs7"
)

func bundle(t testing.TB) []byte {
	t.Helper()
	text, err := os.ReadFile("testdata/openssl/chain.p7b")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	return block.Bytes
}

func TestParseChainReadsWhatOpenSSLBundled(t *testing.T) {
	certs, err := ParseChain(bundle(t))
	if err != nil || len(certs) != 3 {
		t.Fatal(len(certs), err)
	}
	want := written(t, "v2")
	leaf, others, err := LeafOf(certs, want.PublicKey)
	if err != nil || !leaf.Equal(want) || len(others) != 2 {
		t.Fatal(leaf, err)
	}
	var p *Problem
	if _, _, err := LeafOf(certs, written(t, "v1").PublicKey); !errors.As(err, &p) || p.Code != CodeWrongKey {
		t.Fatal(err)
	}
	if _, _, err := LeafOf(certs, written(t, "issuing").PublicKey); !errors.As(err, &p) {
		t.Fatal("a CA's certificate was taken for the leaf")
	}
	if _, _, err := LeafOf(certs, (*rsa.PublicKey)(nil)); !errors.As(err, &p) {
		t.Fatal(err)
	}
}

func TestParseChainRefusesWhatIsNone(t *testing.T) {
	good := bundle(t)
	empty, err := pkcs7.DegenerateCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	garbage := mustMarshal(t, struct {
		OID     asn1.ObjectIdentifier
		Content asn1.RawValue
	}{pkcs7.OIDSignedData, asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: []byte{4, 1, 1}}})
	deep := make([]byte, 2*MaxChain)
	for i := 0; i < len(deep); i += 2 {
		deep[i], deep[i+1] = 0x30, 0x80
	}
	overlapping := append(bytes.Repeat([]byte{0x30, 6, 0x30, 2}, 100), bytes.Repeat([]byte{4, 0}, 20)...)
	for name, b := range map[string][]byte{
		"parts that overlap": overlapping, "one with a tail": append(bytes.Clone(good), 0), "an indefinite length": {0x30, 0x80, 0x04, 0x00, 0x00, 0x00},
		"a tag without an end": {0x3f, 0xff, 0xff}, "a length of five bytes": {0x30, 0x85, 1, 1, 1, 1, 1}, "a length without its bytes": {0x30, 0x82, 1},
		"nothing": nil, "one byte": {0x30}, "two bytes": {0x30, 0x80}, "half of one": good[:len(good)/2], "a certificate": written(t, "v2").Raw,
		"one without certificates": empty, "a SignedData that is none": garbage, "nested as deep as may be": deep[:MaxChain], "nested deeper": deep,
		"eight megabytes of it": bytes.Repeat([]byte{0x30, 0x80}, 4<<20), "eight megabytes, well formed": mustMarshal(t, make([]byte, 8<<20)),
	} {
		t.Run(name, func(t *testing.T) {
			certs, err := ParseChain(b)
			var p *Problem
			if !errors.As(err, &p) || p.Code != CodeBadAnswer || certs != nil {
				t.Fatalf("%d %v", len(certs), err)
			}
		})
	}
}

func TestVerifyIssuedBelievesNothing(t *testing.T) {
	root := make509(t, nil, authority("Root"))
	issuing := make509(t, root, authority("Issuing"))
	other := make509(t, make509(t, nil, authority("Other Root")), authority("Other"))
	roots := x509.NewCertPool()
	roots.AddCert(root.cert)
	const sid = domainSID + "-1105"
	sidExtension := func(sid string) func(*x509.Certificate) {
		v := mustMarshal(t, []asn1.RawValue{{Class: 2, Tag: 0, IsCompound: true, Bytes: append(mustMarshal(t, oidObjectSID),
			mustMarshal(t, asn1.RawValue{Class: 2, Tag: 0, IsCompound: true, Bytes: mustMarshal(t, []byte(sid))})...)}})
		return func(c *x509.Certificate) { c.ExtraExtensions = []pkix.Extension{{Id: oidSecurity, Value: v}} }
	}
	for name, c := range map[string]struct {
		by     *signer
		change func(*x509.Certificate)
		want   func(*Issued)
		code   string
	}{
		"all is well":              {issuing, sidExtension(sid), nil, ""},
		"without a SID":            {issuing, nil, nil, ""},
		"another computer's SID":   {issuing, sidExtension(domainSID + "-1106"), nil, CodeWrongSID},
		"another key":              {issuing, nil, func(w *Issued) { w.Key = other.key.Public() }, CodeWrongKey},
		"no key":                   {issuing, nil, func(w *Issued) { w.Key = nil }, CodeWrongKey},
		"another common name":      {issuing, func(c *x509.Certificate) { c.Subject.CommonName = "web01" }, nil, CodeWrongName},
		"another alternative name": {issuing, func(c *x509.Certificate) { c.DNSNames = []string{"web02.corp.example"} }, nil, CodeWrongName},
		"for clients":              {issuing, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, nil, CodeWrongUsage},
		"a CA's":                   {issuing, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }, nil, CodeWrongUsage},
		"expired":                  {issuing, func(c *x509.Certificate) { c.NotAfter = noon.AddDate(0, 0, -1) }, nil, CodeExpired},
		"another CA's":             {other, nil, nil, CodeUntrusted},
		"no roots are known":       {issuing, nil, func(w *Issued) { w.Roots = nil }, CodeUntrusted},
	} {
		t.Run(name, func(t *testing.T) {
			got := make509(t, c.by, func(x *x509.Certificate) {
				leaf(x)
				if c.change != nil {
					c.change(x)
				}
			})
			want := Issued{Key: got.key.Public(), Name: host, SID: sid, Roots: roots}
			if c.want != nil {
				c.want(&want)
			}
			chain, err := VerifyIssued(got.cert, []*x509.Certificate{got.cert, root.cert, c.by.cert}, want, noon)
			var p *Problem
			switch {
			case c.code == "" && (err != nil || len(chain) != 3):
				t.Fatal(err)
			case c.code != "" && (!errors.As(err, &p) || p.Code != c.code || p.Hint() == ""):
				t.Fatalf("want %s, got %v", c.code, err)
			}
		})
	}
}

func TestParseIssuedRefusesWhatIsNoCertificate(t *testing.T) {
	if c, err := ParseIssued(written(t, "v2").Raw); err != nil || c.DNSNames[0] != host {
		t.Fatal(err)
	}
	for _, b := range [][]byte{nil, {0x30}, make([]byte, MaxCertificate+1)} {
		var p *Problem
		if _, err := ParseIssued(b); !errors.As(err, &p) || p.Code != CodeBadAnswer {
			t.Fatal(err)
		}
	}
}

// FuzzParseChain: whatever comes is read or refused, and soon.
func FuzzParseChain(f *testing.F) {
	f.Add(bundle(f))
	f.Add(bytes.Repeat([]byte{0x30, 6, 0x30, 2}, 30))
	f.Add([]byte{0x30, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		certs, err := ParseChain(b)
		if (err == nil) != (len(certs) > 0) {
			t.Fatal(len(certs), err)
		}
	})
}

// A certificate with thousands of names is read where it is small enough, and refused where it is not, by everybody who reads one.
func TestCertificatesWithManyNames(t *testing.T) {
	for n, fits := range map[int]bool{1000: true, 20_000: false} {
		huge := make509(t, nil, func(c *x509.Certificate) {
			for i := range n {
				c.DNSNames = append(c.DNSNames, fmt.Sprintf("name%06d.corp.example", i))
			}
		}).cert
		var p *Problem
		if _, err := ParseIssued(huge.Raw); (err == nil) != fits || !fits && (!errors.As(err, &p) || p.Code != CodeBadAnswer || p.Hint() == "") {
			t.Errorf("%d names, as issued: %v", n, err)
		}
		if c, err := ParseCertificate(huge.Raw); (err == nil) != fits || fits && len(c.DNSNames) < n {
			t.Errorf("%d names, in a store: %d, %v", n, len(c.DNSNames), err)
		}
		roots := x509.NewCertPool()
		roots.AddCert(huge)
		if _, err := VerifyPresented([]*x509.Certificate{huge}, roots, "elsewhere.corp.example", noon); !errors.As(err, &p) {
			t.Errorf("%d names, presented: %v", n, err)
		}
	}
}
