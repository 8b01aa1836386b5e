package wsman_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

	"wavelock/ldapdisco/logon"
	"wavelock/rollout/wsman"
)

func TestNoGoroutineIsLeft(t *testing.T) {
	l := newListener(t, false)
	for range 20 {
		k, err := logon.Kerberos(logon.KerberosConfig{User: "admin", Realm: "CORP.EXAMPLE", Password: password, KDCs: []string{l.kdc.Addr()}})
		if err != nil {
			t.Fatal(err)
		}
		for _, login := range []logon.Login{k, ntlm(), logon.NTLM("CORP", "admin", "wrong")} {
			if s, err := wsman.Open(t.Context(), l.target(login)); err == nil {
				runCommand(t, s)
				s.Close()
			}
		}
		k.Close()
	}
	deadline := time.Now().Add(3 * time.Second)
	for {
		if stacks := ours(); stacks == "" {
			return
		} else if time.Now().After(deadline) {
			t.Fatal(stacks)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// ours gives the goroutines of the session and of Kerberos, but not the test server's.
func ours() string {
	buf := make([]byte, 1<<20)
	var found []string
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if (strings.Contains(g, "wavelock/rollout/wsman.") || strings.Contains(g, "gokrb5/v8/client")) && !strings.Contains(g, "testing.tRunner") {
			found = append(found, g)
		}
	}
	return strings.Join(found, "\n\n")
}

func BenchmarkConnectAndEnumerate(b *testing.B) {
	for name, secure := range map[string]bool{"HTTP": false, "HTTPS": true} {
		l := newListener(b, secure)
		for kind, login := range map[string]logon.Login{"NTLM": ntlm(), "Kerberos": l.kerberos(b)} {
			b.Run(kind+" "+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					s, err := wsman.Open(b.Context(), l.target(login))
					if err != nil {
						b.Fatal(err)
					}
					for _, err := range s.Enumerate(b.Context(), wsman.Config("listener"), wsman.Query{}) {
						if err != nil {
							b.Fatal(err)
						}
					}
					s.Close()
				}
			})
		}
	}
}
