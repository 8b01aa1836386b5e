package ldapdisco

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"wavelock/ldapdisco/logon"
)

const (
	maxFrame   = 16 << 20 // of the sealed layer; a domain controller sends far less
	maxMessage = 16 << 20 // of one LDAP message; the largest entry of a domain controller is far below
	sealChunk  = 64 << 10 // of what we seal at once; domain controllers take 10 MB
)

// sealedConn is the security layer of SASL (RFC 4422 3.7): frames with their length in front.
type sealedConn struct {
	net.Conn
	mu     sync.Mutex // reader and writer share the sealer
	sealer logon.Sealer
	plain  []byte
}

func (c *sealedConn) Read(p []byte) (int, error) {
	for len(c.plain) == 0 {
		msg, err := c.next()
		if err != nil {
			return 0, err
		}
		c.plain = msg
	}
	n := copy(p, c.plain)
	c.plain = c.plain[n:]
	return n, nil
}

// next reads one frame and unwraps it.
func (c *sealedConn) next() ([]byte, error) {
	var size [4]byte
	if _, err := io.ReadFull(c.Conn, size[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxFrame {
		return nil, fmt.Errorf("the server sent a sealed frame of %d bytes", n)
	}
	token, err := readExactly(c.Conn, int(n))
	if err != nil {
		return nil, fmt.Errorf("sealed frame of %d bytes: %w", n, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	msg, sealed, err := c.sealer.Unwrap(token)
	if err != nil {
		return nil, fmt.Errorf("the server's sealed frame cannot be opened: %w", err)
	}
	if !sealed {
		return nil, errors.New("the server sent a frame that is signed but not sealed")
	}
	return msg, nil
}

func (c *sealedConn) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		part := p[done:min(len(p), done+sealChunk)]
		if err := c.send(part); err != nil {
			return done, err
		}
		done += len(part)
	}
	return done, nil
}

func (c *sealedConn) send(part []byte) error {
	c.mu.Lock()
	token, err := c.sealer.Wrap(part, true)
	c.mu.Unlock()
	if err != nil {
		return fmt.Errorf("seal: %w", err)
	}
	frame := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(token)), uint32(len(token)))
	_, err = c.Conn.Write(append(frame, token...))
	return err
}

// readExactly reads n bytes, and believes in n only as they come.
func readExactly(r io.Reader, n int) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err == nil && len(b) < n {
		err = io.ErrUnexpectedEOF
	}
	return b, err
}

// boundedConn keeps the LDAP library from reading messages without bound, and from writing for ever.
type boundedConn struct {
	net.Conn
	in      *bufio.Reader
	left    int // of the message being read
	timeout time.Duration
}

func newBoundedConn(c net.Conn, timeout time.Duration) *boundedConn {
	return &boundedConn{Conn: c, in: bufio.NewReaderSize(c, 64<<10), timeout: timeout}
}

func (c *boundedConn) Read(p []byte) (int, error) {
	if c.left == 0 {
		n, err := c.nextMessage()
		if err != nil {
			return 0, err
		}
		c.left = n
	}
	n, err := c.in.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}

// nextMessage looks at the header of the next message, and tells how long it is with it.
func (c *boundedConn) nextMessage() (int, error) {
	head, err := c.in.Peek(2)
	if err != nil {
		return 0, err
	}
	octets := lengthOctets(head[1])
	if head, err = c.in.Peek(2 + octets); err != nil {
		return 0, err
	}
	n, err := messageLength(head)
	return len(head) + n, err
}

func (c *boundedConn) Write(p []byte) (int, error) {
	if err := c.Conn.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
		return 0, err
	}
	return c.Conn.Write(p)
}

// lengthOctets tells how many octets of length follow the first, X.690 8.1.3.
func lengthOctets(first byte) int {
	if first < 0x80 {
		return 0
	}
	return min(int(first&0x7f), 8)
}

// messageLength reads the header of an LDAPMessage, which has a definite length (RFC 4511 5.1).
func messageLength(head []byte) (int, error) {
	if head[0] != 0x30 {
		return 0, fmt.Errorf("the server does not speak LDAP: its message begins with %02x", head[0])
	}
	if head[1] < 0x80 {
		return int(head[1]), nil
	}
	n := uint64(0)
	for _, b := range head[2:] {
		n = n<<8 | uint64(b)
	}
	if head[1] == 0x80 || n > maxMessage {
		return 0, errors.New("the server sent an LDAP message that is too large")
	}
	return int(n), nil
}
