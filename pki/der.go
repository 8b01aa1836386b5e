package pki

import "errors"

// maxNesting is far above what a PKCS #7 of certificates needs, which is about fifteen.
const maxNesting = 32

var (
	errNesting    = errors.New("its parts are nested too deeply")
	errIndefinite = errors.New("it has a part of indefinite length, which AD CS does not send")
)

// wellNested reports whether b is one DER object all of whose parts lie within
// the parts around them. The PKCS #7 library does not ask: with parts that overlap
// it takes time and memory that double every few bytes (160 bytes: 18 seconds).
func wellNested(b []byte) error {
	size, err := nested(b, 0)
	if err == nil && size != len(b) {
		return errors.New("there is something behind its end")
	}
	return err
}

// nested gives the size of the object at the beginning of b.
func nested(b []byte, depth int) (int, error) {
	if depth > maxNesting {
		return 0, errNesting
	}
	head, length, err := derHeader(b)
	if err != nil {
		return 0, err
	}
	size := head + length
	if b[0]&0x20 == 0 { // primitive
		return size, nil
	}
	for at := head; at < size; {
		n, err := nested(b[at:size], depth+1)
		if err != nil {
			return 0, err
		}
		at += n
	}
	return size, nil
}

// derHeader reads tag and length; the content is within b.
func derHeader(b []byte) (head, length int, err error) {
	at := 1
	if len(b) > 0 && b[0]&0x1f == 0x1f { // a tag of several bytes
		for at < len(b) && b[at]&0x80 != 0 {
			at++
		}
		at++
	}
	if at >= len(b) {
		return 0, 0, errBreaksOff
	}
	first := b[at]
	at++
	switch {
	case first < 0x80:
		length = int(first)
	case first == 0x80:
		return 0, 0, errIndefinite
	case first > 0x84 || len(b)-at < int(first&0x7f):
		return 0, 0, errBreaksOff
	default:
		for range first & 0x7f {
			length = length<<8 | int(b[at])
			at++
		}
	}
	if length < 0 || length > len(b)-at {
		return 0, 0, errBreaksOff
	}
	return at, length, nil
}
