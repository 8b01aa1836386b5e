package wsman_test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wavelock/ldapdisco/logon"
	"wavelock/ldapdisco/logon/logontest"
	"wavelock/rollout/wsman"
)

var tlsError = asError[*wsman.TLSError]

// puppet answers every request with what speak writes, and keeps what it was sent.
func puppet(t *testing.T, speak func(w io.Writer, nth int, r *http.Request) (again bool)) (address string, soap *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	soap = &atomic.Int64{}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				in := bufio.NewReader(c)
				for nth := 1; ; nth++ {
					r, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					if n, _ := io.Copy(io.Discard, r.Body); n > 0 {
						soap.Add(1)
					}
					if !speak(c, nth, r) {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String(), soap
}

const unauthorized = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n"

// TestHostileLogons: whatever a host does before we are logged on, the error is typed, it comes within the deadline, and
// the host gets no message.
func TestHostileLogons(t *testing.T) {
	challenge := func() string {
		d := logontest.NewDirectory("CORP", "corp.example")
		x, err := ntlm().Start(t.Context(), logon.Service{Class: "HTTP", Host: hostName}, nil)
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
		return base64.StdEncoding.EncodeToString(out)
	}()
	say := func(text string) func(io.Writer, int, *http.Request) bool {
		return func(w io.Writer, _ int, _ *http.Request) bool { io.WriteString(w, text); return true }
	}
	silent := func(io.Writer, int, *http.Request) bool { return true }
	for name, c := range map[string]struct {
		speak func(io.Writer, int, *http.Request) bool
		is    func(error) bool
	}{
		"never answers":                {silent, transportError},
		"closes":                       {func(io.Writer, int, *http.Request) bool { return false }, transportError},
		"offers nothing":               {say(unauthorized + "\r\n"), authError},
		"offers Basic only":            {say(unauthorized + "WWW-Authenticate: Basic realm=\"x\"\r\n\r\n"), authError},
		"forbids":                      {say("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"), protocolError},
		"lets everybody in":            {say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), authError},
		"redirects":                    {say("HTTP/1.1 302 Found\r\nLocation: http://evil.example/wsman\r\nContent-Length: 0\r\n\r\n"), protocolError},
		"has HTML":                     {say("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>"), authError},
		"is broken":                    {say("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"), protocolError},
		"has a token that is none":     {say(unauthorized + "WWW-Authenticate: Negotiate !!!\r\n\r\n"), authError},
		"has a token of rubbish":       {say(unauthorized + "WWW-Authenticate: Negotiate " + base64.StdEncoding.EncodeToString([]byte("rubbish")) + "\r\n\r\n"), authError},
		"challenges without end":       {say(unauthorized + "WWW-Authenticate: Negotiate " + challenge + "\r\n\r\n"), authError},
		"has a token without end":      {say(unauthorized + "WWW-Authenticate: Negotiate " + strings.Repeat("A", 2<<20) + "\r\n\r\n"), transportError},
		"says that it has a gigabyte":  {say("HTTP/1.1 401 Unauthorized\r\nContent-Length: 1073741824\r\n\r\n"), transportError},
		"sends chunks without end":     {endless("HTTP/1.1 401 Unauthorized\r\nTransfer-Encoding: chunked\r\n\r\n", "1000\r\n"+strings.Repeat("x", 4096)+"\r\n"), transportError},
		"has a length that is none":    {say("HTTP/1.1 401 Unauthorized\r\nContent-Length: -1\r\n\r\n"), transportError},
		"trickles":                     {trickle, transportError},
		"challenges and never answers": {thenSilent(unauthorized + "WWW-Authenticate: Negotiate " + challenge + "\r\n\r\n"), transportError},
		"closes after the challenge":   {say("HTTP/1.1 401 Unauthorized\r\nConnection: close\r\nContent-Length: 0\r\nWWW-Authenticate: Negotiate " + challenge + "\r\n\r\n"), protocolError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address, soap := puppet(t, c.speak)
			started := time.Now()
			s, err := wsman.Open(t.Context(), wsman.Target{Host: hostName, Address: address, Login: ntlm(), Timeout: 2 * time.Second, MaxResponse: 1 << 20})
			if err == nil {
				s.Close()
			}
			if !c.is(err) || soap.Load() != 0 || time.Since(started) > 30*time.Second {
				t.Errorf("%T %v, %d messages, after %v", err, err, soap.Load(), time.Since(started))
			}
		})
	}
	t.Run("TLS never answers", func(t *testing.T) {
		t.Parallel()
		address, soap := puppet(t, silent)
		_, err := wsman.Open(t.Context(), wsman.Target{Host: hostName, Address: address, Login: ntlm(), TLS: newListener(t, true).clientTLS(), Timeout: 2 * time.Second})
		if !tlsError(err) || soap.Load() != 0 {
			t.Errorf("%T %v", err, err)
		}
	})
}

// endless writes the head and then more until the connection ends.
func endless(head, more string) func(io.Writer, int, *http.Request) bool {
	return func(w io.Writer, _ int, _ *http.Request) bool {
		_, err := io.WriteString(w, head)
		for err == nil {
			_, err = io.WriteString(w, more)
		}
		return false
	}
}

// trickle answers a byte at a time, for longer than anybody waits.
func trickle(w io.Writer, _ int, _ *http.Request) bool {
	_, err := io.WriteString(w, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 100000\r\n\r\n")
	for err == nil {
		time.Sleep(50 * time.Millisecond)
		_, err = fmt.Fprint(w, "x")
	}
	return false
}

func thenSilent(first string) func(io.Writer, int, *http.Request) bool {
	return func(w io.Writer, nth int, _ *http.Request) bool {
		if nth == 1 {
			io.WriteString(w, first)
		}
		return true
	}
}

// TestFaultStorms: a host that answers everything with a fault, or with the fault that means to wait, costs a bounded
// number of requests.
func TestFaultStorms(t *testing.T) {
	for name, code := range map[string]uint32{"time-outs": 0x80338029, "denials": 5, "quotas": 0x803381A5} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newListener(t, true)
			storm := func(string, string) (int, string) { return 500, faultBody(code, "w:X") }
			l.reply = storm
			s := l.open(t, ntlm())
			var last error
			for _, err := range s.Enumerate(t.Context(), wsman.Config("listener"), wsman.Query{}) {
				last = err
			}
			_, getErr := s.Get(t.Context(), wsman.Config("service"))
			_, shellErr := s.Shell(t.Context())
			for _, err := range []error{last, getErr, shellErr} {
				if !asError[*wsman.Fault](err) {
					t.Errorf("%T %v", err, err)
				}
			}
			l.reply = func(action, envelope string) (int, string) { // once a list or a command is begun
				switch {
				case strings.HasSuffix(action, "Enumerate"):
					return 200, `<n:EnumerateResponse><n:EnumerationContext>c</n:EnumerationContext></n:EnumerateResponse>`
				case strings.HasSuffix(action, "Pull"), strings.HasSuffix(action, "Receive"):
					return storm(action, envelope)
				}
				return shellReplies(action, envelope)
			}
			for _, err := range s.Enumerate(t.Context(), wsman.Config("listener"), wsman.Query{}) {
				last = err
			}
			sh, err := s.Shell(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			_, err = sh.Run(t.Context(), "pause", nil)
			for _, err := range []error{last, err} {
				if !asError[*wsman.Fault](err) && !protocolError(err) {
					t.Errorf("%T %v", err, err)
				}
			}
			if n := s.Requests(); n > 300 {
				t.Errorf("%d requests", n)
			}
		})
	}
}
