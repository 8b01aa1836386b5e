package logontest

import (
	"bytes"
	"context"
	"crypto/rand"
	"testing"
	"time"

	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/oiweiwei/go-msrpc/ssp/credential"
	"github.com/oiweiwei/go-msrpc/ssp/gssapi"
	msntlm "github.com/oiweiwei/go-msrpc/ssp/ntlm"
	msspnego "github.com/oiweiwei/go-msrpc/ssp/spnego"
)

var endPoint = []byte("tls-server-end-point:not really a hash, but any bytes do")

func corp() *Host {
	d := NewDirectory("CORP", "corp.example")
	d.Add("admin", "pa:ss wörd")
	return &Host{Directory: d, NetBIOSName: "HOST1", DNSName: "host1.corp.example"}
}

// peer is go-msrpc's NTLM initiator, which shares no code with this package.
func peer(user, password string, binding []byte) *msntlm.Authentifier {
	cfg := msntlm.NewConfig()
	cfg.Credential = credential.NewFromPassword(user, password, credential.Domain("CORP"))
	cfg.Integrity, cfg.Confidentiality = true, true
	cfg.ChannelBindings = binding
	return &msntlm.Authentifier{Config: cfg}
}

func logOn(t *testing.T, c *Conn, p *msntlm.Authentifier) error {
	t.Helper()
	ctx := t.Context()
	negotiate, err := p.Negotiate(ctx)
	if err != nil {
		t.Fatal(err)
	}
	challenge, done, err := c.Step(negotiate)
	if err != nil || done || challenge == nil {
		t.Fatalf("challenge: %x %v %v", challenge, done, err)
	}
	authenticate, err := p.Authenticate(ctx, challenge)
	if err != nil {
		t.Fatal(err)
	}
	out, done, err := c.Step(authenticate)
	if err == nil && (!done || out != nil) {
		t.Fatalf("accepted, but done=%v out=%x", done, out)
	}
	return err
}

func TestChannelBindingIsJudgedByLevel(t *testing.T) {
	right := bindingInput(endPoint)
	for name, c := range map[string]struct {
		bind, sent []byte
		level      Level
		accepted   bool
	}{
		"no TLS, strict counts for nothing":      {nil, nil, Strict, true},
		"TLS, none, nothing sent":                {endPoint, nil, None, true},
		"TLS, none, wrong sent":                  {endPoint, []byte("wrong"), None, true},
		"TLS, relaxed, nothing sent":             {endPoint, nil, Relaxed, true},
		"TLS, relaxed, right sent":               {endPoint, right, Relaxed, true},
		"TLS, relaxed, wrong sent":               {endPoint, []byte("wrong"), Relaxed, false},
		"TLS, strict, nothing sent":              {endPoint, nil, Strict, false},
		"TLS, strict, right sent":                {endPoint, right, Strict, true},
		"TLS, strict, another certificate's":     {endPoint, bindingInput([]byte("tls-server-end-point:x")), Strict, false},
		"no TLS but bindings sent (a TLS proxy)": {nil, right, Strict, true},
	} {
		t.Run(name, func(t *testing.T) {
			conn := corp().Accept(c.bind, c.level)
			err := logOn(t, conn, peer("admin", "pa:ss wörd", c.sent))
			if (err == nil) != c.accepted {
				t.Fatalf("error %v", err)
			}
			if c.accepted && conn.User() != `CORP\admin` || !c.accepted && conn.User() != "" {
				t.Fatalf("user %q", conn.User())
			}
		})
	}
}

// bindingInput is what go-msrpc hashes itself: the whole gss_channel_bindings_struct.
func bindingInput(app []byte) []byte {
	b := make([]byte, 20)
	b[16] = byte(len(app))
	return append(b, app...)
}

