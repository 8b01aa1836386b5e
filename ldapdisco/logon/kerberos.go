package logon

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jcmturner/gokrb5/v8/client"
	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/credentials"
	"github.com/jcmturner/gokrb5/v8/iana/errorcode"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/iana/nametype"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"
)

// KerberosConfig names an account and what proves it: exactly one of Password, Keytab and CCache.
type KerberosConfig struct {
	User  string // admin, or admin@CORP.EXAMPLE; not needed with a ccache
	Realm string // CORP.EXAMPLE; not needed when User or Conf has it

	Password Secret
	Keytab   string // file
	CCache   string // file, with or without FILE: before it

	KDCs []string // host or host:port; none: found by DNS
	Conf string   // text of a krb5.conf, instead of Realm and KDCs alone

	// TicketRequests is how many tickets are asked for at once; a wave of thousands of hosts would else flood the KDC. 0: 8.
	TicketRequests int
}

const defaultTicketRequests = 8

// etypes are AES with SHA-1, strongest first. gokrb5 has wrong keys for AES256-SHA384, and RC4 is not used at all.
var etypes = []int32{etypeID.AES256_CTS_HMAC_SHA1_96, etypeID.AES128_CTS_HMAC_SHA1_96}

// KerberosLogin is a Login with SPNEGO under Negotiate. Close ends it.
type KerberosLogin struct {
	client    *client.Client
	principal string
	lasting   bool // can get a new TGT by itself
	requests  chan struct{}

	first   chan struct{} // one slot: the right to log on
	refused error         // the KDC's verdict on the account; guarded by first

	mu     sync.Mutex // guards closed: nothing joins busy after it
	closed bool
	busy   sync.WaitGroup
}

var _ Login = (*KerberosLogin)(nil)

// Kerberos makes a Login of cfg. Nothing is sent before the first Start.
func Kerberos(cfg KerberosConfig) (*KerberosLogin, error) {
	name, realm, _ := strings.Cut(cfg.User, "@")
	if realm == "" {
		realm = cfg.Realm
	}
	fail := func(op string, err error) (*KerberosLogin, error) {
		return nil, &Error{Op: op, Principal: strings.TrimSuffix(name+"@"+realm, "@"), Err: err}
	}
	conf, err := krb5Config(cfg, strings.ToUpper(realm))
	if err != nil {
		return fail("read the Kerberos configuration", err)
	}
	if realm == "" {
		realm = conf.LibDefaults.DefaultRealm
	}
	cl, err := newClient(cfg, name, strings.ToUpper(realm), conf)
	if err != nil {
		return fail("load the credential", err)
	}
	n := cfg.TicketRequests
	if n <= 0 {
		n = defaultTicketRequests
	}
	return &KerberosLogin{
		client: cl, principal: cl.Credentials.UserName() + "@" + cl.Credentials.Domain(), lasting: cfg.CCache == "",
		requests: make(chan struct{}, n), first: make(chan struct{}, 1),
	}, nil
}

// krb5Config is cfg's own file or one made up, always with our encryption types and TCP: a ticket with a large PAC does
// not fit in a datagram.
func krb5Config(cfg KerberosConfig, realm string) (*config.Config, error) {
	conf := config.New()
	if cfg.Conf != "" {
		var err error
		conf, err = config.NewFromString(cfg.Conf)
		var unsupported config.UnsupportedDirective // such as include
		if err != nil && !errors.As(err, &unsupported) {
			return nil, err
		}
	}
	d := &conf.LibDefaults
	if realm != "" {
		d.DefaultRealm = realm
	}
	d.DefaultTktEnctypeIDs, d.DefaultTGSEnctypeIDs, d.PermittedEnctypeIDs = etypes, etypes, etypes
	d.UDPPreferenceLimit = 1
	d.NoAddresses = true
	d.AllowWeakCrypto = false
	if cfg.Conf == "" {
		d.DNSLookupKDC = true // for realms that have no KDCs here
	}
	if len(cfg.KDCs) > 0 && d.DefaultRealm != "" {
		kdcs := make([]string, len(cfg.KDCs))
		for i, k := range cfg.KDCs {
			kdcs[i] = withPort(k, "88")
		}
		conf.Realms = append(slices.DeleteFunc(conf.Realms, func(r config.Realm) bool { return r.Realm == d.DefaultRealm }),
			config.Realm{Realm: d.DefaultRealm, KDC: kdcs})
	}
	return conf, nil
}

