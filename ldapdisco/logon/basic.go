package logon

import (
	"context"
	"errors"
)

// Basic sends user name and password themselves, inside TLS only, and only because it was asked for: it is for hosts
// outside the domain.
func Basic(user string, password Secret) Login {
	return &basicLogin{user: user, password: password}
}

type basicLogin struct {
	attempts
	user     string
	password Secret
}

func (l *basicLogin) Principal() string { return l.user }

func (l *basicLogin) Start(_ context.Context, to Service, bind Binding) (Exchange, error) {
	if bind == nil {
		return nil, &Error{Op: "start", Principal: l.user, Service: to, Err: &hinted{
			"Basic authentication would send the password in clear", "use HTTPS, or NTLM or Kerberos over HTTP"}}
	}
	return basicExchange{l}, nil
}

type basicExchange struct{ login *basicLogin }

// Next gives user:password, which HTTP carries in base64 with every request.
func (x basicExchange) Next(_ context.Context, _ []byte) ([]byte, bool, error) {
	return []byte(x.login.user + ":" + x.login.password.Reveal()), true, nil
}

func (x basicExchange) Sealer() (Sealer, error) {
	return nil, &Error{Op: "seal", Principal: x.login.user, Err: errors.New("Basic authentication has no sealing")}
}

func (x basicExchange) Protocol() string { return "" }
func (x basicExchange) Scheme() string   { return SchemeBasic }
