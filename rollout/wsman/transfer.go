package wsman

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Identity is what a host says about its WS-Management service.
type Identity struct {
	Vendor, Version, Protocol string
	SecurityProfiles          []string
}

// identifyEnvelope is DMTF's Identify; it has no headers.
const identifyEnvelope = `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:wsmid="http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd"><s:Header/><s:Body><wsmid:Identify/></s:Body></s:Envelope>`

// Identify asks who is there. A good answer proves that the whole way through WinRM works.
func (s *Session) Identify(ctx context.Context) (Identity, error) {
	const op = "identify"
	body, err := s.do(ctx, request{op: op, envelope: identifyEnvelope, repeatable: true})
	if err != nil {
		return Identity{}, err
	}
	r := body.Child("IdentifyResponse")
	if r == nil {
		return Identity{}, s.malformed(op, "no identity")
	}
	return Identity{
		Vendor: r.Value("ProductVendor"), Version: r.Value("ProductVersion"), Protocol: r.Value("ProtocolVersion"),
		SecurityProfiles: r.Child("SecurityProfiles").Values("SecurityProfileName"),
	}, nil
}

// Get reads one instance.
func (s *Session) Get(ctx context.Context, r Resource) (*Element, error) {
	op := "get " + r.String()
	body, err := s.do(ctx, s.request(op, actionGet, r, "", true))
	if err != nil {
		return nil, err
	}
	return s.only(op, body)
}

// Put replaces one instance: Get it, change it, put it back whole. It gives the instance as it is now.
func (s *Session) Put(ctx context.Context, r Resource, instance *Element) (*Element, error) {
	op := "put " + r.String()
	body, err := s.doWith(ctx, op, actionPut, r, instance)
	if err != nil || len(body.Children) == 0 {
		return nil, err
	}
	return body.Children[0], nil
}

// Create makes a new instance and tells what its selectors are.
func (s *Session) Create(ctx context.Context, r Resource, instance *Element) (Resource, error) {
	op := "create " + r.String()
	body, err := s.doWith(ctx, op, actionCreate, r, instance)
	if err != nil {
		return Resource{}, err
	}
	created := body.Child("ResourceCreated")
	if created == nil {
		return Resource{}, s.malformed(op, "nothing created")
	}
	return reference(created), nil
}

// Delete removes one instance.
func (s *Session) Delete(ctx context.Context, r Resource) error {
	_, err := s.do(ctx, s.request("delete "+r.String(), actionDelete, r, "", false))
	return err
}

// Invoke calls a method and gives its output parameters. WMI's own errors come as ReturnValue, not as a fault.
func (s *Session) Invoke(ctx context.Context, r Resource, method string, in ...Field) (*Element, error) {
	op := "invoke " + method + " of " + r.String()
	input := NewElement(method+"_INPUT", in...)
	body, err := s.doWith(ctx, op, r.URI+"/"+method, r, input)
	if err != nil {
		return nil, err
	}
	return s.only(op, body)
}

// doWith sends an instance in the body.
func (s *Session) doWith(ctx context.Context, op, action string, r Resource, e *Element) (*Element, error) {
	if e == nil || !validNames(e) {
		return nil, fmt.Errorf("%s on %s: a name cannot be written as XML", op, s.target.Host)
	}
	return s.do(ctx, s.request(op, action, r, instance(r.URI, e), false))
}

func (s *Session) request(op, action string, r Resource, body string, repeatable bool) request {
	e := envelope{
		action: action, to: s.target.url(), resource: r, messageID: "uuid:" + s.newID(), sessionID: "uuid:" + s.id,
		timeout: s.target.operationTimeout(), locale: s.target.Locale, body: body,
	}
	return request{op: op, id: e.messageID, envelope: e.String(), repeatable: repeatable}
}

// only gives the one element of a body.
func (s *Session) only(op string, body *Element) (*Element, error) {
	if len(body.Children) == 0 {
		return nil, s.malformed(op, "an empty body")
	}
	return body.Children[0], nil
}

func (s *Session) malformed(op, what string) error {
	return &ProtocolError{Host: s.target.Host, Op: op, Err: errors.New("the answer has " + what), Sent: true}
}

// isGUID tells if an id of the host is one that may go into a message as it is.
func isGUID(s string) bool {
	return s != "" && len(s) <= 100 && strings.Trim(s, "0123456789abcdefABCDEFui:-") == ""
}
