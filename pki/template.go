package pki

import (
	"slices"
	"strings"
	"time"
)

// Template is a certificate template as the directory holds it, [MS-CRTD] 2.
type Template struct {
	Name          string // cn, by which it is asked for
	OID           string
	SchemaVersion int // 1 when the attribute is absent

	Flags           uint32
	NameFlags       uint32 // msPKI-Certificate-Name-Flag
	EnrollmentFlags uint32 // msPKI-Enrollment-Flag
	PrivateKeyFlags uint32 // msPKI-Private-Key-Flag

	EKUs                []string // pKIExtendedKeyUsage
	ApplicationPolicies []string // msPKI-Certificate-Application-Policy
	IssuancePolicies    []string // msPKI-Certificate-Policy
	KeyUsage            []byte   // pKIKeyUsage: the octets of the BIT STRING
	MinimalKeySize      int
	CSPs                []string
	Validity, Overlap   time.Duration
	RASignatures        int
	RAPolicies          []string // in version 4 also the key's algorithm

	SecurityDescriptor []byte // empty: it could not be read
}

// The flags of [MS-CRTD] 2.4 and 2.26 to 2.28.
const (
	flagMachine = 0x40

	nameSupplied      = 0x00000001
	nameSuppliedAlt   = 0x00010000
	nameDNSInAlt      = 0x08000000
	nameDNSAsCN       = 0x10000000
	enrollPend        = 0x00000002
	enrollInteraction = 0x00000100
	enrollNoSID       = 0x00080000

	keyArchived     = 0x00000001
	keyExportable   = 0x00000010
	keyProtected    = 0x00000020
	keyMustBeProven = 0x00002000
)

// The usages that matter, [MS-WCCE] 2.2.2.7 and RFC 5280.
const (
	usageServerAuth    = "1.3.6.1.5.5.7.3.1"
	usageClientAuth    = "1.3.6.1.5.5.7.3.2"
	usageSmartCard     = "1.3.6.1.4.1.311.20.2.2"
	usagePKINIT        = "1.3.6.1.5.2.3.4"
	usageAny           = "2.5.29.37.0"
	usageEnrollmentAgt = "1.3.6.1.4.1.311.20.2.1"
)

// usages are what a certificate of the template will be for. From version 2 on
// the application policies say it, where there are any.
func (t Template) usages() []string {
	if t.SchemaVersion >= 2 && len(t.ApplicationPolicies) > 0 {
		return t.ApplicationPolicies
	}
	return t.EKUs
}

// claims are all usages that are written anywhere: for "is it dangerous?", where
// the doubtful counts.
func (t Template) claims() []string { return slices.Concat(t.EKUs, t.ApplicationPolicies) }

// forAnything reports whether a certificate of the template is good for any use.
func (t Template) forAnything() bool {
	return len(t.claims()) == 0 || slices.Contains(t.claims(), usageAny)
}

// logsOn reports whether a certificate of the template can log on to the domain.
func (t Template) logsOn() bool {
	return t.forAnything() || slices.ContainsFunc(t.claims(), func(u string) bool {
		return u == usageClientAuth || u == usageSmartCard || u == usagePKINIT
	})
}

// serves reports whether a certificate of the template can pose as a TLS server.
func (t Template) serves() bool {
	return t.forAnything() || slices.Contains(t.claims(), usageServerAuth)
}

// suppliesSubject reports whether the enrollee names itself.
func (t Template) suppliesSubject() bool { return t.NameFlags&(nameSupplied|nameSuppliedAlt) != 0 }

// unattended reports whether nobody looks at a request before it is issued.
func (t Template) unattended() bool { return t.EnrollmentFlags&enrollPend == 0 && t.RASignatures <= 0 }

// elliptic reports whether the key is of a curve: version 4 says so among the RA
// policies ([MS-CRTD] 2.23), in triplets that a grave accent separates.
func (t Template) elliptic() bool {
	return slices.ContainsFunc(t.RAPolicies, func(p string) bool {
		_, rest, found := strings.Cut(p, "msPKI-Asymmetric-Algorithm`PZPWSTR`")
		return found && strings.HasPrefix(rest, "EC")
	})
}
