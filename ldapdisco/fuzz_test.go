package ldapdisco

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	ber "github.com/go-asn1-ber/asn1-ber"
)

func FuzzSID(f *testing.F) {
	f.Add([]byte{1, 5, 0, 0, 0, 0, 0, 5, 21, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 3, 2, 0, 0})
	f.Add([]byte{1, 0, 0x80, 0, 0, 0, 0, 1})
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSID(b)
		if err != nil {
			return
		}
		if back := encodeSID(t, s); !bytes.Equal(back, b) {
			t.Errorf("%x is %s is %x", b, s, back)
		}
	})
}

func encodeSID(t *testing.T, s string) []byte {
	t.Helper()
	parts := strings.Split(strings.TrimPrefix(s, "S-1-"), "-")
	authority, err := strconv.ParseUint(strings.TrimPrefix(parts[0], "0x"), map[bool]int{true: 16, false: 10}[strings.HasPrefix(parts[0], "0x")], 48)
	if err != nil {
		t.Fatal(err)
	}
	b := binary.BigEndian.AppendUint64(nil, authority)
	b[0], b[1] = 1, byte(len(parts)-1)
	for _, p := range parts[1:] {
		n, err := strconv.ParseUint(p, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	return b
}

func FuzzGUID(f *testing.F) {
	f.Add([]byte("0123456789abcdef"))
	f.Add([]byte("short"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseGUID(b)
		if (err == nil) != (len(b) == 16) {
			t.Fatalf("%d bytes: %v", len(b), err)
		}
		if err != nil {
			return
		}
		raw, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
		if err != nil || len(s) != 36 {
			t.Fatalf("%s: %v", s, err)
		}
		for _, swap := range [][2]int{{0, 3}, {1, 2}, {4, 5}, {6, 7}} {
			raw[swap[0]], raw[swap[1]] = raw[swap[1]], raw[swap[0]]
		}
		if !bytes.Equal(raw, b) {
			t.Errorf("%x is %s", b, s)
		}
	})
}

// plainSealer takes frames that begin with S, and says that those with U are only signed.
type plainSealer struct{}

func (plainSealer) Seal(msg []byte) (header, data []byte, err error) { return []byte{'S'}, msg, nil }
func (plainSealer) Open(_, data []byte) ([]byte, error)              { return data, nil }
func (plainSealer) Wrap(msg []byte, _ bool) ([]byte, error)          { return append([]byte{'S'}, msg...), nil }
func (plainSealer) Unwrap(token []byte) ([]byte, bool, error) {
	if len(token) == 0 || token[0] != 'S' && token[0] != 'U' {
		return nil, false, errors.New("bad token")
	}
	return token[1:], token[0] == 'S', nil
}

// stream is a connection that holds what was received, and keeps what is sent.
type stream struct {
	net.Conn
	in  io.Reader
	out bytes.Buffer
}

func (s *stream) Read(p []byte) (int, error)       { return s.in.Read(p) }
func (s *stream) Write(p []byte) (int, error)      { return s.out.Write(p) }
func (s *stream) SetWriteDeadline(time.Time) error { return nil }

// FuzzSealedReader holds the reader of the sealed layer against one that is written down plainly.
func FuzzSealedReader(f *testing.F) {
	f.Add([]byte("\x00\x00\x00\x03Sab\x00\x00\x00\x02Sc"), 1)
	f.Add([]byte("\x00\x00\x00\x02Ua"), 10)
	f.Add([]byte("\xff\xff\xff\xffS"), 10)
	f.Add([]byte("\x00\x00\x00\x01S\x00\x00\x00\x00"), 3)
	f.Fuzz(func(t *testing.T, in []byte, chunk int) {
		want, clean := unseal(in)
		c := &sealedConn{Conn: &stream{in: bytes.NewReader(in)}, sealer: plainSealer{}}
		var got []byte
		var err error
		p := make([]byte, 1+max(chunk, -chunk)%64)
		for err == nil {
			var n int
			n, err = c.Read(p)
			got = append(got, p[:n]...)
		}
		if !bytes.Equal(got, want) || (err == io.EOF) != clean {
			t.Errorf("%q: %q, %v; want %q, clean %v", in, got, err, want, clean)
		}
	})
}

func unseal(in []byte) (plain []byte, clean bool) {
	for len(in) >= 4 {
		n := binary.BigEndian.Uint32(in)
		if n > maxFrame || int(n) > len(in)-4 {
			return plain, false
		}
		frame := in[4 : 4+n]
		if len(frame) == 0 || frame[0] != 'S' {
			return plain, false
		}
		plain = append(plain, frame[1:]...)
		in = in[4+n:]
	}
	return plain, len(in) == 0
}

func TestLongWritesAreSealedInPieces(t *testing.T) {
	s := &stream{}
	msg := bytes.Repeat([]byte("0123456789"), 20_000)
	if n, err := (&sealedConn{Conn: s, sealer: plainSealer{}}).Write(msg); n != len(msg) || err != nil {
		t.Fatal(n, err)
	}
	back, clean := unseal(s.out.Bytes())
	if !bytes.Equal(back, msg) || !clean {
		t.Error("what was written is not what was sent")
	}
}

// FuzzMessage: the bounded reader and the reader before the logon take the same messages, and neither fails badly.
func FuzzMessage(f *testing.F) {
	f.Add([]byte("\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00"))
	f.Add([]byte("\x30\x84\x00\x00\x00\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00"))
	f.Add([]byte("\x30\x80\x00\x00"))
	f.Add([]byte("\x30\x85\x01\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		p, err := readMessage(bytes.NewReader(in))
		bounded := newBoundedConn(&stream{in: bytes.NewReader(in)}, time.Second)
		q, errBounded := ber.ReadPacket(bounded)
		if err == nil && errBounded == nil && !bytes.Equal(p.Bytes(), q.Bytes()) {
			t.Errorf("%x: the readers differ", in)
		}
		if err == nil && errBounded != nil {
			t.Errorf("%x: read, but not through the bounded reader: %v", in, errBounded)
		}
		r := &raw{Conn: &stream{in: bytes.NewReader(in)}}
		r.exchange(ber.NewSequence(""), 1)
	})
}

func TestTooLargeMessagesAreRefused(t *testing.T) {
	for _, head := range []string{"\x30\x84\x7f\xff\xff\xff", "\x30\x88\x00\x00\x00\x01\x00\x00\x00\x00", "\x30\xff\x01\x01\x01\x01\x01\x01\x01\x01", "\x30\x80", "GET / HTTP"} {
		c := newBoundedConn(&stream{in: io.MultiReader(strings.NewReader(head), neverEnding{})}, time.Second)
		if _, err := ber.ReadPacket(c); err == nil {
			t.Errorf("%q was read", head)
		}
		if _, err := readMessage(io.MultiReader(strings.NewReader(head), neverEnding{})); err == nil {
			t.Errorf("%q was read before the logon", head)
		}
	}
}

type neverEnding struct{}

func (neverEnding) Read(p []byte) (int, error) { return len(p), nil }

func FuzzLike(f *testing.F) {
	f.Add("we?0*", "WEB01")
	f.Add("***a***b", "ab")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		got := like(pattern, name)
		if !strings.ContainsAny(pattern, "*?") && got != (strings.ToLower(pattern) == strings.ToLower(name)) { //nolint:staticcheck // EqualFold folds more than like does
			t.Errorf("like(%q, %q) = %v", pattern, name, got)
		}
		if !like("*", name) || !like(name, name) && !strings.ContainsAny(name, "*?") {
			t.Errorf("%q does not fit itself", name)
		}
		if v := substrings(pattern); v == "" || strings.ContainsAny(v, "()?") {
			t.Errorf("the pattern %q is the filter value %q", pattern, v)
		}
	})
}

// FuzzDN: names of the directory become places that are shown and compared.
func FuzzDN(f *testing.F) {
	for _, dn := range []string{"OU=Web,OU=Servers,DC=corp,DC=example", `OU=a\,b/c,DC=corp`, "cn=x+ou=y,DC=d", `OU=\`, "OU=#0403", "DC=a\\00b"} {
		f.Add(dn)
	}
	f.Fuzz(func(t *testing.T, dn string) {
		if name := canonical(dn) + firstName(dn); !utf8.ValidString(name) {
			t.Errorf("%q is written %q", dn, name)
		}
		if parent := parentDN(dn); len(parent) > len(dn) {
			t.Errorf("the parent of %q is %q", dn, parent)
		}
		if top := topmost([]string{dn, dn, parentDN(dn)}); len(top) == 0 {
			t.Errorf("nothing is left of %q", dn)
		}
	})
}
