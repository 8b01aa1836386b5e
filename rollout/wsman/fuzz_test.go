package wsman

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// clearSealer lets the fuzzer reach what is behind the seal.
type clearSealer struct{}

func (clearSealer) Seal(msg []byte) ([]byte, []byte, error) { return make([]byte, 16), msg, nil }
func (clearSealer) Open(header, data []byte) ([]byte, error) {
	if len(header) != 16 {
		return nil, errors.New("header")
	}
	return data, nil
}
func (clearSealer) Wrap([]byte, bool) ([]byte, error)   { return nil, errors.New("unused") }
func (clearSealer) Unwrap([]byte) ([]byte, bool, error) { return nil, false, errors.New("unused") }

func FuzzSealedMessage(f *testing.F) {
	const protocol = "application/HTTP-SPNEGO-session-encrypted"
	for _, msg := range []string{"", "x", boundary + "--\r\n", "\tContent-Type: application/octet-stream\r\n"} {
		b, _, err := sealMessage([]byte(msg), protocol, clearSealer{})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(boundary + "\r\nContent-Type: x\r\nOriginalContent: type=y;Length=0\r\n-- Encrypted Boundary\r\nContent-Type: application/octet-stream\r\n\x10\x00\x00\x000123456789abcdef" + boundary + "--"))
	f.Fuzz(func(t *testing.T, b []byte) {
		msg, err := openMessage(b, clearSealer{})
		if err != nil {
			return
		}
		again, _, err := sealMessage(msg, protocol, clearSealer{})
		if err != nil {
			t.Fatal(err)
		}
		if back, err := openMessage(again, clearSealer{}); err != nil || !bytes.Equal(back, msg) {
			t.Fatalf("%q came back as %q: %v", msg, back, err)
		}
	})
}

func TestSealedMessagesMayHoldBoundaries(t *testing.T) {
	for _, msg := range []string{"", boundary, boundary + "--\r\n", strings.Repeat("\r\n"+boundary+"\r\n\tContent-Type: application/octet-stream\r\n", 3)} {
		b, contentType, err := sealMessage([]byte(msg), "p", clearSealer{})
		if err != nil || !isSealed(contentType) {
			t.Fatal(contentType, err)
		}
		if got, err := openMessage(b, clearSealer{}); err != nil || string(got) != msg {
			t.Errorf("%q: %q %v", msg, got, err)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	if exists(fixtureFolder(f)) {
		for _, r := range recordings(f) {
			for _, m := range r.Messages {
				f.Add(m.Response, 500)
			}
		}
		for _, file := range []string{"soap_fault_v1.xml", "soap_fault_v2.xml", "wmi_error_v2.xml", "open_shell_v1.xml"} {
			f.Add(readFixture(f, file), 500)
		}
	}
	f.Add(`<Envelope><Body><Fault><Detail><WSManFault Code="-1"><Message><ProviderFault><WSManFault/></ProviderFault></Message></WSManFault></Detail></Fault></Body></Envelope>`, 500)
	f.Fuzz(func(t *testing.T, s string, status int) {
		session := &Session{target: Target{Host: "host1"}}
		body, err := session.read(request{op: "read"}, &answer{status: status, body: []byte(s)})
		var fault *Fault
		if errors.As(err, &fault) {
			_, _ = fault.Error(), fault.Hint()
			if len(fault.Error()) > 5000 {
				t.Fatalf("an error of %d bytes", len(fault.Error()))
			}
		}
		if err == nil && body == nil {
			t.Fatal("neither body nor error")
		}
		if err == nil && len(body.Children) > 0 && validNames(body.Children[0]) {
			if _, err := Parse([]byte(instance("urn:x", body.Children[0]))); err != nil {
				t.Fatalf("what came cannot be sent back: %v", err)
			}
		}
	})
}

func FuzzEnumeration(f *testing.F) {
	f.Add(`<EnumerateResponse><EnumerationContext>c</EnumerationContext><Items><Item><EndpointReference><ReferenceParameters><SelectorSet><Selector Name="a">b</Selector></SelectorSet></ReferenceParameters></EndpointReference></Item></Items></EnumerateResponse>`, `<PullResponse><Items/><EndOfSequence/></PullResponse>`)
	f.Fuzz(func(t *testing.T, first, second string) {
		e := &enumeration{session: &Session{target: Target{Host: "host1"}}, op: "enumerate"}
		for _, s := range []string{first, second} {
			root, err := Parse([]byte("<Body>" + s + "</Body>"))
			if err != nil {
				return
			}
			items, err := e.take(root)
			if err != nil || e.ended {
				return
			}
			for _, item := range items {
				item.Reference()
				item.Values("x")
			}
		}
	})
}
