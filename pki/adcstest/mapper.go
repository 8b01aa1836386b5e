package adcstest

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"strings"
)

// syntax is an interface or transfer syntax: UUID in its wire order, and version.
type syntax [20]byte

func newSyntax(uuid string, major, minor uint16) (s syntax) {
	raw, err := hex.DecodeString(strings.ReplaceAll(uuid, "-", ""))
	if err != nil || len(raw) != 16 {
		panic("adcstest: " + uuid) // constants only
	}
	copy(s[:], []byte{raw[3], raw[2], raw[1], raw[0], raw[5], raw[4], raw[7], raw[6]})
	copy(s[8:], raw[8:])
	le.PutUint16(s[16:], major)
	le.PutUint16(s[18:], minor)
	return s
}

var (
	passageInterface = newSyntax("91ae6020-9e3c-11cf-8d7c-00aa00c091be", 0, 0) // ICertPassage, [MS-ICPR] 1.9
	mapperInterface  = newSyntax("e1af8308-5d1f-11c9-91a4-08002b14a0fa", 3, 0) // C706 appendix O
	transferNDR      = newSyntax("8a885d04-1ceb-11c9-9fe8-08002b104860", 2, 0)
)

const (
	opLookup = 2
	opMap    = 3

	mapperNothing = 0x16c9a0d6 // ept_s_not_registered
)

// tower says where the CA's interface is, C706 appendix L: interface, NDR, RPC over TCP, port, address.
func tower(at netip.AddrPort) []byte {
	floor := func(b, left, right []byte) []byte {
		b = append(le.AppendUint16(b, uint16(len(left))), left...)
		return append(le.AppendUint16(b, uint16(len(right))), right...)
	}
	id := func(s syntax) ([]byte, []byte) { return append([]byte{0x0d}, s[:18]...), s[18:] }
	b := []byte{5, 0}
	for _, s := range []syntax{passageInterface, transferNDR} {
		left, right := id(s)
		b = floor(b, left, right)
	}
	b = floor(b, []byte{0x0b}, []byte{0, 0})
	b = floor(b, []byte{0x07}, []byte{byte(at.Port() >> 8), byte(at.Port())})
	ip := at.Addr().As4()
	return floor(b, []byte{0x09}, ip[:])
}

// mapped answers ept_map and ept_lookup for the CA's interface.
func mapped(op uint16, stub []byte, at netip.AddrPort) ([]byte, uint32) {
	if op != opMap && op != opLookup {
		return nil, faultOperation
	}
	w := &writer{b: make([]byte, 20)} // the handle of a finished search is zero
	known := bytes.Contains(stub, passageInterface[:16])
	t := tower(at)
	switch {
	case op == opLookup && !known && len(stub) > 4 && le.Uint32(stub) != 0: // all elements are asked for with inquiry 0
		w.u32(0, 0, 0, 0, mapperNothing)
	case op == opMap && !known:
		w.u32(0, 0, 0, 0, mapperNothing)
	case op == opMap:
		w.u32(1, 1, 0, 1)
		w.referent()
		w.tower(t)
		w.u32(0)
	default:
		w.u32(1, 1, 0, 1)
		w.b = append(w.b, make([]byte, 16)...) // no object
		w.referent()
		w.u32(0, 1) // the annotation is empty: offset, count, NUL
		w.b = append(w.b, 0)
		w.tower(t)
		w.u32(0)
	}
	return w.b, 0
}

func (w *writer) tower(t []byte) {
	w.u32(uint32(len(t)), uint32(len(t)))
	w.b = append(w.b, t...)
	w.align(4)
}
