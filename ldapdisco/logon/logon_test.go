package logon_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"strings"
	"testing"

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
		"NTLM": ntlm, "NTLM with a UPN": logon.NTLM("", "admin@corp.example", password),
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
