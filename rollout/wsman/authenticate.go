package wsman

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"wavelock/ldapdisco/logon"
)

// maxLegs is how many tokens we send in one logon: NTLM has two, Kerberos one.
const maxLegs = 5

// credentials is what a logon leaves on its connection.
type credentials struct {
	sealer        logon.Sealer // over HTTP
	protocol      string       // of sealed messages
	authorization string       // sent with each request; empty when the connection itself is authenticated
}

// authenticate makes the security context of a new connection with empty requests: no message is sent before it stands.
func (s *Session) authenticate(ctx context.Context, w *wire) (credentials, error) {
	login := s.target.Login
	report, err := logon.Try(ctx, login)
	if err != nil {
		return credentials{}, s.refused(&answer{}, err)
	}
	c, err := s.logOn(ctx, w, login)
	report(verdict(err))
	return c, err
}

// verdict tells what an attempt said about the credential.
func verdict(err error) logon.Verdict {
	var refused *AuthError
	switch {
	case err == nil:
		return logon.Accepted
	case errors.As(err, &refused) && refused.Status == 401:
		return logon.Refused
	default:
		return logon.Unknown
	}
}

func (s *Session) logOn(ctx context.Context, w *wire, login logon.Login) (credentials, error) {
	var bind logon.Binding
	if w.tls != nil {
		bind = logon.EndPointBinding(w.tls.PeerCertificates[0])
	}
	x, err := s.start(ctx, login, bind)
	if err != nil {
		return credentials{}, s.refused(&answer{}, err)
	}
	s.handshakes.Add(1)
	switch x.Scheme() {
	case logon.SchemeCertificate:
		return s.prove(ctx, w, credentials{authorization: logon.SchemeCertificate})
	case logon.SchemeBasic:
		token, _, err := x.Next(ctx, nil)
		if err != nil {
			return credentials{}, s.refused(&answer{}, err)
		}
		return s.prove(ctx, w, credentials{authorization: logon.SchemeBasic + " " + base64.StdEncoding.EncodeToString(token)})
	}
	if err := s.exchangeTokens(ctx, w, x); err != nil {
		return credentials{}, err
	}
	if w.tls != nil {
		return credentials{}, nil
	}
	sealer, err := x.Sealer()
	if err != nil {
		return credentials{}, s.refused(&answer{}, err)
	}
	return credentials{sealer: sealer, protocol: x.Protocol()}, nil
}

// start may ask a KDC, which gets no longer than the host.
func (s *Session) start(ctx context.Context, login logon.Login, bind logon.Binding) (logon.Exchange, error) {
	ctx, cancel := context.WithTimeout(ctx, s.target.Timeout)
	defer cancel()
	return login.Start(ctx, s.target.service(), bind)
}

// exchangeTokens runs the legs of NTLM or Kerberos.
func (s *Session) exchangeTokens(ctx context.Context, w *wire, x logon.Exchange) error {
	var in []byte
	last := &answer{}
	for range maxLegs {
		out, done, err := x.Next(ctx, in)
		if err != nil {
			return s.refused(last, err)
		}
		if out == nil && done {
			return nil
		}
		if out == nil {
			break
		}
		a, err := s.leg(ctx, w, x.Scheme()+" "+base64.StdEncoding.EncodeToString(out))
		if err != nil {
			return err
		}
		if a.status/100 == 2 && done {
			return nil
		}
		in, last = responseToken(a, x.Scheme()), a
		if err := s.checkLeg(a, in, done); err != nil {
			return err
		}
	}
	return s.refused(&answer{}, errors.New("the logon does not come to an end"))
}

// leg sends one token with an empty body.
func (s *Session) leg(ctx context.Context, w *wire, authorization string) (*answer, error) {
	if w.broken {
		return nil, &ProtocolError{Host: s.target.Host, Op: "authenticate", Err: errors.New("the host closed the connection during the logon")}
	}
	s.requests.Add(1)
	a, err := w.post(ctx, [][2]string{{"Content-Type", soapType}, {"Authorization", authorization}}, nil)
	if err != nil {
		return nil, &TransportError{Host: s.target.Host, Op: "authenticate", Err: err}
	}
	return a, nil
}

// checkLeg tells if an answer can be followed by another leg.
func (s *Session) checkLeg(a *answer, token []byte, done bool) error {
	switch {
	case a.status == 401 && (done || token == nil):
		return s.refused(a, nil)
	case a.status == 401 || a.status/100 == 2 && token != nil:
		return nil
	case a.status/100 == 2:
		return s.refused(&answer{}, errors.New("the host lets us in without proving who it is"))
	default:
		return &ProtocolError{Host: s.target.Host, Op: "authenticate", Status: a.status}
	}
}

// prove asks for the host's identity: with Basic and certificates there is no exchange that would tell whether we are let in.
func (s *Session) prove(ctx context.Context, w *wire, c credentials) (credentials, error) {
	s.requests.Add(1)
	a, err := w.post(ctx, [][2]string{{"Content-Type", soapType}, {"Authorization", c.authorization}}, []byte(identifyEnvelope))
	switch {
	case err != nil:
		return credentials{}, &TransportError{Host: s.target.Host, Op: "authenticate", Err: err}
	case a.status == 401 || a.status == 403:
		return credentials{}, s.refused(a, nil)
	case a.status != 200:
		return credentials{}, &ProtocolError{Host: s.target.Host, Op: "authenticate", Status: a.status}
	}
	return c, nil
}

// refused makes the error of a logon; the answer counts if it is a refusal.
func (s *Session) refused(a *answer, reason error) error {
	e := &AuthError{Host: s.target.Host, Principal: s.target.Login.Principal(), Err: reason}
	if reason == nil && logon.ClientCertificate(s.target.Login) != nil {
		e.Err = errUnmapped
	}
	if a.status/100 == 4 {
		e.Status, e.Offered = a.status, offered(a)
	}
	return e
}

// unmapped is the advice where a certificate is refused: nothing of what goes for passwords helps.
type unmapped struct{}

func (unmapped) Error() string { return "the certificate is not taken" }
func (unmapped) Hint() string {
	return "the host needs Certificate=true in winrm/config/service/auth, an enabled entry for the certificate's UPN and issuer in " +
		"winrm/config/service/certmapping whose account and password are right, and the issuer's chain among its roots"
}

var errUnmapped = unmapped{}

// responseToken finds the host's token of our scheme, nil if there is none.
func responseToken(a *answer, scheme string) []byte {
	for _, v := range a.header.Values("WWW-Authenticate") {
		name, value, ok := strings.Cut(strings.TrimSpace(v), " ")
		if !ok || !strings.EqualFold(name, scheme) {
			continue
		}
		token, err := base64.StdEncoding.DecodeString(strings.TrimSpace(value))
		if err == nil && len(token) > 0 {
			return token
		}
	}
	return nil
}

// offered lists the schemes of a 401.
func offered(a *answer) []string {
	var all []string
	for _, v := range a.header.Values("WWW-Authenticate") {
		for _, challenge := range strings.Split(v, ",") {
			if name, _, _ := strings.Cut(strings.TrimSpace(challenge), " "); name != "" && !strings.Contains(name, "=") {
				all = append(all, name)
			}
		}
	}
	if len(all) > 10 {
		all = append(all[:10], fmt.Sprintf("and %d more", len(all)-10))
	}
	return all
}
