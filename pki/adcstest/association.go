package adcstest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"slices"

	"wavelock/ldapdisco/logon/logontest"
)

// association is one connection: what was bound, and who was proved to be at its other end.
type association struct {
	service *Service
	speaks  syntax
	sealed  bool // packet privacy is asked for: IF_ENFORCEENCRYPTICERTREQUEST, [MS-ICPR] 3.1.4.1

	contexts []uint16 // presentation contexts that were accepted
	most     int      // of a fragment
	header   bool     // both ends sign the header
	security byte
	level    byte
	id       uint32
	logon    *logontest.Conn
	stub     []byte
}

const maxContexts = 16

func (a *association) serve(c net.Conn) error {
	a.most = maxFragment
	for {
		f, err := readFragment(c)
		if err != nil {
			return err
		}
		switch f.kind {
		case kindBind, kindAlter:
			err = a.bind(c, f)
		case kindAuth3:
			if a.logon == nil {
				return errors.New("the third leg of a logon that has not begun")
			}
			if _, _, err := a.logon.Step(f.token); err != nil {
				a.service.cfg.Log.Debug("logon", "err", err) // said at the first request, as Windows does
			}
		case kindRequest:
			err = a.request(c, f)
		default:
			err = fmt.Errorf("a fragment of kind %d", f.kind)
		}
		if err != nil {
			return err
		}
	}
}

// bind answers bind and alter_context.
func (a *association) bind(c net.Conn, f *fragment) error {
	r := &reader{b: f.raw[:f.body-f.pad], at: headerSize}
	r.u16()
	if most := int(r.u16()); most >= 1024 {
		a.most = min(a.most, most)
	}
	group := r.u32()
	n := 0
	if b := r.take(4); b != nil {
		n = int(b[0])
	}
	if n == 0 || n > maxContexts {
		return fmt.Errorf("a bind with %d contexts", n)
	}
	results := []byte{byte(n), 0, 0, 0}
	for range n {
		results = append(results, a.negotiate(r)...)
	}
	if r.err != nil {
		return r.err
	}
	token, err := a.authenticate(f)
	if err != nil {
		a.service.cfg.Log.Debug("logon", "err", err)
		return a.fault(c, f, 0, faultAccessDenied)
	}
	kind, flags := byte(kindBindAck), byte(flagFirst|flagLast)
	if f.kind == kindAlter {
		kind = kindAlterAck
	}
	if a.header {
		flags |= flagHeaderSign
	}
	body := le.AppendUint16(nil, uint16(a.most))
	body = le.AppendUint16(body, uint16(a.most))
	body = le.AppendUint32(body, max(group, 0x1f2e))
	body = append(body, 2, 0, '0', 0) // the secondary address; its value does not matter
	body = append(body, results...)
	out := newFragment(kind, flags, f.call, body)
	if token == nil {
		_, err = c.Write(sized(out))
		return err
	}
	out = withTrailer(out, 4, f.security, f.level, f.context, len(token))
	_, err = c.Write(append(out, token...))
	return err
}

// negotiate reads one presentation context and answers its result, C706 12.6.3.1.
func (a *association) negotiate(r *reader) []byte {
	id := r.u16()
	n := 0
	if b := r.take(2); b != nil {
		n = int(b[0])
	}
	abstract := r.take(20)
	found, feature := false, false
	for range n {
		t := r.take(20)
		found = found || bytes.Equal(t, transferNDR[:])
		feature = feature || len(t) == 20 && bytes.HasPrefix(t, []byte{0x2c, 0x1c, 0xb7, 0x6c, 0x12, 0x98, 0x40, 0x45})
	}
	switch {
	case feature: // bind time feature negotiation, [MS-RPCE] 3.3.1.5.3: none of the features
		return append([]byte{3, 0, 0, 0}, make([]byte, 20)...)
	case !bytes.Equal(abstract, a.speaks[:]):
		return append([]byte{2, 0, 1, 0}, make([]byte, 20)...)
	case !found:
		return append([]byte{2, 0, 2, 0}, make([]byte, 20)...)
	}
	a.contexts = append(a.contexts, id)
	return append([]byte{0, 0, 0, 0}, transferNDR[:]...)
}

// authenticate takes the token of a bind or alter_context; nil is no token to answer.
func (a *association) authenticate(f *fragment) ([]byte, error) {
	if len(f.token) == 0 {
		return nil, nil
	}
	if a.logon == nil {
		a.logon = a.service.cfg.Host.Accept(nil, logontest.None)
		a.security, a.level, a.id = f.security, f.level, f.context
		a.header = f.flags&flagHeaderSign != 0
	}
	if f.security != a.security || f.level != a.level || f.context != a.id {
		return nil, errors.New("a second logon on one connection")
	}
	out, _, err := a.logon.Step(f.token)
	if err != nil {
		return nil, err
	}
	if out == nil {
		out = []byte{}
	}
	return out, nil
}

