package wsman

import (
	"errors"
	"fmt"
	"mime"
	"strings"
)

// isSOAP tells if an answer claims to be SOAP 1.2.
func isSOAP(contentType string) bool {
	t, _, err := mime.ParseMediaType(contentType)
	return err == nil && t == "application/soap+xml"
}

// read parses an answer that is believed, and checks that it is for r.
func (s *Session) read(r request, a *answer) (*Element, error) {
	fail := func(err error) (*Element, error) {
		s.disconnect()
		return nil, &ProtocolError{Host: s.target.Host, Op: r.op, Err: err, Sent: true}
	}
	root, err := Parse(a.body)
	if err != nil {
		return fail(fmt.Errorf("parse the answer: %w", err))
	}
	body := root.Child("Body")
	if root.Name != "Envelope" || body == nil {
		return fail(errors.New("the answer is no SOAP envelope"))
	}
	fault := body.Child("Fault")
	relates := strings.TrimSpace(root.Child("Header").Value("RelatesTo"))
	if r.id != "" && relates != r.id && !(fault != nil && relates == "") { // a message that the host could not read has no id
		return fail(fmt.Errorf("the answer is for message %q, not for %q", relates, r.id))
	}
	if fault != nil {
		f := parseFault(fault)
		f.Host, f.Op, f.Status = s.target.Host, r.op, a.status
		return nil, f
	}
	if a.status != 200 {
		return fail(fmt.Errorf("HTTP %d without a fault", a.status))
	}
	return body, nil
}
