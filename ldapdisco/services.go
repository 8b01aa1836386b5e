package ldapdisco

import (
	"context"
	"encoding/binary"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/go-ldap/ldap/v3"
)

// Authority is an enterprise CA as it registered itself (pKIEnrollmentService, [MS-WCCE] 2.2.2.11.2).
type Authority struct {
	Name              string   `json:"name"` // cn: what the CA answers to
	DN                string   `json:"dn"`
	DNSHostName       string   `json:"dnsHostName"`
	Templates         []string `json:"templates"`                   // cn of each that it issues
	Certificates      [][]byte `json:"certificates"`                // DER, the current one and older
	EnrollmentServers []string `json:"enrollmentServers,omitempty"` // msPKI-Enrollment-Servers, as they are
	Flags             uint32   `json:"flags"`

	SecurityDescriptor []byte `json:"securityDescriptor,omitempty"` // of the object, not of the CA itself; empty: the account may not read it
}

// Roots are the CA certificates that the forest publishes, DER, by what they are published for.
type Roots struct {
	Authorities   [][]byte // CN=Certification Authorities: every computer of the forest trusts these
	Intermediates [][]byte // CN=AIA: helps to build chains, gives no trust
	NTAuth        [][]byte // CN=NTAuthCertificates: may issue certificates that log on
}

// Trusted are the certificates to end a chain at.
func (r Roots) Trusted() [][]byte { return r.Authorities }

// Template is a certificate template as it is stored ([MS-CRTD] 2). Nothing is concluded from it here.
type Template struct {
	Name          string `json:"name"` // cn
	DisplayName   string `json:"displayName"`
	DN            string `json:"dn"`
	OID           string `json:"oid,omitempty"`
	SchemaVersion int    `json:"schemaVersion"` // 1 when the attribute is absent
	Revision      int    `json:"revision"`
	MinorRevision int    `json:"minorRevision"`

	Flags           uint32 `json:"flags"`           // flags
	NameFlags       uint32 `json:"nameFlags"`       // msPKI-Certificate-Name-Flag
	EnrollmentFlags uint32 `json:"enrollmentFlags"` // msPKI-Enrollment-Flag
	PrivateKeyFlags uint32 `json:"privateKeyFlags"` // msPKI-Private-Key-Flag

	EKUs                []string      `json:"ekus,omitempty"`                // pKIExtendedKeyUsage
	ApplicationPolicies []string      `json:"applicationPolicies,omitempty"` // msPKI-Certificate-Application-Policy
	IssuancePolicies    []string      `json:"issuancePolicies,omitempty"`    // msPKI-Certificate-Policy
	CriticalExtensions  []string      `json:"criticalExtensions,omitempty"`
	KeyUsage            []byte        `json:"keyUsage,omitempty"` // BIT STRING's octets
	MinimalKeySize      int           `json:"minimalKeySize"`     // bits
	CSPs                []string      `json:"csps,omitempty"`     // in their order
	Validity            time.Duration `json:"validity"`           // pKIExpirationPeriod
	Overlap             time.Duration `json:"overlap"`            // pKIOverlapPeriod: renewed so long before the end
	RASignatures        int           `json:"raSignatures"`       // msPKI-RA-Signature
	RAPolicies          []string      `json:"raPolicies,omitempty"`
	Supersedes          []string      `json:"supersedes,omitempty"`

	SecurityDescriptor []byte `json:"securityDescriptor,omitempty"` // owner, group, DACL; empty: the account may not read it
}

// underServices is CN=Public Key Services of the forest.
func (d *Directory) underServices(name string) string {
	if name != "" {
		name += ","
	}
	return name + "CN=Public Key Services,CN=Services," + d.root.config
}

// Authorities gives the enterprise CAs by name, none if the forest has no AD CS.
func (d *Directory) Authorities(ctx context.Context) ([]Authority, error) {
	q := query{op: "list the CAs", base: d.underServices("CN=Enrollment Services"), scope: ldap.ScopeSingleLevel, filter: "(objectClass=pKIEnrollmentService)",
		attrs: []string{"cn", "dNSHostName", "certificateTemplates", "cACertificate", "msPKI-Enrollment-Servers", "flags", "nTSecurityDescriptor"}, sd: true}
	found, err := d.whole(ctx, q)
	if err != nil {
		return nil, err
	}
	var all []Authority
	for _, e := range found {
		all = append(all, Authority{Name: e.text("cn"), DN: clean(e.DN), DNSHostName: e.text("dNSHostName"), Templates: e.texts("certificateTemplates"),
			Certificates: published(e), EnrollmentServers: e.texts("msPKI-Enrollment-Servers"), Flags: e.flags("flags"), SecurityDescriptor: e.bytes("nTSecurityDescriptor")})
	}
	slices.SortFunc(all, func(a, b Authority) int { return strings.Compare(a.Name, b.Name) }) // servers keep any order
	return all, nil
}

