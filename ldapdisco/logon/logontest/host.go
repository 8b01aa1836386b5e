package logontest

import (
	"bytes"
	"crypto/md5"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/jcmturner/gokrb5/v8/keytab"
)

// Level says how much a service minds channel binding, as WinRM's CbtHardeningLevel does.
type Level int

// The levels.
const (
	None    Level = iota // bindings are not looked at
	Relaxed              // bindings may be absent, but not wrong
	Strict               // bindings must be there and right
)

// Host is one service host of a domain. Its fields are set before the first Accept.
type Host struct {
	Directory   *Directory
	NetBIOSName string         // HOST1
	DNSName     string         // host1.corp.example
	Keytab      *keytab.Keytab // nil: Kerberos is refused

	replays replayCache
}

// Accept begins a connection. Bind is the tls-server-end-point application data of the TLS
// connection (RFC 5929), nil without TLS; level counts with TLS only.
func (h *Host) Accept(bind []byte, level Level) *Conn {
	c := &Conn{host: h}
	if bind != nil && level != None {
		sum := bindingSum(bind)
		c.binding, c.level = &sum, level
	}
	return c
}

// bindingSum is the MD5 of gss_channel_bindings_struct without addresses (RFC 4121 4.1.1.2, [MS-NLMP] 2.2.2.1).
func bindingSum(app []byte) [16]byte {
	b := make([]byte, 16, 20+len(app))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(app)))
	return md5.Sum(append(b, app...))
}

// Conn is the security state of one connection. It is not safe for concurrent use.
type Conn struct {
	host    *Host
	binding *[16]byte // nil: not checked
	level   Level

	spnego   *negotiation // set once the peer has spoken SPNEGO
	mech     mechanism    // under way, or done
	user     string
	raw      bool // the last finished token was Kerberos without SPNEGO
	complete bool
}

// mechanism is NTLM or Kerberos.
type mechanism interface {
	step(token []byte) (out []byte, done bool, err error)
	user() string
	wrap(msg []byte, seal bool) (header, data []byte, err error)
	unwrap(header, data []byte) (msg []byte, sealed bool, err error)
	// sign and verify make and check the mechListMIC of SPNEGO.
	sign(msg []byte) ([]byte, error)
	verify(msg, mic []byte) error
	// layer tells if the client asked for signing or sealing.
	layer() bool
}

var errIncomplete = errors.New("logontest: the security context is not complete")

// Step takes one token of the client: raw NTLMSSP, a raw Kerberos AP-REQ, or either in SPNEGO. Out goes back
// to the client, if it is not nil; done says that the account is proved. After an error, or when done, the next
// first token of a mechanism begins anew, as it does on one connection to http.sys.
func (c *Conn) Step(token []byte) (out []byte, done bool, err error) {
	c.complete = false
	// gokrb5 indexes foreign bytes unchecked in places; a simulated host must outlive them.
	defer func() {
		if r := recover(); r != nil {
			out, done, err = nil, false, fmt.Errorf("logontest: malformed token: %v", r)
		}
		if err != nil {
			c.mech, c.spnego = nil, nil
		}
		if done {
			c.complete, c.user = true, c.mech.user()
		}
	}()
	if isSPNEGO(token) {
		return c.negotiate(token)
	}
	c.spnego = nil
	return c.stepMechanism(token)
}

// stepMechanism hands a bare token to the mechanism that it belongs to.
func (c *Conn) stepMechanism(token []byte) ([]byte, bool, error) {
	switch {
	case bytes.HasPrefix(token, ntlmNegotiatePrefix):
		c.mech = &ntlm{host: c.host, accepts: c.accepts}
	case bytes.HasPrefix(token, ntlmSignature):
		if _, ok := c.mech.(*ntlm); !ok {
			return nil, false, errors.New("logontest: NTLM answer on a connection that had no challenge")
		}
	case len(token) > 0 && token[0] == bareAPREP:
		if k, ok := c.mech.(*kerberos); !ok || k.third == nil {
			return nil, false, errors.New("logontest: Kerberos AP-REP on a connection that expects none")
		}
	case len(token) > 0 && (token[0] == gssInitialTag || token[0] == bareAPREQ):
		c.mech = &kerberos{host: c.host, accepts: c.accepts}
	default:
		return nil, false, errors.New("logontest: token of no known mechanism")
	}
	_, c.raw = c.mech.(*kerberos)
	return c.mech.step(token)
}

// accepts judges the channel binding that the client sent; all zero means none.
func (c *Conn) accepts(got []byte) error {
	if c.binding == nil {
		return nil
	}
	var zero [16]byte
	absent := len(got) == 0 || bytes.Equal(got, zero[:])
	switch {
	case absent && c.level == Strict:
		return errors.New("logontest: channel binding is required")
	case !absent && !bytes.Equal(got, c.binding[:]):
		return errors.New("logontest: wrong channel binding")
	}
	return nil
}

// User is the proved account as CORP\user, empty before.
func (c *Conn) User() string {
	if !c.complete {
		return ""
	}
	return c.user
}

// Done tells if the account is proved.
func (c *Conn) Done() bool { return c.complete }

// Protocol is the protocol parameter of WinRM's sealed parts ([MS-WSMV] 2.2.9.1.1.2.1): Kerberos' own when the client
// sent a bare AP-REQ under the scheme Kerberos, SPNEGO's for all under Negotiate.
func (c *Conn) Protocol() string {
	if c.raw && c.spnego == nil {
		return "application/HTTP-Kerberos-session-encrypted"
	}
	return "application/HTTP-SPNEGO-session-encrypted"
}

// Seal encrypts and signs an answer, in the two pieces that WinRM sends.
func (c *Conn) Seal(msg []byte) (header, data []byte, err error) {
	if !c.complete {
		return nil, nil, errIncomplete
	}
	return c.mech.wrap(msg, true)
}

// Open checks and decrypts what the client sealed. It refuses what is only signed.
func (c *Conn) Open(header, data []byte) (msg []byte, err error) {
	msg, sealed, err := c.open(header, data)
	if err == nil && !sealed {
		return nil, errors.New("logontest: message is signed but not sealed")
	}
	return msg, err
}

// Wrap is Seal for LDAP's security layer, in one piece; without seal the message is only signed (RFC 4752 3.3).
func (c *Conn) Wrap(msg []byte, seal bool) ([]byte, error) {
	if !c.complete {
		return nil, errIncomplete
	}
	header, data, err := c.mech.wrap(msg, seal)
	return append(header, data...), err
}

// Unwrap is Open for LDAP's security layer, and tells if the message was sealed or only signed.
func (c *Conn) Unwrap(token []byte) (msg []byte, sealed bool, err error) {
	if len(token) < 16 {
		return nil, false, errors.New("logontest: short token")
	}
	return c.open(token[:16:16], token[16:])
}

func (c *Conn) open(header, data []byte) (msg []byte, sealed bool, err error) {
	if !c.complete {
		return nil, false, errIncomplete
	}
	defer func() {
		if r := recover(); r != nil {
			msg, sealed, err = nil, false, fmt.Errorf("logontest: malformed message: %v", r)
		}
	}()
	return c.mech.unwrap(header, data)
}

// WantsLayer tells if the client asked for signing or sealing in the context itself. A domain controller refuses that
// inside TLS; with SASL's GSSAPI it says nothing, since the layer is agreed on afterwards.
func (c *Conn) WantsLayer() bool { return c.complete && c.mech.layer() }
