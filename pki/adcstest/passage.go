package adcstest

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"strings"

	"go.mozilla.org/pkcs7"
)

// The answers of CertServerRequest, [MS-ICPR] 3.1.4.1.
const (
	dispositionIssued  = 3
	dispositionPending = 5
)

// passageRequest is the input of CertServerRequest.
type passageRequest struct {
	flags      uint32
	authority  string
	id         uint32
	attributes []byte
	request    []byte
}

func readPassage(stub []byte) (passageRequest, error) {
	r := &reader{b: stub}
	in := passageRequest{flags: r.u32(), authority: r.text(), id: r.u32(), attributes: r.blob(), request: r.blob()}
	return in, r.err
}

// passageAnswer is its output. The return value of the call is 0 whatever happened: the disposition tells.
type passageAnswer struct {
	id, disposition    uint32
	chain, certificate []byte
	message            string
}

func (a passageAnswer) marshal() []byte {
	w := &writer{}
	w.u32(a.id, a.disposition)
	w.blob(a.chain)
	w.blob(a.certificate)
	w.blob(toUTF16(a.message))
	w.u32(0)
	return w.b
}

// Account is what the directory knows of an account: [MS-WCCE] 3.2.2.6.2.1.1 names a certificate from these.
type Account struct {
	Name string // CORP\WEB01$
	FQDN string // dNSHostName; empty for people and services
	SID  string
}

// answer is CertServerRequest for a caller who is known by the logon of the connection, and by nothing that the request says.
func (ca *CA) answer(ctx context.Context, caller Account, in passageRequest) passageAnswer {
	if !strings.EqualFold(in.authority, ca.cfg.Name) {
		return passageAnswer{disposition: BadRequest, message: "The parameter is incorrect."}
	}
	if in.id != 0 && len(in.request) == 0 {
		return ca.answerRetrieve(ctx, caller, int(in.id))
	}
	// Request type: what the CA finds out itself, or PKCS #10 ([MS-WCCE] 3.2.1.4.2.1.1).
	if kind := in.flags >> 8 & 0xff; kind > 1 {
		return passageAnswer{disposition: BadRequest, message: "Only PKCS #10 is known here."}
	}
	if n := len(in.attributes); n%2 != 0 || n > 0 && (in.attributes[n-1] != 0 || in.attributes[n-2] != 0) {
		return passageAnswer{disposition: BadRequest, message: "The attributes do not end."}
	}
	r := Request{Account: caller.Name, FQDN: caller.FQDN, SID: caller.SID, CSR: in.request, Template: attribute(fromUTF16(in.attributes), "CertificateTemplate")}
	der, err := ca.Issue(ctx, r)
	var pending *Pending
	if errors.As(err, &pending) {
		return ca.say(uint32(pending.RequestID), nil, err)
	}
	id := ca.submit(&submission{request: r, done: der, denied: err})
	return ca.say(uint32(id), der, err)
}

func (ca *CA) answerRetrieve(ctx context.Context, caller Account, id int) passageAnswer {
	ca.mu.Lock()
	s := ca.pending[id]
	ca.mu.Unlock()
	if s != nil && !strings.EqualFold(bare(s.request.Account), bare(caller.Name)) {
		return passageAnswer{id: uint32(id), disposition: AccessDenied, message: "The request is another account's."}
	}
	der, err := ca.Retrieve(ctx, id)
	return ca.say(uint32(id), der, err)
}

// say puts an answer of the CA into the words of the protocol.
func (ca *CA) say(id uint32, der []byte, err error) passageAnswer {
	a := passageAnswer{id: id}
	var pending *Pending
	var denied *Denied
	switch {
	case errors.As(err, &pending):
		a.disposition, a.message = dispositionPending, "Taken Under Submission"
	case errors.As(err, &denied):
		a.disposition, a.message = denied.HRESULT, "Denied by Policy Module  "+denied.Why
	case err != nil:
		a.disposition, a.message = BadRequest, err.Error()
	default:
		a.disposition, a.message, a.certificate = dispositionIssued, "Issued  ", der
		if a.chain = ca.bundle(der); ca.has(Bomb, "") {
			a.chain = bytes.Repeat([]byte{0x30, 0x80}, 4<<20)
		}
	}
	return a
}

// bundle is the CMS without signers that carries the certificate and those above it.
func (ca *CA) bundle(der []byte) []byte {
	all := append([]byte(nil), der...)
	if _, err := x509.ParseCertificate(der); err != nil {
		all = nil // one that is cut in half cannot be put into it
	}
	for _, c := range ca.ChainOf(der) {
		all = append(all, c...)
	}
	if len(all) == 0 {
		return nil
	}
	p7, err := pkcs7.DegenerateCertificate(all)
	if err != nil {
		return nil // certificates that were just made always encode
	}
	return p7
}

// attribute reads one of the lines "Name:Value", [MS-WCCE] 2.2.2.7. SAN is not among those that are asked for: the CA
// does not have EDITF_ATTRIBUTESUBJECTALTNAME2 set.
func attribute(all, name string) string {
	for line := range strings.SplitSeq(all, "\n") {
		n, v, found := strings.Cut(strings.TrimRight(line, "\r"), ":")
		if found && strings.EqualFold(strings.TrimSpace(n), name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
