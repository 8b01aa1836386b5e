package ldaptest

import (
	"errors"
	"fmt"
	"io"

	ber "github.com/go-asn1-ber/asn1-ber"
)

// Protocol operations, RFC 4511.
const (
	opBindRequest      = 0
	opBindResponse     = 1
	opUnbindRequest    = 2
	opSearchRequest    = 3
	opSearchEntry      = 4
	opSearchDone       = 5
	opModifyRequest    = 6
	opAddRequest       = 8
	opDeleteRequest    = 10
	opModifyDNRequest  = 12
	opCompareRequest   = 14
	opAbandonRequest   = 16
	opSearchReference  = 19
	opExtendedRequest  = 23
	opExtendedResponse = 24
)

// Result codes, RFC 4511 appendix A.
const (
	success                = 0
	operationsError        = 1
	protocolError          = 2
	sizeLimitExceeded      = 4
	authMethodNotSupported = 7
	strongAuthRequired     = 8
	referral               = 10
	unavailableExtension   = 12
	saslBindInProgress     = 14
	noSuchObject           = 32
	invalidCredentials     = 49
	insufficientAccess     = 50
	unwillingToPerform     = 53
)

// refusal is an answer other than success.
type refusal struct {
	code      int
	text      string
	matched   string
	referrals []string
}

func (r *refusal) Error() string { return fmt.Sprintf("%d %s", r.code, r.text) }

// Texts of a domain controller, as recorded by those who met them.
var (
	errNeedsBind = &refusal{code: operationsError, text: "000004DC: LdapErr: DSID-0C090A5C, comment: In order to perform this operation a successful bind must be completed on the connection., data 0, v4563\x00"}
	errNeedsSeal = &refusal{code: strongAuthRequired, text: "00002028: LdapErr: DSID-0C090342, comment: The server requires binds to turn on integrity checking if SSL\\TLS are not already active on the connection, data 0, v4563\x00"}
	errSealInTLS = &refusal{code: unwillingToPerform, text: "00002029: LdapErr: DSID-0C090538, comment: Cannot bind using sign/seal on a connection on which TLS or SSL is in effect, data 0, v4563\x00"}
	errControl   = &refusal{code: unavailableExtension, text: "00000057: LdapErr: DSID-0C0907D5, comment: Error processing control, data 0, v4563\x00"}
	errReadOnly  = &refusal{code: insufficientAccess, text: "00002098: SecErr: DSID-03150F94, problem 4003 (INSUFF_ACCESS_RIGHTS), data 0\n\x00"}
	errMechanism = &refusal{code: authMethodNotSupported, text: "00002027: LdapErr: DSID-0C090567, comment: Invalid Authentication method, data 0, v4563\x00"}
	errMalformed = &refusal{code: protocolError, text: "0000203D: LdapErr: DSID-0C0C003A, comment: Unknown or malformed request, data 0, v4563\x00"}
)

func badCredentials(status, data string) *refusal {
	return &refusal{code: invalidCredentials, text: status + ": LdapErr: DSID-0C090439, comment: AcceptSecurityContext error, data " + data + ", v4563\x00"}
}

// appendTLV writes tag, definite length and content.
func appendTLV(b []byte, tag byte, content []byte) []byte {
	b = append(b, tag)
	b = appendLength(b, len(content))
	return append(b, content...)
}

func appendLength(b []byte, n int) []byte {
	switch {
	case n < 0x80:
		return append(b, byte(n))
	case n < 0x100:
		return append(b, 0x81, byte(n))
	case n < 0x10000:
		return append(b, 0x82, byte(n>>8), byte(n))
	}
	return append(b, 0x83, byte(n>>16), byte(n>>8), byte(n))
}

func appendString(b []byte, tag byte, s string) []byte {
	b = append(b, tag)
	b = appendLength(b, len(s))
	return append(b, s...)
}

// appendInteger writes a number that is not negative.
func appendInteger(b []byte, tag byte, n int64) []byte {
	var v []byte
	for ; n > 0x7f; n >>= 8 {
		v = append([]byte{byte(n)}, v...)
	}
	return appendTLV(b, tag, append([]byte{byte(n)}, v...))
}

const (
	tagInteger    = 0x02
	tagOctets     = 0x04
	tagEnumerated = 0x0a
	tagSequence   = 0x30
	tagSet        = 0x31
	tagControls   = 0xa0
	application   = 0x60 // constructed
)

// message wraps an operation with its id and controls.
func message(id int64, op byte, content, controls []byte) []byte {
	body := appendInteger(nil, tagInteger, id)
	body = appendTLV(body, application|op, content)
	if len(controls) > 0 {
		body = appendTLV(body, tagControls, controls)
	}
	return appendTLV(nil, tagSequence, body)
}

// resultBody is an LDAPResult; err nil is success.
func resultBody(err error) []byte {
	r := &refusal{}
	if err != nil && !errors.As(err, &r) {
		r = &refusal{code: protocolError, text: err.Error()}
	}
	b := appendInteger(nil, tagEnumerated, int64(r.code))
	b = appendString(b, tagOctets, r.matched)
	b = appendString(b, tagOctets, r.text)
	if len(r.referrals) > 0 {
		var urls []byte
		for _, u := range r.referrals {
			urls = appendString(urls, tagOctets, u)
		}
		b = appendTLV(b, 0xa3, urls)
	}
	return b
}

const maxRequest = 10 << 20 // MaxReceiveBuffer of a domain controller

// request is one message of the client.
type request struct {
	id       int64
	op       *ber.Packet
	controls []control
}

type control struct {
	oid      string
	critical bool
	value    []byte
}

func readRequest(r io.Reader) (*request, error) {
	raw, err := readMessage(r)
	if err != nil {
		return nil, err
	}
	p, err := ber.DecodePacketErr(raw)
	if err != nil {
		return nil, err
	}
	if len(p.Children) < 2 || p.Children[1].ClassType != ber.ClassApplication {
		return nil, errors.New("no LDAP message")
	}
	id, ok := p.Children[0].Value.(int64)
	if !ok || id <= 0 {
		return nil, errors.New("no message id")
	}
	q := &request{id: id, op: p.Children[1]}
	if len(p.Children) > 2 {
		q.controls = readControls(p.Children[2])
	}
	return q, nil
}

func readMessage(r io.Reader) ([]byte, error) {
	head := make([]byte, 2, 8)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	if head[0] != tagSequence {
		return nil, errors.New("no LDAP message")
	}
	n := int(head[1])
	if n >= 0x80 {
		octets := n & 0x7f
		if octets == 0 || octets > 4 {
			return nil, errors.New("bad length")
		}
		head = head[:2+octets]
		if _, err := io.ReadFull(r, head[2:]); err != nil {
			return nil, err
		}
		n = 0
		for _, b := range head[2:] {
			n = n<<8 | int(b)
		}
	}
	if n > maxRequest {
		return nil, errors.New("the request is too large")
	}
	body, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err == nil && len(body) < n {
		err = io.ErrUnexpectedEOF
	}
	return append(head, body...), err
}

func readControls(p *ber.Packet) []control {
	var all []control
	for _, c := range p.Children {
		if len(c.Children) == 0 {
			continue
		}
		ctl := control{oid: c.Children[0].Data.String()}
		for _, part := range c.Children[1:] {
			switch part.Tag {
			case ber.TagBoolean:
				ctl.critical, _ = part.Value.(bool)
			case ber.TagOctetString:
				ctl.value = part.Data.Bytes()
			}
		}
		all = append(all, ctl)
	}
	return all
}
