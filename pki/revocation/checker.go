package revocation

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"wavelock/pki"
)

// Config is how the servers are asked.
type Config struct {
	HTTP *http.Client // http.DefaultClient when nil
	// LDAP reads the values of the object and attribute that an ldap: URL names. Where it is nil, or answers
	// errors.ErrUnsupported, such addresses are passed over.
	LDAP         func(ctx context.Context, url string) ([][]byte, error)
	Now          func() time.Time
	Rand         io.Reader     // of nonces; crypto/rand when nil
	Timeout      time.Duration // of one address; ten seconds when 0
	Keep         time.Duration // at most so long an answer is believed without asking again; an hour when 0
	Skew         time.Duration // that the clocks may differ; five minutes when 0
	RequireNonce bool          // an OCSP answer without our nonce is refused; AD CS' responder sends none by default
}

// Checker asks. It is safe for concurrent use.
type Checker struct {
	cfg    Config
	flight singleflight.Group

	mu    sync.Mutex // guards what follows
	kept  map[string]kept
	asked int // requests that were sent
}

// kept is an answer, or a failure, and until when it is believed.
type kept struct {
	value any
	err   *Error
	until time.Time
}

const (
	maxCRL  = 32 << 20
	maxOCSP = 64 << 10
	// leaveAlone is how long a server that failed is not asked again.
	leaveAlone = 30 * time.Second
	maxKept    = 100_000
)

// New is a checker that has asked nothing yet.
func New(cfg Config) *Checker {
	if cfg.HTTP == nil {
		cfg.HTTP = http.DefaultClient
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.Reader
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Keep <= 0 {
		cfg.Keep = time.Hour
	}
	if cfg.Skew <= 0 {
		cfg.Skew = 5 * time.Minute
	}
	return &Checker{cfg: cfg, kept: map[string]kept{}}
}

// Asked is how many requests were sent: what is kept is not asked for.
func (c *Checker) Asked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked
}

// Check asks about every certificate of a verified chain, the leaf first and the root left out. A certificate that is
// known to be revoked is told before one about which nothing can be found out. Errors are *Error.
func (c *Checker) Check(ctx context.Context, chain []*x509.Certificate) error {
	var doubt *Error
	for i := 0; i+1 < len(chain); i++ {
		err := c.one(ctx, chain[i], chain[i+1])
		switch {
		case err == nil:
		case err.Revoked():
			return err
		case doubt == nil:
			doubt = err
		}
	}
	if doubt != nil {
		return doubt
	}
	return nil
}

// one asks the responder first, then for the lists, until somebody knows.
func (c *Checker) one(ctx context.Context, cert, issuer *x509.Certificate) *Error {
	var last *Error
	for _, url := range cert.OCSPServer {
		if err := c.byOCSP(ctx, cert, issuer, url); err == nil || err.Revoked() {
			return named(err, cert)
		} else {
			last = worse(last, err)
		}
	}
	for _, url := range cert.CRLDistributionPoints {
		err := c.byCRL(ctx, cert, issuer, url)
		if err != nil && errors.Is(err, errors.ErrUnsupported) {
			continue
		}
		if err == nil || err.Revoked() {
			return named(err, cert)
		}
		last = worse(last, err)
	}
	if last == nil {
		last = failed(CodeNoSource, "", "it names no OCSP responder and no list that can be asked for")
	}
	return named(last, cert)
}

// worse keeps the failure that says most: a server that answered wrongly before one that did not answer.
func worse(a, b *Error) *Error {
	if a == nil || silent(a) && !silent(b) {
		return b
	}
	return a
}

func silent(e *Error) bool {
	return e.Code == CodeUnreachable || e.Code == CodeTimeout || e.Code == CodeHTTPStatus
}

func named(e *Error, cert *x509.Certificate) *Error {
	if e == nil {
		return nil
	}
	copied := *e // it may be kept, and told of another certificate
	copied.Subject = pki.DistinguishedName(cert.RawSubject)
	if copied.Subject == "" && len(cert.DNSNames) > 0 {
		copied.Subject = cert.DNSNames[0]
	}
	return &copied
}

// remember gives what is kept under key, or has it fetched, once for all who ask at the same time.
func (c *Checker) remember(key string, fetch func() (value any, until time.Time, err *Error)) (any, *Error) {
	if k, ok := c.known(key); ok {
		return k.value, k.err
	}
	got, _, _ := c.flight.Do(key, func() (any, error) {
		if k, ok := c.known(key); ok { // somebody's request ended between the look and here
			return k, nil
		}
		value, until, err := fetch()
		now := c.cfg.Now()
		if limit := now.Add(c.cfg.Keep); until.After(limit) {
			until = limit
		}
		if err != nil {
			until = now.Add(leaveAlone)
		}
		k := kept{value, err, until}
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.kept) >= maxKept {
			clear(c.kept)
		}
		if err == nil || !errors.Is(err, context.Canceled) {
			c.kept[key] = k
		}
		return k, nil
	})
	k := got.(kept)
	return k.value, k.err
}

// known is what is kept under key and still holds.
func (c *Checker) known(key string) (kept, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.kept[key]
	return k, ok && c.cfg.Now().Before(k.until)
}

// fetch gets or posts to an address and answers at most so many bytes.
func (c *Checker) fetch(ctx context.Context, url string, post []byte, most int64) ([]byte, *Error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	c.mu.Lock()
	c.asked++
	c.mu.Unlock()
	var req *http.Request
	var err error
	if post != nil {
		if req, err = http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(string(post))); err == nil {
			req.Header.Set("Content-Type", "application/ocsp-request")
		}
	} else {
		req, err = http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	}
	if err != nil {
		return nil, &Error{Code: CodeNoSource, URL: url, Err: err}
	}
	resp, err := c.cfg.HTTP.Do(req)
	if err != nil {
		return nil, unreached(ctx, url, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, failed(CodeHTTPStatus, url, "the server answers %s", resp.Status)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	switch {
	case err != nil:
		return nil, unreached(ctx, url, err)
	case int64(len(b)) > most:
		return nil, failed(CodeTooLarge, url, "more than %d bytes", most)
	}
	return b, nil
}

func unreached(ctx context.Context, url string, err error) *Error {
	code := CodeUnreachable
	var timeout interface{ Timeout() bool }
	if ctx.Err() != nil || errors.As(err, &timeout) && timeout.Timeout() {
		code = CodeTimeout
	}
	return &Error{Code: code, URL: url, Err: err}
}