func TestWrongCredentialsAreRefused(t *testing.T) {
	for _, c := range [][2]string{{"admin", "wrong"}, {"nobody", "pa:ss wörd"}} {
		conn := corp().Accept(nil, None)
		if err := logOn(t, conn, peer(c[0], c[1], nil)); err == nil {
			t.Fatalf("%v was accepted", c)
		}
		if _, _, err := conn.Seal([]byte("x")); err == nil {
			t.Fatal("seals without a context")
		}
		// the connection may try again, as on http.sys
		if err := logOn(t, conn, peer("ADMIN", "pa:ss wörd", nil)); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSealsWithAnotherLibrary(t *testing.T) {
	conn, p := corp().Accept(nil, None), peer("admin", "pa:ss wörd", nil)
	if err := logOn(t, conn, p); err != nil {
		t.Fatal(err)
	}
	m := &msntlm.Mechanism{Authentifier: p}
	ctx := gssapi.NewSecurityContext(context.Background())
	caps := gssapi.Confidentiality | gssapi.Integrity
	for size := range 300 {
		msg := make([]byte, size)
		rand.Read(msg)
		tok, err := m.Wrap(ctx, &gssapi.MessageToken{Payload: bytes.Clone(msg), Capabilities: caps})
		if err != nil {
			t.Fatal(err)
		}
		got, err := conn.Open(tok.Signature, tok.Payload)
		if err != nil || !bytes.Equal(got, msg) {
			t.Fatalf("size %d: open: %v", size, err)
		}
		header, data, err := conn.Seal(msg)
		if err != nil || len(header) != 16 || len(data) != size {
			t.Fatalf("size %d: seal: %d %d %v", size, len(header), len(data), err)
		}
		back, err := m.Unwrap(ctx, &gssapi.MessageToken{Signature: header, Payload: data, Capabilities: caps})
		if err != nil || !bytes.Equal(back.Payload, msg) {
			t.Fatalf("size %d: the peer cannot open: %v", size, err)
		}
	}
	if _, err := conn.Open(make([]byte, 16), []byte("forged")); err == nil {
		t.Fatal("a forged message was opened")
	}
	if _, err := conn.Open([]byte{1}, nil); err == nil {
		t.Fatal("a short signature was accepted")
	}
}

func TestSPNEGOWithAnotherLibrary(t *testing.T) {
	ctx := gssapi.NewSecurityContext(t.Context(),
		gssapi.WithCredential(credential.NewFromPassword(`CORP\admin`, "pa:ss wörd")),
		gssapi.WithMechanismFactory(msspnego.Mechanism{}), gssapi.WithMechanismFactory(msntlm.Mechanism{}),
		gssapi.WithRequest(gssapi.Confidentiality|gssapi.Integrity))
	conn := corp().Accept(endPoint, None)
	var in []byte
	for range 4 {
		tok, err := gssapi.InitSecurityContext(ctx, &gssapi.Token{Payload: in})
		if err != nil && !gssapi.IsComplete(ctx) && tok == nil {
			t.Fatal(err)
		}
		if tok == nil || len(tok.Payload) == 0 {
			break
		}
		out, done, err := conn.Step(tok.Payload)
		if err != nil {
			t.Fatal(err)
		}
		in = out
		if done && out == nil {
			break
		}
	}
	if conn.User() != `CORP\admin` {
		t.Fatalf("user %q", conn.User())
	}
	if conn.spnego == nil {
		t.Fatal("the peer did not speak SPNEGO")
	}
	if p := conn.Protocol(); p != "application/HTTP-SPNEGO-session-encrypted" {
		t.Fatal(p)
	}
}

func TestCheckKnowsTheFormsOfAName(t *testing.T) {
	d := corp().Directory
	d.Add("op", "x", "Administrators")
	for name, want := range map[string]bool{"admin": true, `CORP\admin`: true, `corp\ADMIN`: true, "admin@corp.example": true, `corp.example\admin`: true,
		`OTHER\admin`: false, "admin@other.example": false, "nobody": false} {
		if got := d.Check(name, "pa:ss wörd"); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
	if d.Check("admin", "") || !d.MemberOf(`CORP\op`, "administrators") || d.MemberOf("admin", "Administrators") {
		t.Error("passwords or groups")
	}
}

func TestTenThousandConnectionsCostLittle(t *testing.T) {
	h := corp()
	if n := testing.AllocsPerRun(100, func() { h.Accept(nil, Strict) }); n > 1 {
		t.Fatalf("%v allocations", n)
	}
}

func FuzzStep(f *testing.F) {
	h := corp()
	h.Keytab = keytab.New()
	h.Keytab.AddEntry("HTTP/host1.corp.example", "CORP.EXAMPLE", "pw", timeZero, 1, 18)
	negotiate, _ := peer("admin", "x", nil).Negotiate(context.Background())
	f.Add(negotiate, negotiate)
	f.Add(negotiate, []byte("NTLMSSP\x00\x03\x00\x00\x00"))
	f.Add(frame(tokenAPREQ, []byte("x")), (&negotiation{chosen: oidNTLM}).answer(0, negotiate, nil))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		c := h.Accept(endPoint, Strict)
		c.Step(first)
		if _, done, _ := c.Step(second); done {
			t.Fatal("foreign bytes proved an account")
		}
		c.Open(first, second)
		c.Unwrap(second)
	})
}

var timeZero = time.Unix(0, 0)
