package logon_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wavelock/ldapdisco/logon"
	"wavelock/ldapdisco/logon/logontest"
)

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
	for n := range whole { // gokrb5 panics on many of these
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
