package ldapdisco

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

	"github.com/go-ldap/ldap/v3"

	"wavelock/ldapdisco/logon"
)

// Dial connects to the first server that answers, and logs on. A server that refuses the account ends it: the others
// would refuse it too, and count.
func Dial(ctx context.Context, cfg Config) (*Directory, error) {
	cfg = cfg.withDefaults()
	servers, err := cfg.servers()
	if err != nil {
		return nil, &Error{Op: "read the configuration", Err: err}
	}
	if err := cfg.credential(servers); err != nil {
		return nil, &Error{Op: "read the configuration", Err: err}
	}
	var problems []error
	for _, s := range servers {
		l, err := cfg.open(ctx, s)
		if err == nil {
			return &Directory{cfg: cfg, servers: servers, root: l.root, now: l}, nil
		}
		problems = append(problems, err)
		if !cfg.another(ctx, err) {
			break
		}
		cfg.Log.Info("directory server does not serve", "server", s.url, "error", err)
	}
	if len(problems) == 1 {
		return nil, problems[0]
	}
	return nil, errors.Join(problems...)
}

// another tells if the next server may be tried after this error.
func (c Config) another(ctx context.Context, err error) bool {
	var ours *Error
	var login *logon.Error
	if ctx.Err() != nil || errors.As(err, &login) && login.PasswordRefused() {
		return false
	}
	return errors.As(err, &ours) && !ours.Logon()
}

func (c Config) open(ctx context.Context, s server) (*link, error) {
	conn, err := c.connect(ctx, s)
	if err != nil {
		return nil, err
	}
	l := &link{cfg: c, server: s, net: conn, ldap: ldap.NewConn(newBoundedConn(conn, c.Timeout), s.tls || c.StartTLS)}
	l.ldap.Start()
	if err := l.readRoot(ctx); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// connect gives a connection that is logged on, and either TLS or sealed.
func (c Config) connect(ctx context.Context, s server) (_ net.Conn, err error) {
	ctx, cancel := context.WithTimeout(ctx, 3*c.Timeout) // of all together; each wait has its own
	defer cancel()
	conn, err := c.reach(ctx, s)
	if err != nil {
		return nil, failed(s.url, "connect", err)
	}
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	interrupt := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer interrupt()
	conn.SetDeadline(time.Now().Add(c.Timeout))
	secured, op, err := c.secure(ctx, conn, s)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, failed(s.url, op, err)
	}
	if !interrupt() {
		return nil, failed(s.url, "connect", context.Cause(ctx))
	}
	conn.SetDeadline(time.Time{})
	return secured, nil
}

func (c Config) reach(ctx context.Context, s server) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	return c.Dial(ctx, "tcp", s.addr)
}

// secure starts TLS if it is wanted, and logs on.
func (c Config) secure(ctx context.Context, conn net.Conn, s server) (_ net.Conn, op string, err error) {
	r := &raw{Conn: conn}
	if c.StartTLS && !s.tls {
		if err := r.startTLS(); err != nil {
			return nil, "start TLS", err
		}
	}
	if c.StartTLS || s.tls {
		t := tls.Client(conn, &tls.Config{RootCAs: c.Roots, ServerName: s.name, MinVersion: tls.VersionTLS12})
		if err := t.HandshakeContext(ctx); err != nil {
			return nil, "verify the server by TLS", err
		}
		r.Conn = t
	}
	if c.Simple != nil {
		return r.Conn, "log on as " + c.Simple.User, r.bindSimple(c.Simple)
	}
	op = "log on as " + c.Login.Principal()
	report, err := logon.Try(ctx, c.Login)
	if err != nil {
		return nil, "open a secure session", err
	}
	bound, err := r.bindLogin(ctx, c.Login, s.name)
	report(judged(err))
	if e := (*logon.Error)(nil); errors.As(err, &e) { // it says so itself
		op = "open a secure session"
	}
	return bound, op, err
}

// judged is what the server thought of the account.
func judged(err error) logon.Verdict {
	var said *result
	switch {
	case err == nil:
		return logon.Accepted
	case errors.As(err, &said) && said.code == ldap.LDAPResultInvalidCredentials && said.data() != badBinding:
		return logon.Refused
	}
	return logon.Unknown
}
