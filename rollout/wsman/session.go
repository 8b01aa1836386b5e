package wsman

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
)

// Session is a logon to one host. It is safe for concurrent use; calls wait for each other, since the security context
// counts messages. A connection that the host has closed is replaced by a new one with a new logon, when that is safe.
type Session struct {
	target Target
	id     string        // SessionId of all messages
	newID  func() string // of messages

	busy chan struct{} // holds one token: the right to use what is below
	wire *wire
	cred credentials
	shut bool

	state    sync.Mutex           // guards what follows, up to local
	tlsState *tls.ConnectionState // of the last connection
	local    netip.AddrPort       // our end of it

	requests, handshakes, connections, pinned atomic.Int64
}

var errClosed = errors.New("the session is closed")

// Open connects to the listener and logs on.
func Open(ctx context.Context, t Target) (*Session, error) {
	t, err := t.complete()
	if err != nil {
		return nil, err
	}
	s := &Session{target: t, id: newID(), newID: newID, busy: make(chan struct{}, 1)}
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

// newID is a random UUID of version 4, as WS-Addressing writes it.
func newID() string {
	var b [16]byte
	rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	return strings.ToUpper(fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:]))
}

// Close ends the connection, after the call that is under way.
func (s *Session) Close() error {
	s.busy <- struct{}{}
	defer func() { <-s.busy }()
	s.shut = true
	s.disconnect()
	return nil
}

// Secure tells if the session uses TLS.
func (s *Session) Secure() bool { return s.target.TLS != nil }

// LocalAddr is our end of the current connection; it is not valid when there is none.
func (s *Session) LocalAddr() netip.AddrPort {
	s.state.Lock()
	defer s.state.Unlock()
	return s.local
}

// TLSState describes the current or last TLS connection, nil over HTTP.
func (s *Session) TLSState() *tls.ConnectionState {
	s.state.Lock()
	defer s.state.Unlock()
	return s.tlsState
}

// Requests is how many HTTP requests were sent so far.
func (s *Session) Requests() int { return int(s.requests.Load()) }

// Pin lets nothing be sent but over the n-th connection, as Connections counts them, until release is called. Where that
// one is gone, a call fails unsent instead of dialling: for what depends on something that this connection has proved.
func (s *Session) Pin(n int) (release func()) {
	s.pinned.Store(int64(n))
	return func() { s.pinned.Store(0) }
}

// Handshakes is how many logons were begun so far.
func (s *Session) Handshakes() int { return int(s.handshakes.Load()) }

// Connections is how many TCP connections were made so far.
func (s *Session) Connections() int { return int(s.connections.Load()) }

func (s *Session) connect(ctx context.Context) error {
	w, err := dial(ctx, s.target)
	if err != nil {
		return err
	}
	s.connections.Add(1)
	s.state.Lock()
	s.tlsState = w.tls
	if a, err := netip.ParseAddrPort(w.conn.LocalAddr().String()); err == nil { // a pipe of a test has none
		s.local = a
	}
	s.state.Unlock()
	cred, err := s.authenticate(ctx, w)
	if err == nil && w.broken && cred.authorization == "" {
		err = &ProtocolError{Host: s.target.Host, Op: "authenticate", Err: errors.New("the host closed the connection after the logon")}
	}
	if err != nil {
		w.close()
		return err
	}
	s.wire, s.cred = w, cred
	return nil
}

func (s *Session) disconnect() {
	if s.wire != nil {
		s.wire.close()
	}
	s.wire, s.cred = nil, credentials{}
}

// request is one message to the host.
type request struct {
	op         string // for errors: "get config/listener"
	id         string // MessageID; empty when the answer names none
	envelope   string
	repeatable bool // asking twice does no harm
}

// do sends a message and gives the body of its answer. A fault is an error.
func (s *Session) do(ctx context.Context, r request) (*Element, error) {
	select {
	case s.busy <- struct{}{}:
		defer func() { <-s.busy }()
	case <-ctx.Done():
		return nil, &TransportError{Host: s.target.Host, Op: r.op, Err: context.Cause(ctx)}
	}
	if s.shut {
		return nil, &TransportError{Host: s.target.Host, Op: r.op, Err: errClosed}
	}
	a, err := s.converse(ctx, r)
	if err != nil {
		return nil, err
	}
	return s.read(r, a)
}