func withPort(host, port string) string {
	if _, _, err := net.SplitHostPort(host); err == nil {
		return host
	}
	return net.JoinHostPort(strings.Trim(host, "[]"), port)
}

func newClient(cfg KerberosConfig, name, realm string, conf *config.Config) (*client.Client, error) {
	proofs := 0
	for _, given := range []bool{cfg.Password != "", cfg.Keytab != "", cfg.CCache != ""} {
		if given {
			proofs++
		}
	}
	if proofs != 1 {
		return nil, errors.New("give exactly one of password, keytab and ccache")
	}
	if cfg.CCache != "" {
		return clientFromCCache(cfg.CCache, conf)
	}
	if name == "" || realm == "" {
		return nil, errors.New("give the user and the realm")
	}
	// The pre-authentication data that KDCs of AD ask for makes FAST negotiation pointless here.
	settings := client.DisablePAFXFAST(true)
	if cfg.Password != "" {
		return client.NewWithPassword(name, realm, cfg.Password.Reveal(), conf, settings), nil
	}
	kt, err := loadKeytab(cfg.Keytab)
	if err != nil {
		return nil, err
	}
	return client.NewWithKeytab(name, realm, kt, conf, settings), nil
}

func loadKeytab(path string) (kt *keytab.Keytab, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	defer guard("keytab "+path, &err)
	kt = keytab.New()
	err = kt.Unmarshal(b)
	return kt, err
}

func clientFromCCache(path string, conf *config.Config) (cl *client.Client, err error) {
	b, err := os.ReadFile(strings.TrimPrefix(path, "FILE:"))
	if err != nil {
		return nil, err
	}
	defer guard("credential cache "+path, &err)
	cache := new(credentials.CCache)
	if err := cache.Unmarshal(b); err != nil {
		return nil, err
	}
	tgt, ok := cache.GetEntry(types.PrincipalName{NameType: nametype.KRB_NT_SRV_INST, NameString: []string{"krbtgt", cache.GetClientRealm()}})
	if !ok {
		return nil, &hinted{"the credential cache " + path + " holds no ticket-granting ticket", "run kinit first"}
	}
	if time.Now().After(tgt.EndTime) {
		return nil, &hinted{fmt.Sprintf("the ticket-granting ticket in %s expired at %s", path, tgt.EndTime.Format(time.RFC3339)), "run kinit again"}
	}
	conf.LibDefaults.DefaultRealm = cache.GetClientRealm()
	return client.NewFromCCache(cache, conf, client.DisablePAFXFAST(true))
}

// guard turns a panic on foreign bytes into an error: gokrb5 indexes files and tokens unchecked.
func guard(what string, err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("malformed %s: %v", what, r)
	}
}

// Principal is admin@CORP.EXAMPLE.
func (l *KerberosLogin) Principal() string { return l.principal }

// Start gets the ticket for the service and begins a context in SPNEGO.
func (l *KerberosLogin) Start(ctx context.Context, to Service, bind Binding) (Exchange, error) {
	x, err := l.start(ctx, to, bind)
	if err != nil {
		return nil, err
	}
	x.withoutLayer = bind != nil && to.isLDAP()
	return &spnegoExchange{inner: x, principal: l.principal, to: to}, nil
}

// Raw is the same credential without SPNEGO, as the HTTP scheme Kerberos and SASL's GSSAPI want it.
func (l *KerberosLogin) Raw() Login { return rawKerberos{l} }

type rawKerberos struct{ *KerberosLogin }

func (r rawKerberos) Start(ctx context.Context, to Service, bind Binding) (Exchange, error) {
	x, err := r.start(ctx, to, bind)
	if err != nil {
		return nil, err
	}
	return x, nil
}