func (a *association) request(c net.Conn, f *fragment) error {
	start := headerSize + 8
	if f.flags&flagObject != 0 {
		start += 16
	}
	if f.body-f.pad < start {
		return errNotRPC
	}
	context, op := le.Uint16(f.raw[20:]), le.Uint16(f.raw[22:])
	if !slices.Contains(a.contexts, context) {
		return a.fault(c, f, context, faultAccessDenied)
	}
	private := a.logon != nil && a.logon.Done() && a.level == packetPrivacy && len(f.token) > 0
	if a.sealed && !private && !a.clear() {
		return a.fault(c, f, context, faultAccessDenied)
	}
	if len(f.token) > 0 {
		if !private {
			return a.fault(c, f, context, faultAccessDenied)
		}
		if err := a.logon.OpenPDU(f.raw[:f.body+trailerSize], start, f.body, a.header, f.token); err != nil {
			return err
		}
	}
	if f.flags&flagFirst != 0 {
		a.stub = a.stub[:0]
	}
	if a.stub = append(a.stub, f.raw[start:f.body-f.pad]...); len(a.stub) > maxStub {
		return fmt.Errorf("a request of more than %d bytes", maxStub)
	}
	if f.flags&flagLast == 0 {
		return nil
	}
	return a.dispatch(c, f, context, op)
}

func (a *association) dispatch(c net.Conn, f *fragment, context, op uint16) error {
	s := a.service
	if !a.sealed {
		out, fault := mapped(op, a.stub, s.Addr())
		if fault != 0 {
			return a.fault(c, f, context, fault)
		}
		return a.respond(c, f, context, out)
	}
	if op != 0 {
		return a.fault(c, f, context, faultOperation)
	}
	in, err := readPassage(a.stub)
	if err != nil {
		return a.fault(c, f, context, faultStub)
	}
	switch {
	case s.ca.has(Busy, ""):
		return a.fault(c, f, context, faultTooBusy)
	case s.ca.has(Mute, ""):
		return pause(c)
	}
	out := s.ca.answer(s.ctx, s.account(a.logon.User()), in)
	if s.ca.has(Drop, "") {
		return errors.New("the connection is dropped before the answer")
	}
	return a.respond(c, f, context, out.marshal())
}

func (a *association) fault(c net.Conn, f *fragment, context uint16, status uint32) error {
	body := le.AppendUint32(nil, 0)
	body = le.AppendUint16(body, context)
	body = append(body, 0, 0)
	body = le.AppendUint32(body, status)
	body = le.AppendUint32(body, 0)
	_, err := c.Write(sized(newFragment(kindFault, flagFirst|flagLast, f.call, body)))
	return err
}

// respond writes the answer in as many fragments as it takes, each sealed by itself.
func (a *association) respond(c net.Conn, f *fragment, context uint16, stub []byte) error {
	room := (a.most - headerSize - 8 - trailerSize - 128) &^ 15
	flags := byte(flagFirst)
	for {
		n := min(room, len(stub))
		if n == len(stub) {
			flags |= flagLast
		}
		body := le.AppendUint32(nil, uint32(len(stub)))
		body = le.AppendUint16(body, context)
		body = append(body, 0, 0)
		out := newFragment(kindResponse, flags, f.call, append(body, stub[:n]...))
		stub, flags = stub[n:], 0
		var err error
		if out, err = a.seal(out); err != nil {
			return err
		}
		if _, err := c.Write(out); err != nil {
			return err
		}
		if len(stub) == 0 {
			return nil
		}
	}
}

// clear reports whether requests are taken from a connection that is logged on and protects nothing after that.
func (a *association) clear() bool {
	return a.service.ca.has(NoPrivacy, "") && a.logon != nil && a.logon.Done() && a.level == connectOnly
}

func (a *association) seal(out []byte) ([]byte, error) {
	if !a.sealed || a.level == connectOnly {
		return sized(out), nil
	}
	const start = headerSize + 8
	size := a.logon.TokenSize()
	// The stub is what has to be a multiple of 16; the response's own 8 bytes are not enciphered.
	pad := (16 - (len(out)-start)%16) % 16
	out = append(out, make([]byte, pad)...)
	out = withTrailer(out, 1, a.security, a.level, a.id, size)
	out[len(out)-6] = byte(pad)
	end := len(out) - trailerSize
	token, err := a.logon.SealPDU(out, start, end, a.header)
	if err != nil {
		return nil, err
	}
	if len(token) != size {
		return nil, fmt.Errorf("the token has %d bytes, %d were promised", len(token), size)
	}
	if a.service.ca.has(Tamper, "") {
		out[start+4] ^= 1 // of the disposition
	}
	return append(out, token...), nil
}
