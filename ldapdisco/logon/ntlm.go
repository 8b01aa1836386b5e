package logon

import (
	"context"
	"encoding/binary"
	"errors"

	"github.com/bodgit/ntlmssp"
)

// NTLM logs on with NTLMv2: raw NTLMSSP tokens under Negotiate, which http.sys and LDAP's GSS-SPNEGO take as they are.
// Domain is CORP, or empty for a user name like admin@corp.example.
func NTLM(domain, user string, password Secret) Login {
	return &ntlmLogin{domain: domain, user: user, password: password}
}

type ntlmLogin struct {
	attempts
	domain, user string
	password     Secret
}

func (l *ntlmLogin) Principal() string {
	if l.domain == "" {
		return l.user
	}
	return l.domain + `\` + l.user
}

// windows10 is what NEGOTIATE and AUTHENTICATE claim to come from; it is for debugging only ([MS-NLMP] 2.2.2.10).
var windows10 = ntlmssp.Version{ProductMajorVersion: 10, ProductBuild: 19045, NTLMRevisionCurrent: ntlmssp.NTLMSSPRevisionW2K3}

func (l *ntlmLogin) Start(_ context.Context, to Service, bind Binding) (Exchange, error) {
	if l.user == "" || l.password == "" {
		// the library would log on anonymously, and the host might even let it
		return nil, &Error{Op: "start", Principal: l.Principal(), Service: to, Err: errors.New("NTLM needs a user name and a password")}
	}
	client, err := ntlmssp.NewClient(ntlmssp.SetUserInfo(l.user, l.password.Reveal()), ntlmssp.SetDomain(l.domain), ntlmssp.SetVersion(&windows10))
	if err != nil {
		return nil, &Error{Op: "start", Principal: l.Principal(), Service: to, Err: err}
	}
	x := &ntlmExchange{login: l, to: to, client: client, sealing: bind == nil || !to.isLDAP()}
	if bind != nil {
		x.bindings = &ntlmssp.ChannelBindings{ApplicationData: bind}
	}
	return x, nil
}

// ntlmExchange is NEGOTIATE, CHALLENGE, AUTHENTICATE.
type ntlmExchange struct {
	login    *ntlmLogin
	to       Service
	client   *ntlmssp.Client
	bindings *ntlmssp.ChannelBindings
	sealing  bool
	asked    bool
	answered bool
}

func (x *ntlmExchange) Next(_ context.Context, in []byte) (out []byte, done bool, err error) {
	fail := func(op string, err error) ([]byte, bool, error) {
		return nil, false, &Error{Op: op, Principal: x.login.Principal(), Service: x.to, Err: err}
	}
	switch {
	case x.answered:
		return fail("finish", errors.New("the host sent a token after NTLM was over"))
	case !x.asked:
		if in != nil {
			return fail("start", errors.New("the host spoke first"))
		}
		x.asked = true
		if out, err = x.negotiate(); err != nil {
			return fail("start", err)
		}
		return out, false, nil
	}
	if err := checkChallenge(in, x.wanted()); err != nil {
		return fail("answer the challenge", err)
	}
	if out, err = x.client.Authenticate(in, x.bindings); err != nil {
		return fail("answer the challenge", err)
	}
	x.answered = true
	return out, true, nil
}

// negotiate adds what Windows asks for and the library does not. The MIC covers NEGOTIATE, and the library keeps the
// very slice that it returns, so the change is made in place.
func (x *ntlmExchange) negotiate() ([]byte, error) {
	m, err := x.client.Authenticate(nil, nil)
	if err != nil {
		return nil, err
	}
	flags := binary.LittleEndian.Uint32(m[negotiateFlagsAt:]) | ntlmRequestTarget | ntlmNTLM
	if !x.sealing {
		flags &^= ntlmSign | ntlmSeal
	}
	binary.LittleEndian.PutUint32(m[negotiateFlagsAt:], flags)
	return m, nil
}

// wanted is the flags without which the context would be weaker than it looks.
func (x *ntlmExchange) wanted() uint32 {
	want := uint32(ntlmUnicode | ntlmExtended | ntlmTargetInfo | ntlm128)
	if x.sealing {
		want |= ntlmSign | ntlmSeal | ntlmKeyExchange
	}
	return want
}

func (x *ntlmExchange) Sealer() (Sealer, error) {
	session := x.client.SecuritySession()
	if !x.answered || !x.sealing || session == nil {
		return nil, &Error{Op: "seal", Principal: x.login.Principal(), Service: x.to, Err: errors.New("no sealing was agreed")}
	}
	return &ntlmSealer{session: session}, nil
}

func (x *ntlmExchange) Protocol() string { return protocolSPNEGO }
func (x *ntlmExchange) Scheme() string   { return SchemeNegotiate }

const ntlmSignatureSize = 16 // [MS-NLMP] 2.2.2.9

type ntlmSealer struct{ session *ntlmssp.SecuritySession }

func (s *ntlmSealer) Seal(msg []byte) (header, data []byte, err error) {
	data, header, err = s.session.Wrap(msg)
	return header, data, err
}

func (s *ntlmSealer) Open(header, data []byte) ([]byte, error) {
	if len(header) != ntlmSignatureSize || binary.LittleEndian.Uint32(header) != 1 {
		return nil, errors.New("not an NTLM signature") // the library indexes it unchecked, and skips its version
	}
	return s.session.Unwrap(data, header)
}

// Wrap always seals: NTLM has no use for a message that is only signed, and LDAP's layer of signing seals too.
func (s *ntlmSealer) Wrap(msg []byte, _ bool) ([]byte, error) {
	header, data, err := s.Seal(msg)
	return append(header, data...), err
}

func (s *ntlmSealer) Unwrap(token []byte) ([]byte, bool, error) {
	if len(token) < ntlmSignatureSize {
		return nil, false, errors.New("short NTLM message")
	}
	msg, err := s.Open(token[:ntlmSignatureSize], token[ntlmSignatureSize:])
	return msg, err == nil, err
}