// converse gets an answer, if need be on a second connection. That is tried once, when the first had worked before and
// the host has surely not acted on the message or may act on it again.
func (s *Session) converse(ctx context.Context, r request) (*answer, error) {
	if s.wire != nil && s.wire.stale() {
		s.disconnect()
	}
	if n := s.pinned.Load(); n != 0 && (s.wire == nil || s.connections.Load() != n) {
		return nil, &TransportError{Host: s.target.Host, Op: r.op, Err: errors.New("the connection that was proved is gone")}
	}
	proven := s.wire != nil
	if !proven {
		if err := s.connect(ctx); err != nil {
			return nil, err
		}
	}
	a, err := s.send(ctx, r)
	if !proven || s.pinned.Load() != 0 || !s.worthRepeating(ctx, r, a, err) {
		return s.judge(r, a, err)
	}
	s.disconnect()
	if err := s.connect(ctx); err != nil {
		return nil, err
	}
	a, err = s.send(ctx, r)
	return s.judge(r, a, err)
}

// worthRepeating reports whether what went wrong may have been the connection, and asking again does no harm.
func (s *Session) worthRepeating(ctx context.Context, r request, a *answer, err error) bool {
	if err == nil {
		return a.status == 401 && s.cred.authorization == "" // the host forgot the connection's logon
	}
	var e *wireError
	return errors.As(err, &e) && ctx.Err() == nil && !timedOut(err) && !errors.Is(err, errTooLarge) && (!e.sent || r.repeatable)
}

// send puts the message on the wire, sealed over HTTP.
func (s *Session) send(ctx context.Context, r request) (*answer, error) {
	body, contentType := []byte(r.envelope), soapType
	if s.target.TLS == nil {
		var err error
		if body, contentType, err = sealMessage(body, s.cred.protocol, s.cred.sealer); err != nil {
			return nil, &wireError{err: err}
		}
	}
	header := [][2]string{{"Content-Type", contentType}}
	if s.cred.authorization != "" {
		header = append(header, [2]string{"Authorization", s.cred.authorization})
	}
	s.requests.Add(1)
	return s.wire.post(ctx, header, body)
}

// judge turns what came of a request into an answer that may be read, or a typed error.
func (s *Session) judge(r request, a *answer, err error) (*answer, error) {
	if err == nil {
		err = s.checkAnswer(r, a)
	}
	if err == nil {
		return a, nil
	}
	s.disconnect() // the context may be out of step
	var w *wireError
	if !errors.As(err, &w) {
		return nil, err
	}
	if errors.Is(err, errTooLarge) {
		return nil, &ProtocolError{Host: s.target.Host, Op: r.op, Err: w.err, Sent: w.sent}
	}
	return nil, &TransportError{Host: s.target.Host, Op: r.op, Err: w.err, Sent: w.sent}
}

// checkAnswer looks at HTTP's part of an answer and unseals it.
func (s *Session) checkAnswer(r request, a *answer) error {
	contentType := a.header.Get("Content-Type")
	switch {
	case a.status == 401:
		return s.refused(a, nil)
	case a.status >= 300 && a.status < 400:
		return &ProtocolError{Host: s.target.Host, Op: r.op, Status: a.status, Sent: true}
	case s.target.TLS != nil:
		return s.checkClear(r, a, contentType)
	case !isSealed(contentType):
		return &ClearTextError{Host: s.target.Host, Op: r.op, Status: a.status, ContentType: contentType}
	}
	body, err := openMessage(a.body, s.cred.sealer)
	if err != nil {
		return &ProtocolError{Host: s.target.Host, Op: r.op, Err: err, Sent: true}
	}
	a.body = body
	return nil
}

// checkClear is for HTTPS: faults come with status 500, everything that is not SOAP is the host's HTTP layer or a proxy.
func (s *Session) checkClear(r request, a *answer, contentType string) error {
	if !isSOAP(contentType) {
		var err error
		if a.status == 200 {
			err = fmt.Errorf("the answer is %q and not SOAP", contentType)
		}
		return &ProtocolError{Host: s.target.Host, Op: r.op, Status: a.status, Err: err, Sent: a.status/100 != 4}
	}
	return nil
}
