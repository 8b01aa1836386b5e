package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"testing"
)

const host = "web01.corp.example"

func mustMarshal(t testing.TB, v any) []byte {
	t.Helper()
	b, err := asn1.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func makeCSR(t testing.TB, key any, change func(*x509.CertificateRequest)) []byte {
	t.Helper()
	r := &x509.CertificateRequest{Subject: pkix.Name{CommonName: host}, DNSNames: []string{host}}
	if change != nil {
		change(r)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, r, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// attribute10 is an attribute of a PKCS #10 with any number of values.
type attribute10 struct {
	ID     asn1.ObjectIdentifier
	Values []asn1.RawValue `asn1:"set"`
}

// rawCSR signs a request with attributes that x509 would not write.
func rawCSR(t testing.TB, key *ecdsa.PrivateKey, attributes ...attribute10) []byte {
	t.Helper()
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	info := mustMarshal(t, struct {
		Version    int
		Subject    pkix.RDNSequence
		Key        asn1.RawValue
		Attributes []attribute10 `asn1:"tag:0,set"`
	}{0, pkix.Name{CommonName: host}.ToRDNSequence(), asn1.RawValue{FullBytes: public}, attributes})
	sum := sha256.Sum256(info)
	sig, err := ecdsa.SignASN1(rand.Reader, key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return mustMarshal(t, struct {
		Info      asn1.RawValue
		Algorithm pkix.AlgorithmIdentifier
		Signature asn1.BitString
	}{asn1.RawValue{FullBytes: info}, pkix.AlgorithmIdentifier{Algorithm: asn1.ObjectIdentifier{1, 2, 840, 10045, 4, 3, 2}}, asn1.BitString{Bytes: sig, BitLength: 8 * len(sig)}})
}

func TestARelayedRequestAsksForOneServerAndNothingElse(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	dns := func(names ...string) asn1.RawValue {
		var all []asn1.RawValue
		for _, n := range names {
			all = append(all, asn1.RawValue{Class: 2, Tag: 2, Bytes: []byte(n)})
		}
		return asn1.RawValue{FullBytes: mustMarshal(t, []struct {
			ID    asn1.ObjectIdentifier
			Value []byte
		}{{oidSubjectAlt, mustMarshal(t, all)}})}
	}
	upn := []asn1.RawValue{{Class: 2, Tag: 2, Bytes: []byte(host)}, {Class: 2, Tag: 0, IsCompound: true,
		Bytes: append(mustMarshal(t, asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}), 0xa0, 7, 0x0c, 5, 'a', 'd', 'm', 'i', 'n')}}
	wanted := asn1.ObjectIdentifier{1, 2, 840, 113549, 1, 9, 14}
	ext := func(id asn1.ObjectIdentifier, v any) func(*x509.CertificateRequest) {
		return func(r *x509.CertificateRequest) {
			r.ExtraExtensions = append(r.ExtraExtensions, pkix.Extension{Id: id, Value: mustMarshal(t, v)})
		}
	}
	server := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}
	client := asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2}
	type policy struct{ ID asn1.ObjectIdentifier }
	with := func(change func(*x509.CertificateRequest)) []byte { return makeCSR(t, key, change) }
	for name, c := range map[string]struct {
		der  []byte
		code string
	}{
		"as certreq makes it": {with(func(r *x509.CertificateRequest) {
			ext(oidExtKeyUsage, []asn1.ObjectIdentifier{server})(r)
			ext(oidAppPolicies, []policy{{server}})(r)
			ext(oidBasicConstraints, struct{}{})(r)
		}), ""},
		"with the names alone":                {with(nil), ""},
		"in another case":                     {with(func(r *x509.CertificateRequest) { r.Subject.CommonName = "WEB01.corp.example" }), ""},
		"what is no request":                  {[]byte("MII..."), CodeBadRequest},
		"nothing":                             {nil, CodeBadRequest},
		"far too long":                        {make([]byte, MaxRequest+1), CodeBadRequest},
		"changed after it was signed":         {tampered(with(nil)), CodeBadRequest},
		"in another computer's name":          {with(func(r *x509.CertificateRequest) { r.Subject.CommonName = "dc01.corp.example" }), CodeRequestName},
		"for two names":                       {with(func(r *x509.CertificateRequest) { r.DNSNames = append(r.DNSNames, "dc01.corp.example") }), CodeRequestName},
		"for a wildcard":                      {with(func(r *x509.CertificateRequest) { r.DNSNames = []string{"*.corp.example"} }), CodeRequestName},
		"without an alternative name":         {with(func(r *x509.CertificateRequest) { r.DNSNames = nil }), CodeRequestName},
		"without a subject":                   {with(func(r *x509.CertificateRequest) { r.Subject = pkix.Name{} }), CodeRequestName},
		"with an organisation in the subject": {with(func(r *x509.CertificateRequest) { r.Subject.Organization = []string{"Corp"} }), CodeRequestName},
		"with two common names": {with(func(r *x509.CertificateRequest) {
			r.Subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: oidCommonName, Value: "dc01"}, {Type: oidCommonName, Value: host}}
		}), CodeRequestName},
		"with a user's name beside the host's": {with(func(r *x509.CertificateRequest) { r.DNSNames = nil; ext(oidSubjectAlt, upn)(r) }), CodeRequestAsksOther},
		"with a mail address":                  {with(func(r *x509.CertificateRequest) { r.EmailAddresses = []string{"a@corp.example"} }), CodeRequestAsksOther},
		"for a logon":                          {with(ext(oidExtKeyUsage, []asn1.ObjectIdentifier{server, client})), CodeRequestAsksOther},
		"for a logon by application policy":    {with(ext(oidAppPolicies, []policy{{client}})), CodeRequestAsksOther},
		"with a SID of its own":                {with(ext(oidSecurity, []asn1.RawValue{})), CodeRequestAsksOther},
		"with a template of its own":           {with(ext(oidTemplateName, "DomainController")), CodeRequestAsksOther},
		"to be a CA":                           {with(ext(oidBasicConstraints, struct{ IsCA bool }{true})), CodeRequestAsksOther},
		"with a short RSA key":                 {makeCSR(t, small, nil), CodeRequestKey},
		"with the names in a raw request":      {rawCSR(t, key, attribute10{wanted, []asn1.RawValue{dns(host)}}), ""},
		"with a second list of extensions":     {rawCSR(t, key, attribute10{wanted, []asn1.RawValue{dns(host), dns("dc01.corp.example")}}), CodeBadRequest},
		"with a second attribute of the kind":  {rawCSR(t, key, attribute10{wanted, []asn1.RawValue{dns(host)}}, attribute10{wanted, []asn1.RawValue{dns("dc01.corp.example")}}), CodeBadRequest},
		"with name and value pairs for the CA": {rawCSR(t, key, attribute10{wanted, []asn1.RawValue{dns(host)}}, attribute10{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 13, 2, 1},
			[]asn1.RawValue{{FullBytes: mustMarshal(t, "SAN")}}}), CodeRequestAsksOther},
		"with Microsoft's list of extensions": {rawCSR(t, key, attribute10{wanted, []asn1.RawValue{dns(host)}}, attribute10{asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 2, 1, 14},
			[]asn1.RawValue{dns("dc01.corp.example")}}), CodeRequestAsksOther},
	} {
		t.Run(name, func(t *testing.T) {
			csr, err := CheckRequest(c.der, host, 2048)
			var p *Problem
			switch {
			case c.code == "" && (err != nil || csr == nil):
				t.Fatal(err)
			case c.code != "" && (!errors.As(err, &p) || p.Code != c.code || p.Hint() == "" || csr != nil):
				t.Fatalf("want %s, got %v", c.code, err)
			}
		})
	}
	t.Run("for a computer without a name in the directory", func(t *testing.T) {
		var p *Problem
		if _, err := CheckRequest(with(nil), "", 2048); !errors.As(err, &p) || p.Code != CodeRequestName {
			t.Fatal(err)
		}
	})
}

func tampered(der []byte) []byte {
	der[len(der)-3] ^= 1
	return der
}

// FuzzCheckRequest: whatever passes is in the one name, however it was written.
func FuzzCheckRequest(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(makeCSR(f, key, nil))
	f.Fuzz(func(t *testing.T, der []byte) {
		csr, err := CheckRequest(der, host, 0)
		if err == nil && (len(csr.DNSNames) != 1 || !sameHost(csr.DNSNames[0], host) || len(csr.EmailAddresses)+len(csr.IPAddresses)+len(csr.URIs) > 0) {
			t.Fatalf("%+v", csr)
		}
		attributeIDs(der)
	})
}
