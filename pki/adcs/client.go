package adcs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"time"
	"unicode/utf16"

	"github.com/oiweiwei/go-msrpc/dcerpc"
	rpcerrors "github.com/oiweiwei/go-msrpc/dcerpc/errors"
	"github.com/oiweiwei/go-msrpc/msrpc/dcom/wcce"
	icertpassage "github.com/oiweiwei/go-msrpc/msrpc/icpr/icertpassage/v0"

	"wavelock/ldapdisco/logon"
	"wavelock/pki"
)

// Config says who asks, and how a CA is reached.
type Config struct {
	Kerberos *logon.KerberosConfig // of the service account
	NTLM     *NTLM                 // instead of Kerberos, where somebody decided so
	Dial     func(ctx context.Context, network, address string) (net.Conn, error)
	Parallel int           // requests to one CA at once; 4 when 0
	Timeout  time.Duration // of one request, logon included; a minute when 0
	Log      *slog.Logger
}

// NTLM is an account that logs on with NTLMv2.
type NTLM struct {
	Domain, User string
	Password     logon.Secret
}

// CA is a certification authority as the directory names it.
type CA struct {
	Name   string // cn of its object in Enrollment Services
	Host   string // dNSHostName of that object
	Port   int    // fixed TCP port of CertSvc; 0 asks the endpoint mapper
	Mapper int    // TCP port of the endpoint mapper; 135 when 0
}

