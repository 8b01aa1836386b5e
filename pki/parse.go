package pki

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"unicode/utf16"
)

// MaxCertificate bounds what is parsed: a certificate of a machine is 1 to 4 KiB,
// and one with a huge subject alternative name is not worth more.
const MaxCertificate = 64 << 10

// The object identifiers of AD CS's own extensions.
var (
	oidTemplateName = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2}    // [MS-WCCE] 2.2.2.7.7.1, templates of version 1
	oidTemplate     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 21, 7}    // [MS-WCCE] 2.2.2.7.7.2
	oidSecurity     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 25, 2}    // szOID_NTDS_CA_SECURITY_EXT, [MS-WCCE] 2.2.2.7.7.4
	oidObjectSID    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 25, 2, 1} // szOID_NTDS_OBJECTSID
)

// ThumbprintOf is the thumbprint of a certificate in DER.
func ThumbprintOf(der []byte) Thumbprint {
	sum := sha1.Sum(der)
	return Thumbprint(strings.ToUpper(hex.EncodeToString(sum[:])))
}

// ParseCertificate reads the facts of a certificate in DER. HasKey and Archived
// are properties of the store, not of the certificate, and stay false.
func ParseCertificate(der []byte) (Certificate, error) {
	if len(der) > MaxCertificate {
		return Certificate{}, fmt.Errorf("parse a certificate: %d bytes, more than %d", len(der), MaxCertificate)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		return Certificate{}, fmt.Errorf("parse a certificate: %w", err)
	}
	return Facts(c), nil
}

// Facts are what matters about a parsed certificate.
func Facts(c *x509.Certificate) Certificate {
	f := Certificate{Thumbprint: ThumbprintOf(c.Raw), Subject: DistinguishedName(c.RawSubject), CommonName: c.Subject.CommonName,
		DNSNames: c.DNSNames, Issuer: DistinguishedName(c.RawIssuer), Serial: fmt.Sprintf("%x", c.SerialNumber),
		NotBefore: c.NotBefore, NotAfter: c.NotAfter, Signature: c.SignatureAlgorithm.String(), IsCA: c.IsCA,
		SelfSigned: slices.Equal(c.RawIssuer, c.RawSubject)}
	f.ServerAuth = hasUsage(c, x509.ExtKeyUsageServerAuth)
	f.ClientAuth = hasUsage(c, x509.ExtKeyUsageClientAuth)
	f.KeyAlgorithm, f.KeyBits = keyFacts(c)
	for _, e := range c.Extensions {
		switch {
		case e.Id.Equal(oidTemplate):
			f.Template = templateOID(e.Value)
		case e.Id.Equal(oidTemplateName) && f.Template == "":
			f.Template = bmpString(e.Value)
		case e.Id.Equal(oidSecurity):
			f.RequesterSID = requesterSID(e.Value)
		}
	}
	return f
}

// hasUsage reports whether the extended key usage has u, or there is no such extension.
func hasUsage(c *x509.Certificate, u x509.ExtKeyUsage) bool {
	if len(c.ExtKeyUsage) == 0 && len(c.UnknownExtKeyUsage) == 0 {
		return true
	}
	return slices.Contains(c.ExtKeyUsage, u) || slices.Contains(c.ExtKeyUsage, x509.ExtKeyUsageAny)
}

func keyFacts(c *x509.Certificate) (algorithm string, bits int) {
	switch k := c.PublicKey.(type) {
	case *rsa.PublicKey:
		return "RSA", k.N.BitLen()
	case *ecdsa.PublicKey:
		return "ECDSA", k.Curve.Params().BitSize
	case ed25519.PublicKey:
		return "Ed25519", 256
	}
	return c.PublicKeyAlgorithm.String(), 0
}

func templateOID(b []byte) string {
	var v struct {
		ID    asn1.ObjectIdentifier
		Major int `asn1:"optional"`
		Minor int `asn1:"optional"`
	}
	if _, err := asn1.Unmarshal(b, &v); err != nil {
		return ""
	}
	return v.ID.String()
}

func bmpString(b []byte) string {
	var raw asn1.RawValue
	if _, err := asn1.Unmarshal(b, &raw); err != nil || raw.Tag != asn1.TagBMPString || len(raw.Bytes)%2 != 0 {
		return ""
	}
	u := make([]uint16, 0, len(raw.Bytes)/2)
	for i := 0; i < len(raw.Bytes); i += 2 {
		u = append(u, uint16(raw.Bytes[i])<<8|uint16(raw.Bytes[i+1]))
	}
	return strings.TrimRight(string(utf16.Decode(u)), "\x00")
}

// requesterSID reads SEQ{ [0]{ OID szOID_NTDS_OBJECTSID, [0] OCTET STRING } },
// the SID in ASCII. Whatever is not exactly that is no SID: it is compared with
// the directory's, and a near miss must not look like one.
func requesterSID(b []byte) string {
	var names []asn1.RawValue
	if _, err := asn1.Unmarshal(b, &names); err != nil {
		return ""
	}
	for _, n := range names {
		if n.Class != asn1.ClassContextSpecific || n.Tag != 0 {
			continue
		}
		var id asn1.ObjectIdentifier
		rest, err := asn1.Unmarshal(n.Bytes, &id)
		if err != nil || !id.Equal(oidObjectSID) {
			continue
		}
		var tagged asn1.RawValue
		if _, err := asn1.Unmarshal(rest, &tagged); err != nil || tagged.Class != asn1.ClassContextSpecific || tagged.Tag != 0 {
			continue
		}
		var sid []byte
		if _, err := asn1.Unmarshal(tagged.Bytes, &sid); err == nil && looksLikeSID(string(sid)) {
			return string(sid)
		}
	}
	return ""
}

// looksLikeSID reports whether s is a SID in text, [MS-DTYP] 2.4.2.1, of at most
// 15 sub-authorities.
func looksLikeSID(s string) bool {
	rest, ok := strings.CutPrefix(s, "S-1-")
	if !ok || len(s) > 184 {
		return false
	}
	for part := range strings.SplitSeq(rest, "-") {
		if part == "" || strings.Trim(part, "0123456789") != "" {
			return false
		}
	}
	return true
}
