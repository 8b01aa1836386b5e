package adcs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	v9config "github.com/oiweiwei/gokrb5.fork/v9/config"
	v9credentials "github.com/oiweiwei/gokrb5.fork/v9/credentials"
	"github.com/oiweiwei/gokrb5.fork/v9/iana/etypeID"

	"github.com/oiweiwei/go-msrpc/dcerpc"
	"github.com/oiweiwei/go-msrpc/msrpc/dcetypes"
	epm "github.com/oiweiwei/go-msrpc/msrpc/epm/epm/v3"
	icertpassage "github.com/oiweiwei/go-msrpc/msrpc/icpr/icertpassage/v0"
	"github.com/oiweiwei/go-msrpc/ssp"
	"github.com/oiweiwei/go-msrpc/ssp/credential"
	"github.com/oiweiwei/go-msrpc/ssp/gssapi"
	"github.com/oiweiwei/go-msrpc/ssp/krb5"

	"wavelock/ldapdisco/logon"
)

var (
	errLogon  = errors.New("our account could not log on")
	errBroken = errors.New("the connection broke")
)

// maxAnswer bounds what one connection may make us read: a certificate with its chain, and room.
const maxAnswer = 1 << 20

// dialer hands connections to the library and keeps hold of them: the library reads in goroutines of its own, which end
// with the connection.
type dialer struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	host string

	mu    sync.Mutex // guards conns
	conns []*limited
}

// DialContext is what the library asks for.
func (d *dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	c, err := d.dial(ctx, network, net.JoinHostPort(d.host, port))
	if err != nil {
		return nil, err
	}
	l := &limited{Conn: c, left: maxAnswer}
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(deadline); err != nil {
			c.Close()
			return nil, err
		}
	}
	d.mu.Lock()
	d.conns = append(d.conns, l)
	d.mu.Unlock()
	return l, nil
}

// LookupIPAddr keeps the library from asking the system's resolver: the name goes to dial, which may know another.
func (d *dialer) LookupIPAddr(context.Context, string) ([]net.IPAddr, error) {
	return []net.IPAddr{{IP: net.IPv4zero}}, nil
}

// connect begins a connection to a port of the CA's computer.
func (d *dialer) connect(ctx context.Context, port int, timeout time.Duration) (dcerpc.Conn, error) {
	return dcerpc.Dial(ctx, d.host, dcerpc.WithEndpoint("ncacn_ip_tcp:["+strconv.Itoa(port)+"]"), dcerpc.WithDialer(d), dcerpc.WithDNSResolver(d), dcerpc.WithTimeout(timeout))
}

func (d *dialer) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		c.Close() // the library may have closed it already
	}
}

// explain adds what the connection knows and the library keeps to itself.
func (d *dialer) explain(err error) error {
	if err == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.conns {
		if e := c.failure(); e != nil {
			return errors.Join(err, e)
		}
	}
	return err
}

// limited is a connection that ends after so many bytes.
type limited struct {
	net.Conn

	mu   sync.Mutex // guards what follows: the library reads in a goroutine of its own
	left int
	err  error
}

func (l *limited) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.left -= n; l.left < 0 && err == nil {
		err = fmt.Errorf("more than %d bytes of answer", maxAnswer)
	} else if err != nil && l.err == nil {
		l.err = fmt.Errorf("%w: %w", errBroken, err)
	}
	return n, err
}

func (l *limited) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

const mapperPort = 135

// askMapper finds the port of ICertPassage with ept_map (C706 appendix O). It is asked without logging on, as Windows
// does: who lies about the port still cannot log us on as the CA.
func (c *Client) askMapper(ctx context.Context, ca CA) (int, error) {
	port := ca.Mapper
	if port == 0 {
		port = mapperPort
	}
	d := &dialer{dial: c.cfg.Dial, host: ca.Host}
	defer d.close()
	conn, err := d.connect(ctx, port, c.cfg.Timeout)
	if err != nil {
		return 0, err
	}
	defer conn.Close(ctx)
	cli, err := epm.NewEpmClient(ctx, conn, dcerpc.WithInsecure())
	if err != nil {
		return 0, d.explain(err)
	}
	out, err := cli.Map(ctx, &epm.MapRequest{MapTower: wanted(), EntryHandle: &epm.LookupHandle{}, MaxTowers: 4})
	if err != nil {
		return 0, d.explain(err)
	}
	for _, t := range out.Towers {
		if t == nil {
			continue
		}
		if port, ok := towerPort(t.TowerOctetString); ok {
			return port, nil
		}
	}
	return 0, fmt.Errorf("%w: no CA is registered there (status 0x%08x)", errBroken, out.Status)
}

