package ldapdisco_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wavelock/ldapdisco"
	"wavelock/ldapdisco/ldaptest"
	"wavelock/ldapdisco/logon"
	"wavelock/ldapdisco/logon/logontest"
)

func TestWaysIn(t *testing.T) {
	accounts := logontest.NewDirectory("CORP", "corp.example")
	accounts.Add(user, password)
	kdc, err := logontest.StartKDC(accounts)
	if err != nil {
		t.Fatal(err)
	}
	defer kdc.Close()
	s := domain(t, func(c *ldaptest.Config) { c.Directory, c.Keytab = accounts, kdc.Register("ldap/dc1.corp.example") })
	krb, err := logon.Kerberos(logon.KerberosConfig{User: user, Realm: "CORP.EXAMPLE", Password: password, KDCs: []string{kdc.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer krb.Close()
	ntlm := logon.NTLM("CORP", user, password)
	name := &ldapdisco.Simple{User: user + "@corp.example", Password: password}
	for what, set := range map[string]func(*ldapdisco.Config){
		"simple over LDAPS":       func(c *ldapdisco.Config) { c.URLs, c.Simple = []string{s.SecureURL()}, name },
		"simple over StartTLS":    func(c *ldapdisco.Config) { c.URLs, c.Simple, c.StartTLS = []string{s.URL()}, name, true },
		"NTLM sealed":             func(c *ldapdisco.Config) { c.URLs, c.Login = []string{s.URL()}, ntlm },
		"NTLM bound to LDAPS":     func(c *ldapdisco.Config) { c.URLs, c.Login = []string{s.SecureURL()}, ntlm },
		"NTLM bound to StartTLS":  func(c *ldapdisco.Config) { c.URLs, c.Login, c.StartTLS = []string{s.URL()}, ntlm, true },
		"Kerberos sealed":         func(c *ldapdisco.Config) { c.URLs, c.Login = []string{s.URL()}, krb },
		"Kerberos bound to LDAPS": func(c *ldapdisco.Config) { c.URLs, c.Login = []string{s.SecureURL()}, krb },
		"an address, with the name besides": func(c *ldapdisco.Config) {
			c.URLs, c.Login, c.ServerName = []string{"ldaps://" + s.SecureAddr()}, ntlm, s.Host()
		},
	} {
		t.Run(what, func(t *testing.T) {
			cfg := ldapdisco.Config{Roots: s.Roots(), Dial: toLoopback, Timeout: 5 * time.Second}
			set(&cfg)
			d := dial(t, cfg)
			dom, err := d.Domain(t.Context())
			if err != nil || dom.DNSName != "corp.example" || dom.NetBIOSName != "CORP" {
				t.Errorf("%+v, %v", dom, err)
			}
		})
	}
}

func TestRefusedLogonsAreSentences(t *testing.T) {
	s := emptyDomain(t)
	states := map[ldaptest.LogonState]string{
		ldaptest.LogonAllowed: "user name or the password is wrong", ldaptest.AccountDisabled: "disabled", ldaptest.AccountExpired: "account has expired",
		ldaptest.PasswordMustChange: "must be changed", ldaptest.AccountLockedOut: "locked out", ldaptest.PasswordExpired: "password has expired",
		ldaptest.LogonWrongHour: "at this hour", ldaptest.LogonWrongComputer: "from this computer", ldaptest.AccountRestrictions: "may not log on like this",
	}
	for state, want := range states {
		s.SetLogonState(user, state)
		secret := logon.Secret(password)
		if state == ldaptest.LogonAllowed {
			secret = "not-the-password"
		}
		for _, cfg := range []ldapdisco.Config{
			{URLs: []string{s.SecureURL()}, Simple: &ldapdisco.Simple{User: `CORP\` + user, Password: secret}},
			{URLs: []string{s.URL()}, Login: logon.NTLM("CORP", user, secret)},
			{URLs: []string{s.SecureURL()}, Login: logon.NTLM("CORP", user, secret)},
		} {
			cfg.Roots, cfg.Dial, cfg.Timeout = s.Roots(), toLoopback, 5*time.Second
			_, err := ldapdisco.Dial(t.Context(), cfg)
			var e *ldapdisco.Error
			if !errors.As(err, &e) || !e.Logon() || e.Code != 49 || !strings.Contains(err.Error(), want) || e.Hint() == "" {
				t.Errorf("%q: %v", state, err)
			}
			if err != nil && strings.Contains(err.Error(), secret.Reveal()) {
				t.Errorf("the password is in the error: %v", err)
			}
		}
	}
}

func TestUnsafeConfigurationsSendNothing(t *testing.T) {
	ntlm := logon.NTLM("CORP", user, password)
	for want, cfg := range map[string]ldapdisco.Config{
		"in clear":                {URLs: []string{"ldap://dc1"}, Simple: &ldapdisco.Simple{User: user, Password: password}},
		"needs a user name and a": {URLs: []string{"ldaps://dc1"}, Simple: &ldapdisco.Simple{User: user}},
		"no credential":           {URLs: []string{"ldaps://dc1"}},
		"two credentials":         {URLs: []string{"ldaps://dc1"}, Login: ntlm, Simple: &ldapdisco.Simple{User: user, Password: password}},
		"no server":               {Login: ntlm},
		"neither":                 {URLs: []string{"http://dc1"}, Login: ntlm},
		"not the URL":             {URLs: []string{"ldaps://user:secret@dc1/DC=corp"}, Login: ntlm},
	} {
		cfg.Dial = func(context.Context, string, string) (net.Conn, error) {
			t.Errorf("%s: a connection was made", want)
			return nil, errors.New("no")
		}
		_, err := ldapdisco.Dial(t.Context(), cfg)
		var e *ldapdisco.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
}

func TestTLSIsVerified(t *testing.T) {
	s := emptyDomain(t)
	for what, f := range map[string]ldaptest.Faults{"not": {WrongCertificate: true}, "unknown authority": {UnknownCA: true}} {
		s.SetFaults(f)
		for _, cfg := range []ldapdisco.Config{simple(s), {URLs: []string{s.URL()}, StartTLS: true, Roots: s.Roots(), Dial: toLoopback, Login: logon.NTLM("CORP", user, password)}} {
			before := s.Binds.Load()
			_, err := ldapdisco.Dial(t.Context(), cfg)
			var e *ldapdisco.Error
			if !errors.As(err, &e) || !strings.Contains(err.Error(), what) || e.Hint() == "" || e.Logon() {
				t.Errorf("%s: %v", what, err)
			}
			if s.Binds.Load() != before {
				t.Errorf("%s: a bind was sent to a server that was not verified", what)
			}
		}
	}
}

func TestWhatAControllerRefuses(t *testing.T) {
	s := emptyDomain(t)
	relay := newRelay(t, s.SecureAddr(), s.Roots())
	cfg := sealed(s)
	cfg.URLs, cfg.Roots, cfg.Dial = []string{"ldaps://" + s.Host()}, relay.roots, func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, relay.addr)
	}
	_, err := ldapdisco.Dial(t.Context(), cfg)
	var e *ldapdisco.Error
	if !errors.As(err, &e) || !strings.Contains(err.Error(), "channel binding") || !strings.Contains(e.Hint(), "breaking TLS open") {
		t.Errorf("NTLM through a TLS proxy: %v", err)
	}
	cfg = sealed(s)
	cfg.Login = logon.Basic(user, password)
	if _, err = ldapdisco.Dial(t.Context(), cfg); err == nil {
		t.Error("Basic in clear was accepted")
	}
	cfg = simple(s)
	cfg.Simple, cfg.Login = nil, logon.Basic(user, password)
	if _, err = ldapdisco.Dial(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "cannot be used with LDAP") {
		t.Errorf("Basic inside TLS: %v", err)
	}
}

func TestTheNextServerIsTried(t *testing.T) {
	s := emptyDomain(t)
	cfg := sealed(s)
	log, text := logged()
	cfg.URLs, cfg.Log = []string{"ldap://127.0.0.1:1", s.URL()}, log
	if d := dial(t, cfg); d.Server() != s.URL() {
		t.Errorf("connected to %s", d.Server())
	}
	if !strings.Contains(text.String(), "127.0.0.1:1") {
		t.Errorf("the first server's failure is not in the log: %s", text)
	}
	cfg.URLs = []string{"ldap://127.0.0.1:1", "ldap://127.0.0.1:2"}
	_, err := ldapdisco.Dial(t.Context(), cfg)
	if err == nil || !strings.Contains(err.Error(), "127.0.0.1:1") || !strings.Contains(err.Error(), "127.0.0.1:2") {
		t.Errorf("%v", err)
	}
}

func TestARefusedPasswordIsShownOnce(t *testing.T) {
	a, b := emptyDomain(t), emptyDomain(t)
	for what, login := range map[string]logon.Login{"NTLM": logon.NTLM("CORP", user, "wrong")} {
		before := a.Binds.Load() + b.Binds.Load()
		_, err := ldapdisco.Dial(t.Context(), ldapdisco.Config{URLs: []string{a.URL(), b.URL(), a.URL(), b.URL()}, Login: login, Dial: toLoopback})
		if err == nil || a.Binds.Load()+b.Binds.Load()-before > 2 { // NEGOTIATE and AUTHENTICATE
			t.Errorf("%s: %d binds, %v", what, a.Binds.Load()+b.Binds.Load()-before, err)
		}
		for range 5 { // the caller who does not listen
			_, err = ldapdisco.Dial(t.Context(), ldapdisco.Config{URLs: []string{a.URL()}, Login: login, Dial: toLoopback})
		}
		if n := a.Binds.Load() + b.Binds.Load() - before; n > 6 {
			t.Errorf("%s: a wrong password was shown %d times: %v", what, n/2, err)
		}
	}
}

func TestASilentServerEndsInTime(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // the backlog accepts, and nobody answers
	var secure atomic.Bool
	for _, scheme := range []string{"ldap", "ldaps"} {
		secure.Store(scheme == "ldaps")
		cfg := ldapdisco.Config{URLs: []string{scheme + "://" + l.Addr().String()}, Login: logon.NTLM("CORP", user, password), Timeout: 100 * time.Millisecond}
		start := time.Now()
		if _, err := ldapdisco.Dial(t.Context(), cfg); err == nil || time.Since(start) > 3*time.Second {
			t.Errorf("%s: after %s: %v", scheme, time.Since(start), err)
		}
		cfg.Timeout = time.Minute
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if _, err := ldapdisco.Dial(ctx, cfg); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 5*time.Second {
			t.Errorf("%s: a context that ended: %v", scheme, err)
		}
	}
}

func TestForeignServersAreErrors(t *testing.T) {
	bodies := []string{
		"HTTP/1.1 400 Bad Request\r\n\r\n", "", "\x30\x84\xff\xff\xff\xff", "\x30\x80", "\x30\x00", "\x30\x05\x02\x01\x01\x61\x00",
		"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x0e\x04\x00\x04\x00", // more tokens wanted, and none sent
		"\x30\x0c\x02\x01\x63\x61\x07\x0a\x01\x00\x04\x00\x04\x00", // another message's answer
		"\x30\x0c\x02\x01\x00\x78\x07\x0a\x01\x34\x04\x00\x04\x00", // notice of disconnection
		"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00", // success before the logon is over
	}
	for _, body := range bodies {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			c.Read(make([]byte, 4096))
			fmt.Fprint(c, body)
		}()
		cfg := ldapdisco.Config{URLs: []string{"ldap://" + l.Addr().String()}, Login: logon.NTLM("CORP", user, password), Timeout: 2 * time.Second}
		if _, err := ldapdisco.Dial(t.Context(), cfg); err == nil {
			t.Errorf("%q was taken for a logon", body)
		}
		l.Close()
	}
}

func TestWhatIsNotSealedIsNotRead(t *testing.T) {
	s := emptyDomain(t)
	s.SetFaults(ldaptest.Faults{ClearAfterBind: true})
	if _, err := ldapdisco.Dial(t.Context(), sealed(s)); err == nil {
		t.Error("a clear answer was taken after a sealed logon")
	}
}

func TestServerNames(t *testing.T) {
	s := emptyDomain(t)
	d := dial(t, simple(s))
	if d.BaseDN() != "DC=corp,DC=example" || !slices.Contains([]string{s.SecureURL()}, d.Server()) {
		t.Errorf("%s, %s", d.BaseDN(), d.Server())
	}
}