// Roots gives the CA certificates of the forest.
func (d *Directory) Roots(ctx context.Context) (Roots, error) {
	var r Roots
	for _, part := range []struct {
		into  *[][]byte
		base  string
		scope int
	}{
		{&r.Authorities, d.underServices("CN=Certification Authorities"), ldap.ScopeSingleLevel},
		{&r.Intermediates, d.underServices("CN=AIA"), ldap.ScopeSingleLevel},
		{&r.NTAuth, d.underServices("CN=NTAuthCertificates"), ldap.ScopeBaseObject},
	} {
		found, err := d.all(ctx, query{op: "read the CA certificates", base: part.base, scope: part.scope, filter: "(objectClass=certificationAuthority)", attrs: []string{"cACertificate"}})
		if err != nil {
			return Roots{}, err
		}
		for _, e := range found {
			*part.into = append(*part.into, published(e)...)
		}
	}
	return r, nil
}

// Values reads an attribute of an object as it is, such as the list at a distribution point's address; none when there
// is no such object.
func (d *Directory) Values(ctx context.Context, dn, attribute string) ([][]byte, error) {
	found, err := d.all(ctx, query{op: "read " + attribute, base: dn, scope: ldap.ScopeBaseObject, filter: "(objectClass=*)", attrs: []string{attribute}})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return found[0].allBytes(attribute), nil
}

// published are the certificates of an entry. An object that waits for its first certificate holds a single zero byte.
func published(e entry) [][]byte {
	var all [][]byte
	for _, der := range e.allBytes("cACertificate") {
		if len(der) > 1 {
			all = append(all, der)
		}
	}
	return all
}

var templateAttributes = []string{
	"cn", "displayName", "msPKI-Cert-Template-OID", "msPKI-Template-Schema-Version", "revision", "msPKI-Template-Minor-Revision", "flags",
	"msPKI-Certificate-Name-Flag", "msPKI-Enrollment-Flag", "msPKI-Private-Key-Flag", "pKIExtendedKeyUsage", "msPKI-Certificate-Application-Policy", "msPKI-Certificate-Policy",
	"pKICriticalExtensions", "pKIKeyUsage", "msPKI-Minimal-Key-Size", "pKIDefaultCSPs", "pKIExpirationPeriod", "pKIOverlapPeriod",
	"msPKI-RA-Signature", "msPKI-RA-Application-Policies", "msPKI-Supersede-Templates", "nTSecurityDescriptor",
}

// Templates gives the certificate templates of the forest by name, issued by a CA or not.
func (d *Directory) Templates(ctx context.Context) ([]Template, error) {
	q := query{op: "list the templates", base: d.underServices("CN=Certificate Templates"), scope: ldap.ScopeSingleLevel,
		filter: "(objectClass=pKICertificateTemplate)", attrs: templateAttributes, sd: true}
	found, err := d.whole(ctx, q)
	if err != nil {
		return nil, err
	}
	var all []Template
	for _, e := range found {
		all = append(all, newTemplate(e))
	}
	slices.SortFunc(all, func(a, b Template) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

func newTemplate(e entry) Template {
	t := Template{
		Name: e.text("cn"), DisplayName: e.text("displayName"), DN: clean(e.DN), OID: e.text("msPKI-Cert-Template-OID"),
		SchemaVersion: small(e.number("msPKI-Template-Schema-Version")), Revision: small(e.number("revision")), MinorRevision: small(e.number("msPKI-Template-Minor-Revision")),
		Flags: e.flags("flags"), NameFlags: e.flags("msPKI-Certificate-Name-Flag"),
		EnrollmentFlags: e.flags("msPKI-Enrollment-Flag"), PrivateKeyFlags: e.flags("msPKI-Private-Key-Flag"),
		EKUs: e.texts("pKIExtendedKeyUsage"), ApplicationPolicies: e.texts("msPKI-Certificate-Application-Policy"),
		IssuancePolicies: e.texts("msPKI-Certificate-Policy"), CriticalExtensions: e.texts("pKICriticalExtensions"), KeyUsage: e.bytes("pKIKeyUsage"), MinimalKeySize: small(e.number("msPKI-Minimal-Key-Size")),
		CSPs: e.texts("pKIDefaultCSPs"), Validity: period(e.bytes("pKIExpirationPeriod")), Overlap: period(e.bytes("pKIOverlapPeriod")),
		RASignatures: small(e.number("msPKI-RA-Signature")), RAPolicies: e.texts("msPKI-RA-Application-Policies"), Supersedes: e.texts("msPKI-Supersede-Templates"),
		SecurityDescriptor: e.bytes("nTSecurityDescriptor"),
	}
	if t.SchemaVersion == 0 {
		t.SchemaVersion = 1
	}
	return t
}

// small keeps a 32-bit number from a server within an int.
func small(n int64) int { return int(int32(n)) }

// period reads pKIExpirationPeriod and its like: a negative count of 100 ns, little-endian ([MS-CRTD] 2.13). What is
// longer than a Duration is as long as one.
func period(b []byte) time.Duration {
	if len(b) != 8 {
		return 0
	}
	n := int64(binary.LittleEndian.Uint64(b))
	if n >= 0 {
		return 0
	}
	if n < -(math.MaxInt64 / 100) {
		return math.MaxInt64
	}
	return time.Duration(-n * 100)
}
