package ldapdisco

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"

	"wavelock/ldapdisco/logon"
)

// raw is a connection before the LDAP library has it. StartTLS and SASL change the connection under the protocol, so
// they are done here, one message at a time, with nothing read ahead.
type raw struct {
	net.Conn
	id int64
}

// exchange sends one request and reads its answer.
func (c *raw) exchange(request *ber.Packet, answer ber.Tag) (*ber.Packet, error) {
	c.id++
	msg := ber.NewSequence("LDAPMessage")
	msg.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, c.id, "messageID"))
	msg.AppendChild(request)
	if _, err := c.Write(msg.Bytes()); err != nil {
		return nil, err
	}
	p, err := readMessage(c.Conn)
	if err != nil {
		return nil, err
	}
	if len(p.Children) < 2 {
		return nil, errors.New("the server's answer is no LDAP message")
	}
	op := p.Children[1]
	if op.ClassType != ber.ClassApplication || len(op.Children) < 3 {
		return nil, errors.New("the server's answer is no LDAP result")
	}
	if id, _ := p.Children[0].Value.(int64); id == 0 { // notice of disconnection, RFC 4511 4.4.1
		code, diagnostic := resultOf(op)
		return nil, refusal(code, diagnostic)
	} else if id != c.id || op.Tag != answer {
		return nil, errors.New("the server answered another question")
	}
	return op, nil
}

func readMessage(r io.Reader) (*ber.Packet, error) {
	head := make([]byte, 2, 10)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	head = head[:2+lengthOctets(head[1])]
	if _, err := io.ReadFull(r, head[2:]); err != nil {
		return nil, err
	}
	n, err := messageLength(head)
	if err != nil {
		return nil, err
	}
	body, err := readExactly(r, n)
	if err != nil {
		return nil, err
	}
	return ber.DecodePacketErr(append(head, body...))
}

// resultOf takes code and diagnostic message of an LDAPResult with its three elements.
func resultOf(op *ber.Packet) (int, string) {
	code, ok := op.Children[0].Value.(int64)
	if !ok || code < 0 || code > 1<<15 {
		code = ldap.LDAPResultOther
	}
	return int(code), op.Children[2].Data.String()
}

const startTLSOID = "1.3.6.1.4.1.1466.20037" // RFC 4511 4.14

func (c *raw) startTLS() error {
	r := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationExtendedRequest, nil, "")
	r.AppendChild(ber.NewString(ber.ClassContext, ber.TypePrimitive, 0, startTLSOID, ""))
	op, err := c.exchange(r, ldap.ApplicationExtendedResponse)
	if err != nil {
		return err
	}
	if code, diagnostic := resultOf(op); code != ldap.LDAPResultSuccess {
		return refusal(code, diagnostic)
	}
	return nil
}

// bindRequest is RFC 4511 4.2, version 3.
func bindRequest(name string, auth *ber.Packet) *ber.Packet {
	r := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationBindRequest, nil, "")
	r.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, 3, ""))
	r.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, name, ""))
	r.AppendChild(auth)
	return r
}

func (c *raw) bindSimple(s *Simple) error {
	auth := ber.NewString(ber.ClassContext, ber.TypePrimitive, 0, s.Password.Reveal(), "")
	op, err := c.exchange(bindRequest(s.User, auth), ldap.ApplicationBindResponse)
	if err != nil {
		return err
	}
	if code, diagnostic := resultOf(op); code != ldap.LDAPResultSuccess {
		return refusal(code, diagnostic)
	}
	return nil
}

const mechSPNEGO = "GSS-SPNEGO" // [MS-ADTS] 3.1.1.3.4.5.2; it takes bare NTLMSSP as well

// saslStep sends one token. More tells that the server wants another.
func (c *raw) saslStep(token []byte) (in []byte, more bool, err error) {
	auth := ber.Encode(ber.ClassContext, ber.TypeConstructed, 3, nil, "")
	auth.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, mechSPNEGO, ""))
	auth.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, string(token), ""))
	op, err := c.exchange(bindRequest("", auth), ldap.ApplicationBindResponse)
	if err != nil {
		return nil, false, err
	}
	for _, p := range op.Children[3:] {
		if p.ClassType == ber.ClassContext && p.Tag == 7 { // serverSaslCreds
			in = p.Data.Bytes()
		}
	}
	switch code, diagnostic := resultOf(op); code {
	case ldap.LDAPResultSuccess:
		return in, false, nil
	case ldap.LDAPResultSaslBindInProgress:
		return in, true, nil
	default:
		return nil, false, refusal(code, diagnostic)
	}
}

// maxLegs is more than NTLM, Kerberos and SPNEGO around them ever need.
const maxLegs = 8

// bindLogin opens a security context, and seals the connection unless TLS does so already.
func (c *raw) bindLogin(ctx context.Context, login logon.Login, host string) (net.Conn, error) {
	binding := channelBinding(c.Conn)
	x, err := login.Start(ctx, logon.Service{Class: "ldap", Host: host}, binding)
	if err != nil {
		return nil, err
	}
	if s := x.Scheme(); s != logon.SchemeNegotiate && s != logon.SchemeKerberos {
		return nil, fmt.Errorf("a %s login cannot be used with LDAP; use NTLM, Kerberos or a simple bind", s)
	}
	if err := c.converse(ctx, x); err != nil {
		return nil, err
	}
	if binding != nil {
		return c.Conn, nil
	}
	sealer, err := x.Sealer()
	if err != nil {
		return nil, fmt.Errorf("seal the connection: %w", err)
	}
	return &sealedConn{Conn: c.Conn, sealer: sealer}, nil
}

// converse carries tokens until both sides are content.
func (c *raw) converse(ctx context.Context, x logon.Exchange) error {
	var in []byte
	for range maxLegs {
		out, done, err := x.Next(ctx, in)
		if err != nil {
			return err
		}
		if out == nil && done {
			return errors.New("the server wants more after the logon was over")
		}
		var more bool
		if in, more, err = c.saslStep(out); err != nil {
			return err
		}
		if more {
			continue
		}
		if done {
			return nil
		}
		// the server is content; its last token has to prove to us who it is
		out, done, err = x.Next(ctx, in)
		if err == nil && (!done || out != nil) {
			err = errors.New("the server ended the logon too early")
		}
		return err
	}
	return errors.New("the logon does not end")
}

// channelBinding is nil without TLS.
func channelBinding(c net.Conn) logon.Binding {
	t, ok := c.(*tls.Conn)
	if !ok {
		return nil
	}
	certs := t.ConnectionState().PeerCertificates
	if len(certs) == 0 {
		return nil
	}
	return logon.EndPointBinding(certs[0])
}
