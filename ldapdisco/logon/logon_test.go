package logon_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wavelock/ldapdisco/logon"
	"wavelock/ldapdisco/logon/logontest"
)

const password = "pa:ss wörd"

var (
	host1   = logon.Service{Class: "HTTP", Host: "host1.corp.example"}
	dc1     = logon.Service{Class: "ldap", Host: "dc1.corp.example"}
	binding = logon.Binding("tls-server-end-point:any bytes stand for a hash")
)

// domain is a directory, a KDC and two hosts in it.
type domain struct {
	directory *logontest.Directory
	kdc       *logontest.KDC
	host      *logontest.Host
}

func newDomain(t testing.TB) *domain {
	t.Helper()
	d := logontest.NewDirectory("CORP", "corp.example")
	d.Add("admin", password)
	kdc, err := logontest.StartKDC(d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { kdc.Close() })
	keys := kdc.Register("HTTP/host1.corp.example", "ldap/dc1.corp.example")
	return &domain{d, kdc, &logontest.Host{Directory: d, NetBIOSName: "HOST1", DNSName: "host1.corp.example", Keytab: keys}}
}

func (d *domain) kerberos(t testing.TB, change func(*logon.KerberosConfig)) *logon.KerberosLogin {
	t.Helper()
	cfg := logon.KerberosConfig{User: "admin", Realm: "corp.example", Password: password, KDCs: []string{d.kdc.Addr()}}
	if change != nil {
		change(&cfg)
	}
	l, err := logon.Kerberos(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// logOn runs an exchange to its end on both sides.
func logOn(ctx context.Context, l logon.Login, to logon.Service, bind logon.Binding, conn *logontest.Conn) (logon.Exchange, error) {
	x, err := l.Start(ctx, to, bind)
	if err != nil {
		return nil, err
	}
	var in []byte
	for range 5 {
		out, done, err := x.Next(ctx, in)
		if err != nil {
			return nil, err
		}
		if out == nil && done {
			return x, nil
		}
		reply, accepted, err := conn.Step(out)
		if err != nil {
			if reply == nil {
				return nil, err
			}
			_, _, err = x.Next(ctx, reply) // the reason is in the token
			return nil, err
		}
		if done {
			if !accepted {
				return nil, errors.New("we are done, the host is not")
			}
			return x, nil
		}
		in = reply
	}
	return nil, errors.New("endless exchange")
}

func (d *domain) logins(t testing.TB) map[string]logon.Login {
	k := d.kerberos(t, nil)
	ntlm := logon.NTLM("CORP", "admin", password)
	return map[string]logon.Login{
		"NTLM": ntlm, "NTLM in SPNEGO": logon.SPNEGO(ntlm), "NTLM with a UPN": logon.NTLM("", "admin@corp.example", password),
		"Kerberos in SPNEGO": k, "raw Kerberos": k.Raw(),
	}
}

func TestEveryLoginIsAcceptedAndSeals(t *testing.T) {
	d := newDomain(t)
	for name, l := range d.logins(t) {
		t.Run(name, func(t *testing.T) {
			conn := d.host.Accept(nil, logontest.Strict)
			x, err := logOn(t.Context(), l, host1, nil, conn)
			if err != nil {
				t.Fatal(err)
			}
			if conn.User() != `CORP\admin` || conn.Protocol() != x.Protocol() {
				t.Errorf("user %q, protocol %q and %q", conn.User(), conn.Protocol(), x.Protocol())
			}
			s, err := x.Sealer()
			if err != nil {
				t.Fatal(err)
			}
			exchangeMessages(t, s, conn, strings.Contains(name, "Kerberos"))
		})
	}
}

func exchangeMessages(t *testing.T, s logon.Sealer, conn *logontest.Conn, kerberos bool) {
	t.Helper()
	headerSize := 16
	if kerberos {
		headerSize = 60
	}
	for _, size := range []int{0, 1, 15, 16, 17, 1000, 70001} {
		msg := make([]byte, size)
		rand.Read(msg)
		before := bytes.Clone(msg)
		h, data, err := s.Seal(msg)
		if err != nil || len(h) != headerSize || len(data) != size {
			t.Fatalf("seal %d: header %d, data %d, %v", size, len(h), len(data), err)
		}
		if got, err := conn.Open(h, data); err != nil || !bytes.Equal(got, msg) {
			t.Fatalf("the host cannot open %d: %v", size, err)
		}
		if h, data, err = conn.Seal(msg); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Open(h, data); err != nil || !bytes.Equal(got, msg) {
			t.Fatalf("we cannot open %d: %v", size, err)
		}
		wrapped, err := s.Wrap(msg, true)
		if err != nil {
			t.Fatal(err)
		}
		if got, sealed, err := conn.Unwrap(wrapped); err != nil || !sealed || !bytes.Equal(got, msg) {
			t.Fatalf("the host cannot unwrap %d: %v", size, err)
		}
		if wrapped, err = conn.Wrap(msg, true); err != nil {
			t.Fatal(err)
		}
		if got, sealed, err := s.Unwrap(wrapped); err != nil || !sealed || !bytes.Equal(got, msg) {
			t.Fatalf("we cannot unwrap %d: %v", size, err)
		}
		if !bytes.Equal(msg, before) {
			t.Fatal("the message of the caller was changed")
		}
	}
}

func TestKerberosSignsWithoutSealing(t *testing.T) {
	d := newDomain(t)
	conn := d.host.Accept(nil, logontest.None)
	x, err := logOn(t.Context(), d.kerberos(t, nil).Raw(), dc1, nil, conn)
	if err != nil {
		t.Fatal(err)
	}
	s, _ := x.Sealer()
	offer := []byte{7, 0, 255, 255} // RFC 4752: the server offers its layers, signed
	wrapped, err := conn.Wrap(offer, false)
	if err != nil || !bytes.Contains(wrapped, offer) {
		t.Fatalf("%x %v", wrapped, err)
	}
	if got, sealed, err := s.Unwrap(wrapped); err != nil || sealed || !bytes.Equal(got, offer) {
		t.Fatalf("%x %v %v", got, sealed, err)
	}
	if wrapped, err = s.Wrap([]byte{4, 0, 255, 255}, false); err != nil {
		t.Fatal(err)
	}
	if _, sealed, err := conn.Unwrap(wrapped); err != nil || sealed {
		t.Fatal(sealed, err)
	}
	wrapped, _ = conn.Wrap(offer, false)
	if _, err := s.Open(wrapped[:16], wrapped[16:]); err == nil {
		t.Fatal("a message that is only signed was taken for sealed")
	}
	wrapped[17] ^= 1
	if _, _, err := s.Unwrap(wrapped); err == nil {
		t.Fatal("a changed message was accepted")
	}
}

func TestTamperedMessagesAreRefused(t *testing.T) {
	d := newDomain(t)
	for name, l := range d.logins(t) {
		for what, change := range map[string]func(h, data []byte) ([]byte, []byte){
			"data flipped":   func(h, data []byte) ([]byte, []byte) { data[0] ^= 1; return h, data },
			"header flipped": func(h, data []byte) ([]byte, []byte) { h[len(h)-1] ^= 1; return h, data },
			"flags changed":  func(h, data []byte) ([]byte, []byte) { h[2] ^= 4; return h, data },
			"EC changed":     func(h, data []byte) ([]byte, []byte) { h[5] ^= 1; return h, data },
			"RRC changed":    func(h, data []byte) ([]byte, []byte) { h[7] ^= 1; return h, data },
			"header cut":     func(h, data []byte) ([]byte, []byte) { return h[:len(h)-1], data },
			"data cut":       func(h, data []byte) ([]byte, []byte) { return h, data[:len(data)-1] },
			"no header":      func(h, data []byte) ([]byte, []byte) { return nil, data },
			"nothing":        func(h, data []byte) ([]byte, []byte) { return nil, nil },
			"in clear":       func(h, data []byte) ([]byte, []byte) { return make([]byte, 16), []byte("answer") },
		} {
			t.Run(name+", "+what, func(t *testing.T) {
				conn := d.host.Accept(nil, logontest.None)
				x, err := logOn(t.Context(), l, host1, nil, conn)
				if err != nil {
					t.Fatal(err)
				}
				s, _ := x.Sealer()
				h, data, _ := conn.Seal([]byte("answer"))
				if msg, err := s.Open(change(h, data)); err == nil {
					t.Fatalf("opened %q", msg)
				}
			})
		}
		t.Run(name+", replayed", func(t *testing.T) {
			conn := d.host.Accept(nil, logontest.None)
			x, err := logOn(t.Context(), l, host1, nil, conn)
			if err != nil {
				t.Fatal(err)
			}
			s, _ := x.Sealer()
			h, data, _ := conn.Seal([]byte("answer"))
			if _, err := s.Open(h, data); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Open(h, data); err == nil {
				t.Fatal("a replayed message was opened")
			}
		})
	}
}

func TestChannelBindingIsSent(t *testing.T) {
	d := newDomain(t)
	for name, l := range d.logins(t) {
		t.Run(name, func(t *testing.T) {
			if _, err := logOn(t.Context(), l, host1, binding, d.host.Accept(binding, logontest.Strict)); err != nil {
				t.Error("right binding:", err)
			}
			if _, err := logOn(t.Context(), l, host1, logon.Binding("tls-server-end-point:of a TLS proxy"), d.host.Accept(binding, logontest.Relaxed)); err == nil {
				t.Error("the binding of another certificate was accepted")
			}
			if _, err := logOn(t.Context(), l, host1, nil, d.host.Accept(binding, logontest.Strict)); err == nil {
				t.Error("no binding was accepted")
			}
			if _, err := logOn(t.Context(), l, host1, nil, d.host.Accept(binding, logontest.Relaxed)); err != nil {
				t.Error("relaxed:", err)
			}
		})
	}
}

func TestLDAPInsideTLSAsksForNoMessageSecurity(t *testing.T) {
	d := newDomain(t)
	for name, l := range d.logins(t) {
		if name == "raw Kerberos" {
			continue // GSSAPI agrees on the layer afterwards, RFC 4752
		}
		t.Run(name, func(t *testing.T) {
			conn := d.host.Accept(binding, logontest.Strict)
			if _, err := logOn(t.Context(), l, dc1, binding, conn); err != nil {
				t.Fatal(err)
			}
			if conn.WantsLayer() {
				t.Error("a domain controller would refuse this bind")
			}
			conn = d.host.Accept(nil, logontest.None)
			if _, err := logOn(t.Context(), l, dc1, nil, conn); err != nil || !conn.WantsLayer() {
				t.Errorf("without TLS: %v, layer %v", err, conn.WantsLayer())
			}
		})
	}
}

func TestWrongPasswords(t *testing.T) {
	d := newDomain(t)
	for name, l := range map[string]logon.Login{
		"NTLM":            logon.NTLM("CORP", "admin", "wrong-pw"),
		"NTLM, no such":   logon.NTLM("CORP", "nobody", password),
		"NTLM, no secret": logon.NTLM("CORP", "admin", ""),
		"Kerberos":        d.kerberos(t, func(c *logon.KerberosConfig) { c.Password = "wrong-pw" }),
		"Kerberos, nobody": d.kerberos(t, func(c *logon.KerberosConfig) {
			c.User = "nobody"
		}),
	} {
		_, err := logOn(t.Context(), l, host1, nil, d.host.Accept(nil, logontest.None))
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if strings.Contains(err.Error(), "wrong-pw") {
			t.Errorf("%s: the password is in %q", name, err)
		}
	}
}

func TestAWrongPasswordReachesTheKDCOnce(t *testing.T) {
	d := newDomain(t)
	l := d.kerberos(t, func(c *logon.KerberosConfig) { c.Password = "wrong" })
	errs := make(chan error)
	for range 100 {
		go func() {
			_, err := l.Start(context.Background(), host1, nil)
			errs <- err
		}()
	}
	for range 100 {
		err := <-errs
		var e *logon.Error
		if !errors.As(err, &e) || !e.PasswordRefused() || !strings.Contains(e.Hint(), "locked out") {
			t.Fatalf("%v", err)
		}
	}
	if n := d.kdc.Refusals.Load(); n != 1 {
		t.Fatalf("the KDC counted %d wrong passwords", n)
	}
}

func TestManyFirstLogonsAreOneASExchange(t *testing.T) {
	d := newDomain(t)
	l := d.kerberos(t, nil)
	errs := make(chan error)
	for range 200 {
		go func() {
			_, err := logOn(context.Background(), l, host1, nil, d.host.Accept(nil, logontest.None))
			errs <- err
		}()
	}
	for range 200 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if as, tgs := d.kdc.ASRequests.Load(), d.kdc.TGSRequests.Load(); as != 2 || tgs > 20 { // one without and one with pre-authentication
		t.Errorf("%d AS and %d TGS requests", as, tgs)
	}
}

func TestKeytabAndCredentialCache(t *testing.T) {
	d := newDomain(t)
	dir := t.TempDir()
	cache, keys := filepath.Join(dir, "ccache"), filepath.Join(dir, "keytab")
	if err := d.kdc.WriteCCache(cache, "admin"); err != nil {
		t.Fatal(err)
	}
	if err := d.kdc.WriteKeytab(keys, "admin"); err != nil {
		t.Fatal(err)
	}
	for name, cfg := range map[string]logon.KerberosConfig{
		"ccache":            {CCache: cache, KDCs: []string{d.kdc.Addr()}, Realm: "corp.example"},
		"ccache with FILE:": {CCache: "FILE:" + cache, Conf: "[libdefaults]\ndefault_realm = CORP.EXAMPLE\n[realms]\nCORP.EXAMPLE = {\n kdc = " + d.kdc.Addr() + "\n}\n"},
		"keytab":            {User: "admin@CORP.EXAMPLE", Keytab: keys, KDCs: []string{d.kdc.Addr()}},
	} {
		t.Run(name, func(t *testing.T) {
			l := d.kerberos(t, func(c *logon.KerberosConfig) { *c = cfg })
			if l.Principal() != "admin@CORP.EXAMPLE" {
				t.Error(l.Principal())
			}
			if _, err := logOn(t.Context(), l, host1, nil, d.host.Accept(nil, logontest.None)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestCredentialsThatCannotWorkAreRefusedAtOnce(t *testing.T) {
	d := newDomain(t)
	dir := t.TempDir()
	stale := filepath.Join(dir, "stale")
	d.kdc.Lifetime = -time.Hour
	if err := d.kdc.WriteCCache(stale, "admin"); err != nil {
		t.Fatal(err)
	}
	whole, _ := os.ReadFile(stale)
	for n := range len(whole) { // gokrb5 panics on many of these
		cut := filepath.Join(dir, "cut")
		os.WriteFile(cut, whole[:n], 0o600)
		if _, err := logon.Kerberos(logon.KerberosConfig{CCache: cut, Realm: "corp.example"}); err == nil {
			t.Fatalf("a cache cut at %d was accepted", n)
		}
	}
	for name, c := range map[string]struct {
		cfg  logon.KerberosConfig
		want string
	}{
		"nothing":         {logon.KerberosConfig{User: "a", Realm: "r"}, "exactly one"},
		"two":             {logon.KerberosConfig{User: "a", Realm: "r", Password: "x", Keytab: "y"}, "exactly one"},
		"no realm":        {logon.KerberosConfig{User: "a", Password: "x"}, "realm"},
		"no such file":    {logon.KerberosConfig{User: "a", Realm: "r", Keytab: filepath.Join(dir, "none")}, "none"},
		"expired cache":   {logon.KerberosConfig{CCache: stale}, "expired"},
		"broken krb5conf": {logon.KerberosConfig{User: "a", Realm: "r", Password: "x", Conf: "[libdefaults]\n ticket_lifetime = soon\n"}, ""},
	} {
		_, err := logon.Kerberos(c.cfg)
		var e *logon.Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestKerberosErrorsHaveHints(t *testing.T) {
	d := newDomain(t)
	l := d.kerberos(t, nil)
	hint := func(err error) string {
		var e *logon.Error
		if !errors.As(err, &e) {
			t.Fatalf("%v", err)
		}
		return e.Hint()
	}
	_, err := l.Start(t.Context(), logon.Service{Class: "HTTP", Host: "unknown.corp.example"}, nil)
	if !strings.Contains(hint(err), "service principal") {
		t.Errorf("unknown SPN: %v", err)
	}
	d.kdc.Register("HTTP/host1.corp.example") // the computer password has changed, the host does not know
	if _, err = logOn(t.Context(), d.kerberos(t, nil), host1, nil, d.host.Accept(nil, logontest.None)); err == nil {
		t.Error("a ticket for another key was accepted")
	}
	weak := newDomain(t)
	weak.kdc.ETypes = []int32{23}
	_, err = weak.kerberos(t, nil).Start(t.Context(), host1, nil)
	if !strings.Contains(hint(err), "AES") {
		t.Errorf("RC4 only: %v", err)
	}
}

func TestHostsOfATrustedDomain(t *testing.T) {
	parent := newDomain(t)
	directory := logontest.NewDirectory("CHILD", "child.corp.example")
	child, err := logontest.StartKDC(directory)
	if err != nil {
		t.Fatal(err)
	}
	defer child.Close()
	child.Trust(parent.kdc)
	host := &logontest.Host{Directory: directory, Keytab: child.Register("HTTP/host2.child.corp.example")}
	l := parent.kerberos(t, func(c *logon.KerberosConfig) {
		c.KDCs = nil
		c.Conf = "include /etc/krb5.conf.d\n[libdefaults]\n[realms]\nCORP.EXAMPLE = {\n kdc = " + parent.kdc.Addr() + "\n}\nCHILD.CORP.EXAMPLE = {\n kdc = " + child.Addr() + "\n}\n"
	})
	for range 2 { // the second time from the cache
		conn := host.Accept(nil, logontest.None)
		if _, err := logOn(t.Context(), l, logon.Service{Class: "HTTP", Host: "host2.child.corp.example"}, nil, conn); err != nil {
			t.Fatal(err)
		}
		if conn.User() != "admin@CORP.EXAMPLE" {
			t.Error(conn.User())
		}
	}
	_, err = l.Start(t.Context(), logon.Service{Class: "HTTP", Host: "host3.other.example"}, nil)
	var e *logon.Error
	if !errors.As(err, &e) || !strings.Contains(e.Hint(), "service principal") {
		t.Error(err)
	}
}

func TestReplayedTicketIsRefused(t *testing.T) {
	d := newDomain(t)
	x, err := d.kerberos(t, nil).Start(t.Context(), host1, nil)
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := x.Next(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, done, err := d.host.Accept(nil, logontest.None).Step(out); err != nil || !done {
		t.Fatal(done, err)
	}
	reply, done, err := d.host.Accept(nil, logontest.None).Step(out)
	if err == nil || done {
		t.Fatal("accepted twice")
	}
	_, _, err = x.Next(t.Context(), reply)
	if err == nil || !strings.Contains(err.Error(), "REPEAT") {
		t.Fatalf("the reason was lost: %v", err)
	}
}

func TestCloseWaitsAndForgets(t *testing.T) {
	d := newDomain(t)
	l := d.kerberos(t, nil)
	if _, err := l.Start(t.Context(), host1, nil); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.Start(t.Context(), host1, nil); err == nil {
		t.Fatal("a closed login still works")
	}
	l.Close()
}

func TestAContextEndsTheWaitForASilentKDC(t *testing.T) {
	silent := listenSilently(t)
	l, err := logon.Kerberos(logon.KerberosConfig{User: "admin", Realm: "corp.example", Password: "x", KDCs: []string{silent}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = l.Start(ctx, host1, nil)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(start) > 2*time.Second {
		t.Fatalf("%v after %v", err, time.Since(start))
	}
}
