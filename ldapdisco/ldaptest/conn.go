package ldaptest

import (
	"bufio"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"

	"wavelock/ldapdisco/logon/logontest"
)

// conn is one connection of a client.
type conn struct {
	server *Server
	raw    net.Conn
	stream io.ReadWriter // raw, TLS, or sealed
	out    *bufio.Writer
	tls    bool
	bind   []byte // channel binding data of the TLS connection

	logon  *logontest.Conn // a SASL bind under way, or done
	gssapi *gssapi
	user   string // empty: nobody

	cookies map[string]int // where a paged search goes on
	cookie  uint64
}

// errHangUp ends a connection without an answer.
var errHangUp = errors.New("hang up")

func (s *Server) newConn(nc net.Conn) *conn {
	return &conn{server: s, raw: nc, stream: nc, out: bufio.NewWriterSize(nc, 64<<10), cookies: map[string]int{}}
}

func (c *conn) serve(secure bool) {
	if secure {
		if err := c.startTLS(); err != nil {
			return
		}
	}
	for {
		q, err := readRequest(c.stream)
		if err != nil {
			return
		}
		if d := c.server.faults.Load().Delay; d > 0 {
			time.Sleep(d)
		}
		if err := c.handle(q); err != nil {
			return
		}
		if err := c.out.Flush(); err != nil {
			return
		}
	}
}

const handshakeTimeout = 10 * time.Second

// startTLS puts TLS on the connection.
func (c *conn) startTLS() error {
	t := tls.Server(c.raw, c.server.tls)
	c.raw.SetDeadline(time.Now().Add(handshakeTimeout))
	if err := t.Handshake(); err != nil {
		return err
	}
	c.raw.SetDeadline(time.Time{})
	c.stream, c.tls = t, true
	c.out.Reset(t)
	c.bind = endPoint(c.server.certificate().Leaf)
	return nil
}

// endPoint is tls-server-end-point of RFC 5929 4.1.
func endPoint(leaf *x509.Certificate) []byte {
	prefix := []byte("tls-server-end-point:")
	switch leaf.SignatureAlgorithm {
	case x509.SHA384WithRSA, x509.ECDSAWithSHA384, x509.SHA384WithRSAPSS:
		h := sha512.Sum384(leaf.Raw)
		return append(prefix, h[:]...)
	case x509.SHA512WithRSA, x509.ECDSAWithSHA512, x509.SHA512WithRSAPSS:
		h := sha512.Sum512(leaf.Raw)
		return append(prefix, h[:]...)
	}
	h := sha256.Sum256(leaf.Raw)
	return append(prefix, h[:]...)
}

// sealed is the security layer, in the eyes of the server.
type sealed struct {
	raw   net.Conn
	logon *logontest.Conn
	plain []byte
}

func (s *sealed) Read(p []byte) (int, error) {
	for len(s.plain) == 0 {
		var size [4]byte
		if _, err := io.ReadFull(s.raw, size[:]); err != nil {
			return 0, err
		}
		n := binary.BigEndian.Uint32(size[:])
		if n > maxRequest {
			return 0, errors.New("sealed frame too large")
		}
		token := make([]byte, n)
		if _, err := io.ReadFull(s.raw, token); err != nil {
			return 0, err
		}
		msg, ok, err := s.logon.Unwrap(token)
		if err != nil {
			return 0, err
		}
		if !ok {
			return 0, errors.New("frame is signed but not sealed")
		}
		s.plain = msg
	}
	n := copy(p, s.plain)
	s.plain = s.plain[n:]
	return n, nil
}

func (s *sealed) Write(p []byte) (int, error) {
	token, err := s.logon.Wrap(p, true)
	if err != nil {
		return 0, err
	}
	frame := binary.BigEndian.AppendUint32(nil, uint32(len(token)))
	if _, err := s.raw.Write(append(frame, token...)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// handle answers one request; an error ends the connection.
func (c *conn) handle(q *request) error {
	switch q.op.Tag {
	case opBindRequest:
		return c.handleBind(q)
	case opUnbindRequest:
		return errHangUp
	case opAbandonRequest:
		return nil
	case opExtendedRequest:
		return c.handleExtended(q)
	case opSearchRequest:
		return c.handleSearch(q)
	case opModifyRequest, opAddRequest, opDeleteRequest, opModifyDNRequest, opCompareRequest:
		err := errReadOnly
		if c.user == "" {
			err = errNeedsBind
		}
		return c.reply(q, byte(q.op.Tag)+1, resultBody(err), nil)
	}
	c.reply(q, opExtendedResponse, resultBody(errMalformed), nil)
	return errHangUp
}

func (c *conn) reply(q *request, op byte, content, controls []byte) error {
	_, err := c.out.Write(message(q.id, op, content, controls))
	return err
}

const (
	oidStartTLS = "1.3.6.1.4.1.1466.20037"
	oidWhoAmI   = "1.3.6.1.4.1.4203.1.11.3"
)

func (c *conn) handleExtended(q *request) error {
	name := ""
	for _, p := range q.op.Children {
		if p.ClassType == ber.ClassContext && p.Tag == 0 {
			name = p.Data.String()
		}
	}
	switch {
	case name == oidStartTLS && !c.tls && c.user == "":
		if err := c.reply(q, opExtendedResponse, resultBody(nil), nil); err != nil {
			return err
		}
		if err := c.out.Flush(); err != nil {
			return err
		}
		return c.startTLS()
	case name == oidWhoAmI && c.server.faults.Load().Hang:
		return nil
	case name == oidWhoAmI:
		who := ""
		if c.user != "" {
			who = "u:" + c.user
		}
		return c.reply(q, opExtendedResponse, appendString(resultBody(nil), 0x8b, who), nil)
	}
	return c.reply(q, opExtendedResponse, resultBody(errMalformed), nil)
}
