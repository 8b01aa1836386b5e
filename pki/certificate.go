package pki

import (
	"strings"
	"time"
)

// Thumbprint is the SHA-1 of a certificate in 40 upper-case hexadecimal digits,
// the name by which Windows stores, configures and binds it.
type Thumbprint string

// ParseThumbprint reads a thumbprint as people and tools write it: any case,
// with blanks or colons, and with the invisible U+200E that certificate dialogs add.
// It answers an empty Thumbprint for anything that is not 40 hexadecimal digits.
func ParseThumbprint(s string) Thumbprint {
	s = strings.Map(func(r rune) rune {
		switch r {
		case ' ', ':', '\u200e', '\u200f':
			return -1
		}
		return r
	}, s)
	if len(s) != 40 {
		return ""
	}
	s = strings.ToUpper(s)
	if strings.Trim(s, "0123456789ABCDEF") != "" {
		return ""
	}
	return Thumbprint(s)
}

// Short is enough of the thumbprint to tell certificates apart in a table.
func (t Thumbprint) Short() string {
	if len(t) < 8 {
		return string(t)
	}
	return string(t[:8])
}

// Certificate is what matters about a certificate in a computer's machine store.
type Certificate struct {
	Thumbprint   Thumbprint `json:"thumbprint"`
	Subject      string     `json:"subject"`     // distinguished name, RFC 2253
	CommonName   string     `json:"common_name"` // WinRM compares it with the listener's host name
	DNSNames     []string   `json:"dns_names,omitempty"`
	Issuer       string     `json:"issuer"`
	Serial       string     `json:"serial"` // hexadecimal
	NotBefore    time.Time  `json:"not_before"`
	NotAfter     time.Time  `json:"not_after"`
	ServerAuth   bool       `json:"server_auth"` // extended key usage has server authentication, or there is no such extension
	ClientAuth   bool       `json:"client_auth"`
	KeyBits      int        `json:"key_bits"`
	KeyAlgorithm string     `json:"key_algorithm"`
	Signature    string     `json:"signature"` // signature algorithm
	SelfSigned   bool       `json:"self_signed,omitempty"`
	IsCA         bool       `json:"is_ca,omitempty"`
	Template     string     `json:"template,omitempty"`      // name (version 1) or object identifier (version 2 and later)
	RequesterSID string     `json:"requester_sid,omitempty"` // extension 1.3.6.1.4.1.311.25.2
	HasKey       bool       `json:"has_key"`                 // the store records a private key; a handshake is the proof
	Archived     bool       `json:"archived,omitempty"`      // replaced by a renewal
	Untrusted    string     `json:"untrusted,omitempty"`     // why no chain leads to the forest's roots; empty: one does, or the forest's CAs were not asked for
	Revoked      string     `json:"revoked,omitempty"`       // who said that the CA took it back, and why; empty: nobody is known to have said so
}