func (ca CA) String() string { return ca.Host + `\` + ca.Name }

// Request is what is asked for a computer.
type Request struct {
	Template string // cn
	CSR      []byte // PKCS #10 in DER
	DC       string // full name of the domain controller to read the computer from; useful right after a join
}

// Answer is what the CA said when it did not say no.
type Answer struct {
	Request     uint32 // number at the CA
	Pending     bool   // it waits for a CA manager
	Certificate []byte // DER; nothing of it has been checked
	Chain       []byte // PKCS #7 in DER, or nothing; not checked either
	Message     string
}

// Client asks CAs. It is safe for concurrent use.
type Client struct {
	cfg Config

	mu    sync.Mutex               // guards slots
	slots map[string]chan struct{} // by CA
}

// New checks the configuration. Nothing is sent.
func New(cfg Config) (*Client, error) {
	switch {
	case cfg.Kerberos == nil && cfg.NTLM == nil, cfg.Kerberos != nil && cfg.NTLM != nil:
		return nil, errors.New("ask a CA: exactly one of Kerberos and NTLM is needed")
	case cfg.Parallel < 0 || cfg.Timeout < 0:
		return nil, errors.New("ask a CA: the limit and the time-out are not negative")
	}
	if cfg.Parallel == 0 {
		cfg.Parallel = 4
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = time.Minute
	}
	if cfg.Dial == nil {
		cfg.Dial = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Client{cfg: cfg, slots: map[string]chan struct{}{}}, nil
}

// Submit sends a PKCS #10 for a template, [MS-ICPR] 3.1.4.1. Errors are *Error. A
// time-out leaves open whether the CA issued; asking again then costs a second
// certificate and nothing else.
func (c *Client) Submit(ctx context.Context, ca CA, r Request) (Answer, error) {
	if err := plain(r.Template); err != nil {
		return Answer{}, &Error{Op: "submit a request", CA: ca.String(), Kind: Protocol, Err: fmt.Errorf("template: %w", err)}
	}
	attributes := "CertificateTemplate:" + r.Template
	if r.DC != "" {
		if err := plain(r.DC); err != nil {
			return Answer{}, &Error{Op: "submit a request", CA: ca.String(), Kind: Protocol, Err: fmt.Errorf("domain controller: %w", err)}
		}
		attributes += "\ncdc:" + r.DC
	}
	return c.call(ctx, "submit a request", ca, &icertpassage.CertServerRequestRequest{Flags: requestPKCS10, Authority: ca.Name,
		Attributes: blob(utf16z(attributes)), Request: blob(r.CSR)})
}

// Retrieve asks what became of a pending request. Errors are *Error.
func (c *Client) Retrieve(ctx context.Context, ca CA, id uint32) (Answer, error) {
	op := fmt.Sprintf("retrieve request %d", id)
	if id == 0 {
		return Answer{}, &Error{Op: op, CA: ca.String(), Kind: Protocol, Err: errors.New("there is no request 0")}
	}
	return c.call(ctx, op, ca, &icertpassage.CertServerRequestRequest{Authority: ca.Name, RequestID: id, Attributes: blob(nil), Request: blob(nil)})
}

const (
	requestPKCS10 = 0x100 // CR_IN_PKCS10, [MS-WCCE] 3.1.1.4.3.1.1
	issued        = 3
	pending       = 5
	maxMessage    = 4 << 10

	faultTooBusy = 0x1c010014 // nca_s_server_too_busy
	rpcTooBusy   = 0x6bb      // RPC_S_SERVER_TOO_BUSY
)

func (c *Client) call(ctx context.Context, op string, ca CA, in *icertpassage.CertServerRequestRequest) (answer Answer, err error) {
	defer func() {
		if r := recover(); r != nil { // the library decodes foreign bytes
			answer, err = Answer{}, &Error{Op: op, CA: ca.String(), Kind: Protocol, Err: fmt.Errorf("an answer that cannot be read: %v", r)}
		}
	}()
	leave, err := c.enter(ctx, ca)
	if err != nil {
		return Answer{}, refused(op, ca.String(), err)
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	out, err := c.invoke(ctx, ca, in, dcerpc.WithSeal())
	if err != nil {
		if ctx.Err() != nil {
			err = errors.Join(ctx.Err(), err)
		}
		return Answer{}, refused(op, ca.String(), err)
	}
	return judge(op, ca, out)
}

// judge reads what the CA decided: the disposition tells, the return value is always 0.
func judge(op string, ca CA, out *icertpassage.CertServerRequestResponse) (Answer, error) {
	a := Answer{Request: out.RequestID, Message: message(out.DispositionMessage)}
	fail := func(kind Kind, hresult uint32, err error) (Answer, error) {
		return Answer{}, &Error{Op: op, CA: ca.String(), Kind: kind, HRESULT: hresult, Request: a.Request, Message: a.Message, Err: err}
	}
	switch d := out.Disposition; {
	case out.Return != 0:
		return fail(Denied, out.Return, nil)
	case d == pending:
		a.Pending = true
		return a, nil
	case d != issued:
		return fail(Denied, d, nil)
	}
	if out.EncodedCert == nil || len(out.EncodedCert.Buffer) == 0 {
		return fail(Protocol, 0, errors.New("it says that it issued, and sends no certificate"))
	}
	a.Certificate = out.EncodedCert.Buffer
	if out.Cert != nil {
		a.Chain = out.Cert.Buffer
	}
	if len(a.Certificate) > pki.MaxCertificate || len(a.Chain) > pki.MaxChain {
		return fail(Protocol, 0, fmt.Errorf("a certificate of %d bytes with a chain of %d", len(a.Certificate), len(a.Chain)))
	}
	return a, nil
}

// enter waits for one of the CA's slots.
func (c *Client) enter(ctx context.Context, ca CA) (leave func(), err error) {
	key := strings.ToLower(ca.String())
	c.mu.Lock()
	slots := c.slots[key]
	if slots == nil {
		slots = make(chan struct{}, c.cfg.Parallel)
		c.slots[key] = slots
	}
	c.mu.Unlock()
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *Client) invoke(ctx context.Context, ca CA, in *icertpassage.CertServerRequestRequest, level dcerpc.SecurityOption) (*icertpassage.CertServerRequestResponse, error) {
	port := ca.Port
	if port == 0 {
		var err error
		if port, err = c.askMapper(ctx, ca); err != nil {
			return nil, fmt.Errorf("ask the endpoint mapper: %w", err)
		}
	}
	secured, err := c.security(ctx)
	if err != nil {
		return nil, err
	}
	d := &dialer{dial: c.cfg.Dial, host: ca.Host}
	defer d.close()
	conn, err := d.connect(secured, port, c.cfg.Timeout)
	if err != nil {
		return nil, err
	}
	defer conn.Close(secured)
	cli, err := icertpassage.NewCertPassageClient(secured, conn, level, dcerpc.WithTargetName("host/"+ca.Host))
	if err != nil {
		return nil, d.explain(err)
	}
	out, err := cli.CertServerRequest(secured, in)
	return out, d.explain(err)
}

func blob(b []byte) *wcce.CertTransportBlob {
	return &wcce.CertTransportBlob{Length: uint32(len(b)), Buffer: b}
}

// utf16z is UTF-16LE with its NUL: without it a CA answers E_INVALIDARG.
func utf16z(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s + "\x00")) {
		b = append(b, byte(u), byte(u>>8))
	}
	return b
}

// message is the CA's text, cut to what a person can read.
func message(b *wcce.CertTransportBlob) string {
	if b == nil {
		return ""
	}
	raw := b.Buffer[:min(len(b.Buffer), maxMessage)]
	var units []uint16
	for ; len(raw) >= 2; raw = raw[2:] {
		if u := uint16(raw[0]) | uint16(raw[1])<<8; u != 0 {
			units = append(units, u)
		}
	}
	return strings.Join(strings.Fields(string(utf16.Decode(units))), " ")
}

// plain refuses what would end an attribute's line or begin another: names come from the directory.
func plain(s string) error {
	if s == "" || len(s) > 256 || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == ':' || r == '&' || r == 0x7f }) {
		return fmt.Errorf("%q is no name", s)
	}
	return nil
}

// faultOf is the status of an RPC fault; 0 when err is none.
func faultOf(err error) uint32 {
	var coded *rpcerrors.Error
	if errors.As(err, &coded) {
		if v, ok := coded.Value.(uint32); ok {
			return v
		}
	}
	var known *rpcerrors.RPCError
	if errors.As(err, &known) {
		return known.Code
	}
	return 0
}
