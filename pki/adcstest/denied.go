package adcstest

import "fmt"

// The HRESULTs that a CA answers, [MS-ERREF] 2.1.1.
const (
	BadSubject          = 0x80094001 // CERTSRV_E_BAD_REQUESTSUBJECT
	PropertyEmpty       = 0x80094004 // CERTSRV_E_PROPERTY_EMPTY
	TemplateDenied      = 0x80094012 // CERTSRV_E_TEMPLATE_DENIED
	AdminDenied         = 0x80094014 // CERTSRV_E_ADMIN_DENIED_REQUEST
	UnsupportedTemplate = 0x80094800 // CERTSRV_E_UNSUPPORTED_CERT_TYPE
	NoTemplate          = 0x80094801 // CERTSRV_E_NO_CERT_TYPE
	DNSNameRequired     = 0x8009480f // CERTSRV_E_SUBJECT_DNS_REQUIRED
	KeyTooShort         = 0x80094811 // CERTSRV_E_KEY_LENGTH
	BadASN1             = 0x8009310b // CRYPT_E_ASN1_BADTAG
	BadSignature        = 0x80090006 // NTE_BAD_SIGNATURE
	AccessDenied        = 0x80070005 // E_ACCESSDENIED
	BadRequest          = 0x80070057 // E_INVALIDARG
)

// Denied is a request that the CA will not issue.
type Denied struct {
	HRESULT uint32
	Why     string
}

func (e *Denied) Error() string {
	return fmt.Sprintf("denied by the CA: 0x%08x: %s", e.HRESULT, e.Why)
}

// Pending is a request that waits for a CA manager.
type Pending struct{ RequestID int }

func (e *Pending) Error() string {
	return fmt.Sprintf("request %d is taken under submission", e.RequestID)
}
