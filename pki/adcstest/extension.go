package adcstest

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"net/url"
	"strings"
	"unicode/utf16"
)

var (
	oidTemplateName = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2}
	oidTemplate     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 21, 7}
	oidPolicies     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 21, 10}
	oidCAVersion    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 21, 1}
	oidSecurity     = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 25, 2}
	oidObjectSID    = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 25, 2, 1}
	oidServerAuth   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 1}
	oidClientAuth   = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 3, 2}
	oidDC           = asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 25}
	oidCN           = asn1.ObjectIdentifier{2, 5, 4, 3}
)

// templateExtension names the template: by its name in version 1 ([MS-WCCE]
// 2.2.2.7.7.1), by its object identifier and version afterwards (2.2.2.7.7.2).
func templateExtension(t Template) (pkix.Extension, error) {
	if t.OID == "" {
		v, err := asn1.Marshal(asn1.RawValue{Tag: asn1.TagBMPString, Bytes: bmp(t.Name)})
		return pkix.Extension{Id: oidTemplateName, Value: v}, err
	}
	oid, err := parseOID(t.OID)
	if err != nil {
		return pkix.Extension{}, err
	}
	v, err := asn1.Marshal(struct {
		ID           asn1.ObjectIdentifier
		Major, Minor int
	}{oid, 100, 2})
	return pkix.Extension{Id: oidTemplate, Value: v}, err
}

func bmp(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s)) {
		b = append(b, byte(u>>8), byte(u))
	}
	return b
}

// policiesExtension repeats the usages as application policies, as AD CS does.
func policiesExtension(usages []x509.ExtKeyUsage) (pkix.Extension, error) {
	type policy struct{ ID asn1.ObjectIdentifier }
	var policies []policy
	for _, u := range usages {
		switch u {
		case x509.ExtKeyUsageServerAuth:
			policies = append(policies, policy{oidServerAuth})
		case x509.ExtKeyUsageClientAuth:
			policies = append(policies, policy{oidClientAuth})
		}
	}
	v, err := asn1.Marshal(policies)
	return pkix.Extension{Id: oidPolicies, Value: v}, err
}

// securityExtension carries the requester's SID, [MS-WCCE] 2.2.2.7.7.4: an
// otherName in a GeneralNames, with the SID in ASCII.
func securityExtension(sid string) (pkix.Extension, error) {
	other := struct {
		ID    asn1.ObjectIdentifier
		Value []byte `asn1:"explicit,tag:0"`
	}{oidObjectSID, []byte(sid)}
	v, err := asn1.MarshalWithParams(other, "tag:0")
	if err != nil {
		return pkix.Extension{}, err
	}
	v, err = asn1.Marshal([]asn1.RawValue{{FullBytes: v}})
	return pkix.Extension{Id: oidSecurity, Value: v}, err
}

// distribution are the addresses that an enterprise CA writes by default.
func (c Config) distribution() (crl, issuer []string) {
	name := url.PathEscape(c.Name)
	services := "CN=Public%20Key%20Services,CN=Services,CN=Configuration," + strings.Join(c.domainParts(), ",")
	web := c.web() + "/CertEnroll/"
	crl = []string{
		"ldap:///CN=" + name + ",CN=" + c.Host + ",CN=CDP," + services + "?certificateRevocationList?base?objectClass=cRLDistributionPoint",
		web + name + ".crl",
	}
	issuer = []string{
		"ldap:///CN=" + name + ",CN=AIA," + services + "?cACertificate?base?objectClass=certificationAuthority",
		web + c.Host + "." + c.Domain + "_" + name + ".crt",
	}
	return crl, issuer
}

// web is the address of the web server with the CA's lists.
func (c Config) web() string {
	if c.Web != "" {
		return c.Web
	}
	return "http://" + c.Host + "." + c.Domain
}

// domainParts is DC=corp, DC=example.
func (c Config) domainParts() []string {
	var parts []string
	for p := range strings.SplitSeq(c.Domain, ".") {
		parts = append(parts, "DC="+p)
	}
	return parts
}

// caName is the distinguished name of a CA in the domain, the domain first as in DER.
func (c Config) caName(cn string) pkix.Name {
	var name pkix.Name
	labels := strings.Split(c.Domain, ".")
	for i := len(labels) - 1; i >= 0; i-- {
		name.ExtraNames = append(name.ExtraNames, pkix.AttributeTypeAndValue{Type: oidDC,
			Value: asn1.RawValue{Tag: asn1.TagIA5String, Bytes: []byte(labels[i])}})
	}
	name.ExtraNames = append(name.ExtraNames, pkix.AttributeTypeAndValue{Type: oidCN, Value: cn})
	return name
}

func parseOID(s string) (asn1.ObjectIdentifier, error) {
	oid, err := x509.ParseOID(s)
	if err != nil {
		return nil, fmt.Errorf("%q is no object identifier: %w", s, err)
	}
	der, err := oid.MarshalBinary()
	if err != nil {
		return nil, err
	}
	var out asn1.ObjectIdentifier
	if _, err := asn1.Unmarshal(append([]byte{asn1.TagOID, byte(len(der))}, der...), &out); err != nil {
		return nil, fmt.Errorf("%q is an object identifier with too large a part: %w", s, err)
	}
	return out, nil
}
