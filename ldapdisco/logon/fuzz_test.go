package logon_test

import (
	"encoding/binary"
	"slices"
	"testing"

	"wavelock/ldapdisco/logon"
	"wavelock/ldapdisco/logon/logontest"
)

// challenge is a good CHALLENGE to start from.
func challenge(t testing.TB) []byte {
	t.Helper()
	d := logontest.NewDirectory("CORP", "corp.example")
	x, err := logon.NTLM("CORP", "admin", password).Start(t.Context(), host1, nil)
	if err != nil {
		t.Fatal(err)
	}
	negotiate, _, err := x.Next(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	out, _, err := (&logontest.Host{Directory: d, NetBIOSName: "HOST1"}).Accept(nil, logontest.None).Step(negotiate)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func answer(t testing.TB, challenge []byte) error {
	x, err := logon.NTLM("CORP", "admin", password).Start(t.Context(), host1, nil)
	if err != nil {
		t.Fatal(err)
	}
	x.Next(t.Context(), nil)
	_, _, err = x.Next(t.Context(), challenge)
	return err
}

func FuzzChallenge(f *testing.F) {
	good := challenge(f)
	f.Add(good)
	f.Add(good[:48])
	f.Add([]byte("NTLMSSP\x00\x02\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) { answer(t, b) })
}

func TestWeakenedChallengesAreRefused(t *testing.T) {
	good := challenge(t)
	if err := answer(t, good); err != nil {
		t.Fatal(err)
	}
	flags := binary.LittleEndian.Uint32(good[20:])
	for name, bit := range map[string]uint32{"unicode": 1, "sign": 0x10, "seal": 0x20, "extended security": 0x80000, "target info": 0x800000, "128 bit": 0x20000000, "key exchange": 0x40000000} {
		weak := append([]byte{}, good...)
		binary.LittleEndian.PutUint32(weak[20:], flags&^bit)
		if answer(t, weak) == nil {
			t.Errorf("a challenge without %s was answered", name)
		}
	}
	for n := range good {
		if answer(t, good[:n]) == nil {
			t.Errorf("a challenge cut at %d was answered", n)
		}
	}
}

func FuzzKerberosReply(f *testing.F) {
	d := newDomain(f)
	l := d.kerberos(f, nil)
	start := func(t testing.TB, l logon.Login) (logon.Exchange, []byte) {
		x, err := l.Start(t.Context(), host1, nil)
		if err != nil {
			t.Fatal(err)
		}
		out, _, err := x.Next(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return x, out
	}
	for _, v := range []logon.Login{l, l.Raw()} {
		_, out := start(f, v)
		reply, _, err := d.host.Accept(nil, logontest.None).Step(out)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(reply)
		f.Add(out)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, v := range []logon.Login{l, l.Raw()} {
			x, _ := start(t, v)
			if _, done, err := x.Next(t.Context(), b); done && err == nil {
				t.Fatal("foreign bytes proved the host")
			}
		}
	})
}

// FuzzOpen feeds foreign messages to complete contexts.
func FuzzOpen(f *testing.F) {
	d := newDomain(f)
	logins := []logon.Login{logon.NTLM("CORP", "admin", password), d.kerberos(f, nil)}
	f.Add(make([]byte, 16), []byte("x"))
	f.Add([]byte{5, 4, 7, 0xff, 0, 0, 0, 28, 0, 0, 0, 0, 0, 0, 0, 0}, make([]byte, 50))
	f.Fuzz(func(t *testing.T, header, data []byte) {
		for _, l := range logins {
			x, err := logOn(t.Context(), l, host1, nil, d.host.Accept(nil, logontest.None))
			if err != nil {
				t.Fatal(err)
			}
			s, _ := x.Sealer()
			if _, err := s.Open(header, data); err == nil {
				t.Fatal("a foreign message was opened")
			}
			if _, _, err := s.Unwrap(header); err == nil {
				t.Fatal("a foreign token was unwrapped")
			}
		}
	})
}

// FuzzAcceptor changes one byte of an honest client's tokens, or cuts them: the acceptors of logontest must not take
// anybody for somebody else. NTLM's MIC covers every byte; Kerberos leaves some outside of what it encrypts.
func FuzzAcceptor(f *testing.F) {
	d := newDomain(f)
	k := d.kerberos(f, nil)
	ntlm := logon.NTLM("CORP", "admin", password)
	logins := []logon.Login{ntlm, k, k.Raw()}
	for which := range logins {
		for _, at := range []uint16{0, 8, 12, 20, 64, 88, 200, 600} {
			f.Add(uint8(which), uint8(at%2), at, uint8(1<<(at%8)), false)
			f.Add(uint8(which), uint8(at%2), at, uint8(0xff), true)
		}
	}
	f.Fuzz(func(t *testing.T, which, leg uint8, at uint16, flip uint8, cut bool) {
		l := logins[int(which)%len(logins)]
		x, err := l.Start(t.Context(), host1, nil)
		if err != nil {
			t.Fatal(err)
		}
		conn := d.host.Accept(nil, logontest.None)
		var in []byte
		for n := range 3 {
			out, _, err := x.Next(t.Context(), in)
			if err != nil || out == nil {
				return
			}
			changed := n == int(leg%2) && (cut || flip != 0)
			if changed {
				out = slices.Clone(out)
				i := int(at) % len(out)
				out[i] ^= flip
				if cut {
					out = out[:i]
				}
			}
			reply, done, err := conn.Step(out)
			if done && err == nil {
				if conn.User() != `CORP\admin` || which%4 == 0 && leg%2 == 1 && changed {
					t.Fatalf("%s was let in, though the token had been changed", conn.User())
				}
				return
			}
			if err != nil {
				return
			}
			in = reply
		}
	})
}
