package wsman

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
)

// wire is HTTP/1.1 on one TCP connection. net/http is not used for sending: it would move a request to a new connection
// by itself, where the security context of the old one is worth nothing.
type wire struct {
	target    Target
	conn      *meter
	reader    *bufio.Reader
	tls       *tls.ConnectionState
	lastUsed  time.Time
	broken    bool
	authority string
}

// answer is an HTTP response.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// wireError says how far a request came.
type wireError struct {
	err  error
	sent bool // all of it; a host does not act on a part of a request
}

func (e *wireError) Error() string { return e.err.Error() }
func (e *wireError) Unwrap() error { return e.err }

var errTooLarge = errors.New("the answer is larger than allowed")

// headRoom is for the head of an answer, on top of the body that is allowed.
const headRoom = 64 << 10

// meter limits how much is read until the next request.
type meter struct {
	net.Conn
	left int64
}

func (m *meter) Read(p []byte) (int, error) {
	if m.left <= 0 {
		return 0, errTooLarge
	}
	n, err := m.Conn.Read(p[:min(int64(len(p)), m.left)])
	m.left -= int64(n)
	return n, err
}

// dial connects, over TLS if the target has it.
func dial(ctx context.Context, t Target) (*wire, error) {
	ctx, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	conn, err := t.Dial(ctx, "tcp", t.Address)
	if err != nil {
		return nil, &DialError{Host: t.Host, Address: t.Address, Err: err}
	}
	w := &wire{target: t, authority: t.authority(), lastUsed: time.Now()}
	if t.TLS != nil {
		secured := tls.Client(conn, t.TLS)
		if err := secured.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, &TLSError{Host: t.Host, Address: t.Address, Err: err}
		}
		state := secured.ConnectionState()
		w.tls, conn = &state, secured
	}
	w.conn = &meter{Conn: conn}
	w.reader = bufio.NewReader(w.conn)
	return w, nil
}

// idleProbeAfter is how long a connection rests before it is worth a look whether the host has closed it.
const idleProbeAfter = time.Second

// stale tells if the host has closed the idle connection. Found out before anything is sent, it costs no doubt.
func (w *wire) stale() bool {
	if w.broken {
		return true
	}
	if time.Since(w.lastUsed) < idleProbeAfter {
		return false
	}
	w.conn.left = 1
	w.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := w.reader.Peek(1)
	w.conn.SetReadDeadline(time.Time{})
	return !timedOut(err) // closed, or bytes that nobody asked for
}

// post sends one request and reads its answer. After an error the connection is of no use.
func (w *wire) post(ctx context.Context, header [][2]string, body []byte) (*answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, w.target.Timeout, fmt.Errorf("no answer within %v: %w", w.target.Timeout, os.ErrDeadlineExceeded))
	defer cancel()
	w.conn.SetDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { w.conn.SetDeadline(time.Unix(1, 0)) })
	a, err := w.exchange(header, body)
	if !stop() || err != nil {
		w.close()
	}
	var e *wireError
	if errors.As(err, &e) && ctx.Err() != nil {
		err = &wireError{err: context.Cause(ctx), sent: e.sent}
	}
	w.lastUsed = time.Now()
	return a, err
}

func (w *wire) exchange(header [][2]string, body []byte) (*answer, error) {
	if _, err := w.conn.Write(w.request(header, body)); err != nil {
		return nil, &wireError{err: err}
	}
	w.conn.left = w.target.MaxResponse + headRoom
	a, err := w.read()
	if err != nil {
		return nil, &wireError{err: err, sent: true}
	}
	return a, nil
}

func (w *wire) request(header [][2]string, body []byte) []byte {
	b := make([]byte, 0, 512+len(body))
	b = append(b, "POST "+path+" HTTP/1.1\r\nHost: "+w.authority+"\r\nUser-Agent: wavelock\r\nConnection: Keep-Alive\r\n"...)
	for _, h := range header {
		b = append(b, h[0]+": "+h[1]+"\r\n"...)
	}
	b = append(b, "Content-Length: "+strconv.Itoa(len(body))+"\r\n\r\n"...)
	return append(b, body...)
}

// maxInterim is how many 1xx answers are read over before the real one.
const maxInterim = 5

func (w *wire) read() (*answer, error) {
	for range maxInterim {
		resp, err := http.ReadResponse(w.reader, &http.Request{Method: http.MethodPost})
		if err != nil {
			return nil, err
		}
		if resp.StatusCode < 200 {
			continue
		}
		if resp.ContentLength > w.target.MaxResponse {
			return nil, errTooLarge
		}
		// What the host says of its length is believed up to one envelope; what comes is counted.
		body := bytes.NewBuffer(make([]byte, 0, max(512, min(resp.ContentLength+bytes.MinRead, 512<<10))))
		_, err = body.ReadFrom(io.LimitReader(resp.Body, w.target.MaxResponse+1))
		resp.Body.Close()
		if err != nil {
			return nil, err
		}
		if int64(body.Len()) > w.target.MaxResponse {
			return nil, errTooLarge
		}
		if resp.Close {
			w.close()
		}
		return &answer{status: resp.StatusCode, header: resp.Header, body: body.Bytes()}, nil
	}
	return nil, fmt.Errorf("more than %d interim answers", maxInterim)
}

func (w *wire) close() {
	if !w.broken {
		w.broken = true
		w.conn.Close()
	}
}
