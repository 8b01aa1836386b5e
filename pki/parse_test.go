package pki

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// written is a certificate that OpenSSL wrote, see testdata/openssl/make.sh.
func written(t testing.TB, name string) *x509.Certificate {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "openssl", name+".pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestParseReadsWhatOpenSSLWrote(t *testing.T) {
	const issuing = "CN=CORP-CA01-CA,DC=corp,DC=example"
	for name, want := range map[string]Certificate{
		"v2": {Subject: "CN=web01.corp.example", CommonName: "web01.corp.example", DNSNames: []string{"web01.corp.example"}, Issuer: issuing,
			ServerAuth: true, Signature: "ECDSA-SHA256", RequesterSID: "S-1-5-21-1004336348-1177238915-682003330-1105",
			Template: "1.3.6.1.4.1.311.21.8.15138236.9336878.10046135.12217240.13184102.84.2871655.6422463"},
		"v1": {Subject: `CN=web01.corp.example,OU=\#1,O=Corp\, Inc. \+ Co,C=DE`, CommonName: "web01.corp.example",
			DNSNames: []string{"web01.corp.example", "WEB01"}, Issuer: issuing, ServerAuth: true, ClientAuth: true, Signature: "ECDSA-SHA256", Template: "Machine"},
		"noeku": {Subject: "CN=web01.corp.example", CommonName: "web01.corp.example", DNSNames: []string{"web01.corp.example"}, Issuer: issuing,
			ServerAuth: true, ClientAuth: true, Signature: "ECDSA-SHA256"},
		"client": {Subject: "CN=web01.corp.example", CommonName: "web01.corp.example", DNSNames: []string{"web01.corp.example"}, Issuer: issuing,
			ClientAuth: true, Signature: "ECDSA-SHA256"},
		"root": {Subject: "CN=CORP Root CA,DC=corp,DC=example", CommonName: "CORP Root CA", Issuer: "CN=CORP Root CA,DC=corp,DC=example",
			ServerAuth: true, ClientAuth: true, Signature: "ECDSA-SHA256", IsCA: true, SelfSigned: true},
	} {
		t.Run(name, func(t *testing.T) {
			c := written(t, name)
			got, err := ParseCertificate(c.Raw)
			if err != nil {
				t.Fatal(err)
			}
			if got.Thumbprint != ThumbprintOf(c.Raw) || len(got.Thumbprint) != 40 || got.Serial == "" || !got.NotAfter.Equal(c.NotAfter) {
				t.Fatalf("%+v", got)
			}
			got.Thumbprint, got.Serial, got.NotBefore, got.NotAfter = "", "", time.Time{}, time.Time{}
			want.KeyAlgorithm, want.KeyBits = "ECDSA", 256
			if !reflect.DeepEqual(got, want) {
				t.Fatalf("\n got %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestParseRefusesWhatIsNoCertificate(t *testing.T) {
	whole := written(t, "v2").Raw
	for name, der := range map[string][]byte{
		"nothing": nil, "one byte": {0x30}, "text": []byte("-----BEGIN CERTIFICATE-----"), "half of one": whole[:len(whole)/2],
		"one with a tail": append(bytes.Clone(whole), 0), "far too much": make([]byte, MaxCertificate+1),
	} {
		t.Run(name, func(t *testing.T) {
			if c, err := ParseCertificate(der); err == nil || !strings.HasPrefix(err.Error(), "parse a certificate: ") || c.Thumbprint != "" {
				t.Fatalf("%+v %v", c, err)
			}
		})
	}
}

func TestOnlyARealSIDIsOne(t *testing.T) {
	for name, c := range map[string]struct {
		sid  string
		want bool
	}{
		"a computer's":      {"S-1-5-21-1-2-3-1105", true},
		"a well-known one":  {"S-1-1-0", true},
		"in lower case":     {"s-1-1-0", false},
		"empty":             {"", false},
		"with a hole in it": {"S-1-5--1", false},
		"with a tail":       {"S-1-5-21-1-2-3-1105\x00", false},
		"far too long":      {"S-1-" + strings.Repeat("1", 200), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := looksLikeSID(c.sid); got != c.want {
				t.Fatal(got)
			}
		})
	}
}

func TestNamesAreComparedAsPeopleWriteThem(t *testing.T) {
	for name, c := range map[string]struct {
		a, b string
		same bool
	}{
		"the same":                       {"CN=a,DC=b", "CN=a,DC=b", true},
		"blanks after the commas":        {"CN=a, DC=b", "CN=a,DC=b", true},
		"another case":                   {"cn=A,dc=B", "CN=a,DC=b", true},
		"a blank inside of a value":      {"CN=a b,DC=c", "CN=ab,DC=c", false},
		"a comma that belongs to a name": {`CN=a\, b,DC=c`, `CN=a\,b,DC=c`, false},
		"another order":                  {"DC=b,CN=a", "CN=a,DC=b", false},
		"nothing and nothing":            {"", "", true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := sameName(c.a, c.b); got != c.same {
				t.Fatal(got)
			}
		})
	}
}

// FuzzParseCertificate: foreign bytes are parsed or refused, and facts are facts
// of the very bytes.
func FuzzParseCertificate(f *testing.F) {
	for _, name := range []string{"v1", "v2", "noeku", "root"} {
		f.Add(written(f, name).Raw)
	}
	f.Fuzz(func(t *testing.T, der []byte) {
		c, err := ParseCertificate(der)
		if err == nil && (c.Thumbprint != ThumbprintOf(der) || len(c.Thumbprint) != 40) {
			t.Fatalf("%+v", c)
		}
	})
}

// FuzzExtensions reads what a CA may have written into its own extensions.
func FuzzExtensions(f *testing.F) {
	for _, name := range []string{"v1", "v2"} {
		for _, e := range written(f, name).Extensions {
			f.Add(e.Value)
		}
		f.Add(written(f, name).RawSubject)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		templateOID(b)
		bmpString(b)
		DistinguishedName(b)
		if sid := requesterSID(b); sid != "" && !looksLikeSID(sid) {
			t.Fatal(sid)
		}
	})
}
