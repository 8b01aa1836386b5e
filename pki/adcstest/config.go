package adcstest

import (
	"cmp"
	"crypto"
	"crypto/rand"
	"crypto/x509"
	"io"
	"strings"
	"time"
)

// Config says what CA it is.
type Config struct {
	Name         string           // CORP-CA01-CA
	Host         string           // ca01, the computer it runs on: a part of the distribution point's address
	Domain       string           // corp.example
	Validity     time.Duration    // of an issued certificate; a year when 0
	Clock        func() time.Time // the wall clock when nil
	Templates    []Template
	ApproveAfter time.Duration // a CA manager approves what is pending after so long; never when 0
	SlowBy       time.Duration // of the fault Slow; two seconds when 0
	Web          string        // address of the web server that Handler answers for: http://ca01.corp.example when empty
	Responder    bool          // certificates name Web's OCSP responder, too
	Rand         io.Reader     // of serial numbers; crypto/rand when nil
	Keys         *KeyPool      // of the CAs; new P-256 keys when nil
}

func (c Config) withDefaults() Config {
	c.Name, c.Host, c.Domain = cmp.Or(c.Name, "CORP-CA01-CA"), cmp.Or(c.Host, "ca01"), cmp.Or(c.Domain, "corp.example")
	c.Validity, c.SlowBy = cmp.Or(c.Validity, 365*24*time.Hour), cmp.Or(c.SlowBy, 2*time.Second)
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Keys == nil {
		c.Keys = NewKeyPool(P256, 0)
	}
	return c
}

// Template is what the CA knows of a template that it issues.
type Template struct {
	Name            string
	OID             string // written into the certificate; empty: a template of version 1, of which the name is written
	SuppliesSubject bool   // the enrollee names itself: the shape that ESC1 needs
	Pend            bool   // every request waits for a manager
	ClientAuth      bool
	NoServerAuth    bool
	NoCommonName    bool          // the subject stays empty, as with Kerberos Authentication
	MinKeyBits      int           // of RSA; 2048 when 0
	Validity        time.Duration // the CA's when 0
	Enroll          []string      // accounts that may enroll; empty: all
}

func (t Template) allows(account string) bool {
	if len(t.Enroll) == 0 {
		return true
	}
	for _, a := range t.Enroll {
		if strings.EqualFold(bare(a), bare(account)) {
			return true
		}
	}
	return false
}

// bare is the account without its domain.
func bare(account string) string {
	if _, user, ok := strings.Cut(account, `\`); ok {
		return user
	}
	user, _, _ := strings.Cut(account, "@")
	return user
}

// Request is a PKCS #10 with the account that the CA saw it come from.
type Request struct {
	Account  string // WEB01$
	FQDN     string // dNSHostName of that account in the directory
	SID      string // objectSid of that account
	Template string
	CSR      []byte // DER
}

// host is the computer that the certificate would be for: the account's own, or the first that a relayed request names.
func (r Request) host() string {
	if r.FQDN != "" {
		return r.FQDN
	}
	if csr, err := x509.ParseCertificateRequest(r.CSR); err == nil && len(csr.DNSNames) > 0 {
		return csr.DNSNames[0]
	}
	return ""
}

// authority is a CA's certificate with its key.
type authority struct {
	cert *x509.Certificate
	key  crypto.Signer
}
