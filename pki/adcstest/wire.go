package adcstest

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf16"
)

// The connection-oriented protocol of DCE 1.1 RPC (C706 chapter 12) with the security of [MS-RPCE] 2.2.2.11, read and
// written by hand: the client in package adcs stands on a library, and errors of the one must not cancel the other's.

// Kinds of fragments, C706 12.6.4.
const (
	kindRequest  = 0
	kindResponse = 2
	kindFault    = 3
	kindBind     = 11
	kindBindAck  = 12
	kindAlter    = 14
	kindAlterAck = 15
	kindAuth3    = 16
)

const (
	flagFirst      = 0x01
	flagLast       = 0x02
	flagHeaderSign = 0x04 // in bind and its answer, [MS-RPCE] 2.2.2.3
	flagObject     = 0x80

	headerSize  = 16
	trailerSize = 8
	// maxFragment is what Windows offers and takes.
	maxFragment = 5840
	// maxStub is MaxIncomingMessageSize and room for what surrounds the request.
	maxStub = maxRequest + 8<<10
)

// Faults, [MS-RPCE] 2.2.2.4 and C706 appendix E.
const (
	faultAccessDenied = 0x00000005
	faultTooBusy      = 0x1c010014 // nca_s_server_too_busy
	faultOperation    = 0x1c010002 // nca_s_op_rng_error
	faultStub         = 0x000006f7 // RPC_X_BAD_STUB_DATA
)

// RPC_C_AUTHN_LEVEL_CONNECT and RPC_C_AUTHN_LEVEL_PKT_PRIVACY.
const (
	connectOnly   = 2
	packetPrivacy = 6
)

var le = binary.LittleEndian

// fragment is one PDU as it came.
type fragment struct {
	kind, flags byte
	call        uint32
	raw         []byte
	body        int // where the body ends and the security trailer begins
	pad         int
	level       byte
	security    byte // authentication service: 9 SPNEGO, 10 NTLM, 16 Kerberos
	context     uint32
	token       []byte
}

var errNotRPC = errors.New("this is no little-endian DCE/RPC 5.0")

func readFragment(r io.Reader) (*fragment, error) {
	var h [headerSize]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return nil, err
	}
	size, auth := int(le.Uint16(h[8:])), int(le.Uint16(h[10:]))
	if h[0] != 5 || h[4] != 0x10 || size < headerSize {
		return nil, errNotRPC
	}
	f := &fragment{kind: h[2], flags: h[3], call: le.Uint32(h[12:]), raw: make([]byte, size), body: size}
	copy(f.raw, h[:])
	if _, err := io.ReadFull(r, f.raw[headerSize:]); err != nil {
		return nil, err
	}
	if auth == 0 {
		return f, nil
	}
	f.body = size - auth - trailerSize
	if f.body < headerSize {
		return nil, errNotRPC
	}
	t := f.raw[f.body:]
	f.security, f.level, f.pad, f.context, f.token = t[0], t[1], int(t[2]), le.Uint32(t[4:]), t[trailerSize:]
	if f.body-f.pad < headerSize {
		return nil, errNotRPC
	}
	return f, nil
}

// newFragment is a header without its sizes, and the body.
func newFragment(kind, flags byte, call uint32, body []byte) []byte {
	b := []byte{5, 0, kind, flags, 0x10, 0, 0, 0, 0, 0, 0, 0}
	b = le.AppendUint32(b, call)
	return append(b, body...)
}

// withTrailer pads the fragment and adds the security trailer's header for a token of so many bytes.
func withTrailer(b []byte, align int, security, level byte, context uint32, token int) []byte {
	pad := (align - (len(b)-headerSize)%align) % align
	b = append(b, make([]byte, pad)...)
	b = append(b, security, level, byte(pad), 0)
	b = le.AppendUint32(b, context)
	le.PutUint16(b[10:], uint16(token))
	le.PutUint16(b[8:], uint16(len(b)+token))
	return b
}

func sized(b []byte) []byte {
	le.PutUint16(b[8:], uint16(len(b)))
	return b
}

// reader takes NDR (transfer syntax 8a885d04, C706 14) apart. After the first mistake every answer is zero.
type reader struct {
	b   []byte
	at  int
	err error
}

func (r *reader) take(n int) []byte {
	if r.err != nil || n < 0 || n > len(r.b)-r.at {
		if r.err == nil {
			r.err = fmt.Errorf("%d bytes are asked for at %d of %d", n, r.at, len(r.b))
		}
		return nil
	}
	b := r.b[r.at : r.at+n : r.at+n]
	r.at += n
	return b
}

func (r *reader) align(n int) {
	if over := r.at % n; over != 0 && r.err == nil {
		r.at = min(r.at+n-over, len(r.b)) // the last padding may be missing
	}
}

func (r *reader) u32() uint32 {
	r.align(4)
	if b := r.take(4); b != nil {
		return le.Uint32(b)
	}
	return 0
}

func (r *reader) u16() uint16 {
	if b := r.take(2); b != nil {
		return le.Uint16(b)
	}
	return 0
}

// text is a [unique, string] of UTF-16; empty when the pointer is null.
func (r *reader) text() string {
	if r.u32() == 0 {
		return ""
	}
	most, offset, n := r.u32(), r.u32(), r.u32()
	if offset != 0 || n > most {
		r.err = errors.Join(r.err, errors.New("a string is longer than it says"))
		return ""
	}
	b := r.take(int(n) * 2)
	r.align(4)
	return fromUTF16(b)
}

// blob is a CERTTRANSBLOB, [MS-WCCE] 2.2.2.2.
func (r *reader) blob() []byte {
	size, pointer := r.u32(), r.u32()
	if pointer == 0 {
		if size != 0 {
			r.err = errors.Join(r.err, errors.New("a blob has a size and no bytes"))
		}
		return nil
	}
	if n := r.u32(); n != size {
		r.err = errors.Join(r.err, errors.New("a blob has two sizes"))
	}
	b := r.take(int(size))
	r.align(4)
	return b
}

// writer puts NDR together.
type writer struct {
	b       []byte
	pointer uint32
}

func (w *writer) align(n int) {
	for len(w.b)%n != 0 {
		w.b = append(w.b, 0)
	}
}

func (w *writer) u32(values ...uint32) {
	w.align(4)
	for _, v := range values {
		w.b = le.AppendUint32(w.b, v)
	}
}

func (w *writer) referent() {
	w.pointer += 4
	w.u32(0x20000 + w.pointer)
}

func (w *writer) blob(b []byte) {
	w.u32(uint32(len(b)))
	if len(b) == 0 {
		w.u32(0)
		return
	}
	w.referent()
	w.u32(uint32(len(b)))
	w.b = append(w.b, b...)
	w.align(4)
}

func toUTF16(s string) []byte {
	var b []byte
	for _, u := range utf16.Encode([]rune(s + "\x00")) {
		b = le.AppendUint16(b, u)
	}
	return b
}

// fromUTF16 reads up to the first NUL.
func fromUTF16(b []byte) string {
	var units []uint16
	for ; len(b) >= 2; b = b[2:] {
		u := le.Uint16(b)
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	return string(utf16.Decode(units))
}