// wanted is the tower of ICertPassage over TCP, with port and address open.
func wanted() *dcetypes.Tower {
	var b []byte
	floor := func(left, right []byte) {
		b = append(binary.LittleEndian.AppendUint16(b, uint16(len(left))), left...)
		b = append(binary.LittleEndian.AppendUint16(b, uint16(len(right))), right...)
	}
	id := func(s *dcerpc.SyntaxID) {
		u := s.IfUUID
		left := binary.LittleEndian.AppendUint32([]byte{0x0d}, u.TimeLow)
		left = binary.LittleEndian.AppendUint16(left, u.TimeMid)
		left = binary.LittleEndian.AppendUint16(left, u.TimeHiAndVersion)
		left = append(left, u.ClockSeqHiAndReserved, u.ClockSeqLow)
		left = append(left, u.Node[:]...)
		left = binary.LittleEndian.AppendUint16(left, s.IfVersionMajor)
		floor(left, binary.LittleEndian.AppendUint16(nil, s.IfVersionMinor))
	}
	b = binary.LittleEndian.AppendUint16(b, 5)
	id(icertpassage.CertPassageSyntaxV0_0)
	id(dcerpc.TransferNDRSyntaxV2_0)
	floor([]byte{0x0b}, []byte{0, 0})
	floor([]byte{0x07}, []byte{0, 0})
	floor([]byte{0x09}, []byte{0, 0, 0, 0})
	return &dcetypes.Tower{TowerLength: uint32(len(b)), TowerOctetString: b}
}

// towerPort reads the TCP port of a tower, C706 appendix L.
func towerPort(b []byte) (int, bool) {
	if len(b) < 2 {
		return 0, false
	}
	floors := int(binary.LittleEndian.Uint16(b))
	b = b[2:]
	part := func() []byte {
		if len(b) < 2 {
			b = nil
			return nil
		}
		n := int(binary.LittleEndian.Uint16(b))
		if b = b[2:]; n > len(b) {
			b = nil
			return nil
		}
		p := b[:n]
		b = b[n:]
		return p
	}
	for range min(floors, 8) {
		left, right := part(), part()
		if len(left) == 1 && left[0] == 0x07 && len(right) == 2 {
			port := int(right[0])<<8 | int(right[1])
			return port, port != 0
		}
	}
	return 0, false
}

// security is the context that carries the logon.
func (c *Client) security(ctx context.Context) (context.Context, error) {
	if n := c.cfg.NTLM; n != nil {
		return gssapi.NewSecurityContext(ctx, gssapi.WithCredential(credential.NewFromPassword(n.User, n.Password.Reveal(), credential.Domain(n.Domain))),
			gssapi.WithMechanismFactory(ssp.NTLM)), nil
	}
	k := *c.cfg.Kerberos
	user, realm, _ := strings.Cut(k.User, "@")
	if realm == "" {
		realm = k.Realm
	}
	realm = strings.ToUpper(realm)
	cfg := &krb5.Config{DCEStyle: true, DisablePAFXFAST: true} // not krb5.NewConfig, which reads the file of whoever runs this
	cred, err := kerberosCredential(k, user, realm)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errLogon, err)
	}
	if realm == "" {
		realm = cred.DomainName()
	}
	cfg.KRB5Config = kerberosConfig(k, realm)
	return gssapi.NewSecurityContext(ctx, gssapi.WithCredential(cred), gssapi.WithMechanismFactory(ssp.KRB5, cfg)), nil
}

func kerberosCredential(k logon.KerberosConfig, user, realm string) (credential.Credential, error) {
	switch {
	case k.CCache != "":
		cache, err := v9credentials.LoadCCache(strings.TrimPrefix(k.CCache, "FILE:"))
		if err != nil {
			return nil, fmt.Errorf("read the credential cache %s: %w", k.CCache, err)
		}
		return credential.NewFromCCacheV9(cache.GetClientPrincipalName().PrincipalNameString(), cache, credential.Domain(cache.GetClientRealm())), nil
	case user == "" || realm == "":
		return nil, errors.New("the user or the realm is not named")
	case k.Keytab != "":
		if _, err := os.Stat(k.Keytab); err != nil {
			return nil, fmt.Errorf("read the keytab: %w", err)
		}
		return credential.NewFromKeytabFile(user, k.Keytab, credential.Domain(realm)), nil
	case k.Password == "":
		return nil, errors.New("there is no password, keytab or credential cache")
	}
	return credential.NewFromPassword(user, k.Password.Reveal(), credential.Domain(realm)), nil
}

// kerberosConfig is AES over TCP, and the KDCs that are named or found by DNS.
func kerberosConfig(k logon.KerberosConfig, realm string) *v9config.Config {
	conf := v9config.New()
	if k.Conf != "" {
		if given, err := v9config.NewFromString(k.Conf); given != nil && err == nil {
			conf = given
		}
	}
	d := &conf.LibDefaults
	d.DefaultRealm, d.UDPPreferenceLimit, d.NoAddresses, d.AllowWeakCrypto = realm, 1, true, false
	types := []int32{etypeID.AES256_CTS_HMAC_SHA1_96, etypeID.AES128_CTS_HMAC_SHA1_96}
	d.DefaultTktEnctypeIDs, d.DefaultTGSEnctypeIDs, d.PermittedEnctypeIDs = types, types, types
	d.DNSLookupKDC = d.DNSLookupKDC || k.Conf == ""
	if len(k.KDCs) > 0 {
		kdcs := slices.Clone(k.KDCs)
		for i, addr := range kdcs {
			if _, _, err := net.SplitHostPort(addr); err != nil {
				kdcs[i] = net.JoinHostPort(strings.Trim(addr, "[]"), "88")
			}
		}
		conf.Realms = append(slices.DeleteFunc(conf.Realms, func(r v9config.Realm) bool { return r.Realm == realm }), v9config.Realm{Realm: realm, KDC: kdcs})
	}
	return conf
}