func (l *KerberosLogin) start(ctx context.Context, to Service, bind Binding) (*kerberosExchange, error) {
	fail := func(op string, err error) (*kerberosExchange, error) {
		return nil, &Error{Op: op, Principal: l.principal, Service: to, Err: err}
	}
	if err := l.enter(); err != nil {
		return fail("start", err)
	}
	defer l.busy.Done()
	if err := l.logOnOnce(ctx); err != nil {
		return fail(opLogOn, err)
	}
	ticket, err := l.ticket(ctx, to)
	if err != nil {
		return fail(opTicket, err)
	}
	if _, err := aes(ticket.session); err != nil {
		return fail(opTicket, err)
	}
	// A KDC may give an AES session key inside a ticket that it encrypts with the host's RC4 key.
	if t := ticket.EncPart.EType; !slices.Contains(etypes, t) {
		return fail(opTicket, notAES("the ticket", t))
	}
	cred := l.client.Credentials
	return &kerberosExchange{login: l, to: to, ticket: ticket, realm: cred.Domain(), client: cred.CName(), binding: bind.Sum()}, nil
}

// enter keeps Close waiting while the gokrb5 client is in use.
func (l *KerberosLogin) enter() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return errors.New("the login is closed")
	}
	l.busy.Add(1)
	return nil
}

// logOnOnce makes the first AS exchange alone. Hundreds of hosts start at once, gokrb5 would ask for each of them, and
// with a wrong password that locks the account. A verdict on the account is therefore final.
func (l *KerberosLogin) logOnOnce(ctx context.Context) error {
	if !l.lasting {
		return nil
	}
	return l.await(ctx, l.first, func() error {
		if l.refused != nil {
			return l.refused
		}
		err := l.client.AffirmLogin()
		if (&Error{Err: err}).PasswordRefused() {
			l.refused = err
		}
		return err
	})
}

// serviceTicket is what a TGS exchange gives.
type serviceTicket struct {
	messages.Ticket
	session types.EncryptionKey
}

func (l *KerberosLogin) ticket(ctx context.Context, to Service) (serviceTicket, error) {
	got := make(chan serviceTicket, 1) // the request may outlive ctx, so its result is not shared
	err := l.await(ctx, l.requests, func() error {
		t, err := l.requestTicket(to)
		got <- t
		return err
	})
	if err != nil {
		return serviceTicket{}, err
	}
	return <-got, nil
}

// requestTicket asks our own KDC, and if that does not know the service, the one of the realm that the host's name
// speaks of. AD refers to other domains only those clients that ask for canonical names, and gokrb5 would then refuse
// the KDC's spelling of our own.
func (l *KerberosLogin) requestTicket(to Service) (serviceTicket, error) {
	t, key, err := l.client.GetServiceTicket(to.String())
	_, domain, _ := strings.Cut(to.Host, ".")
	realm := strings.ToUpper(domain)
	if kerberosCode(err) != errorcode.KDC_ERR_S_PRINCIPAL_UNKNOWN || !strings.Contains(realm, ".") || realm == l.client.Credentials.Domain() {
		return serviceTicket{t, key}, err
	}
	tgt, key, trustErr := l.client.GetServiceTicket("krbtgt/" + realm)
	if trustErr != nil {
		return serviceTicket{}, err // no trust: the first answer was the right one
	}
	name := types.NewPrincipalName(nametype.KRB_NT_PRINCIPAL, to.String())
	_, rep, err := l.client.TGSREQGenerateAndExchange(name, realm, tgt, key, false)
	return serviceTicket{rep.Ticket, rep.DecryptedEncPart.Key}, err
}

// await makes a request that knows no context, in one of the slots. When ctx ends first, the request ends by its own
// time-out, keeps its slot until then, and Close waits for it.
func (l *KerberosLogin) await(ctx context.Context, slots chan struct{}, request func() error) error {
	select {
	case slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	done := make(chan error, 1)
	l.busy.Add(1) // the caller is in itself, so Close is not past waiting
	go func() {
		defer l.busy.Done()
		defer func() { <-slots }()
		done <- guarded(request)
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func guarded(request func() error) (err error) {
	defer guard("answer of the KDC", &err)
	return request()
}

// Close forgets the credential and stops the renewal of its tickets. Logons under way end first.
func (l *KerberosLogin) Close() error {
	l.mu.Lock()
	already := l.closed
	l.closed = true
	l.mu.Unlock()
	if already {
		return nil
	}
	l.busy.Wait()
	l.client.Destroy()
	return nil
}
