package machine

import (
	"encoding/binary"
	"errors"
	"fmt"

	"wavelock/pki"
)

// Properties of a serialized certificate, [MS-GPEF] 2.2.1.1.1.
const (
	propKeyInfo     = 2
	propArchived    = 19
	propCertificate = 32
)

var errNoCertificate = errors.New("the store entry holds no certificate")

// storeEntry reads a certificate as the registry stores it: properties, each with
// an identifier, a reserved word and a length, and the certificate's DER among them.
func storeEntry(blob []byte) (pki.Certificate, []byte, error) {
	var der []byte
	hasKey, archived := false, false
	for rest := blob; len(rest) > 0; {
		if len(rest) < 12 {
			return pki.Certificate{}, nil, fmt.Errorf("the store entry breaks off after %d bytes", len(blob)-len(rest))
		}
		id, n := binary.LittleEndian.Uint32(rest), binary.LittleEndian.Uint32(rest[8:])
		if uint64(n) > uint64(len(rest)-12) {
			return pki.Certificate{}, nil, fmt.Errorf("property %d of the store entry says it has %d bytes, there are %d", id, n, len(rest)-12)
		}
		value := rest[12 : 12+n]
		rest = rest[12+n:]
		switch id {
		case propKeyInfo:
			hasKey = true
		case propArchived:
			archived = true
		case propCertificate:
			der = value
		}
	}
	if der == nil {
		return pki.Certificate{}, nil, errNoCertificate
	}
	c, err := pki.ParseCertificate(der)
	c.HasKey, c.Archived = hasKey, archived
	return c, der, err
}
