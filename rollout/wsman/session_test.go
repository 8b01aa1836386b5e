package wsman_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wavelock/ldapdisco/logon"
	"wavelock/rollout/wsman"
)

// runCommand opens a shell, runs one command and closes the shell.
func runCommand(t *testing.T, s *wsman.Session) {
	t.Helper()
	sh, err := s.Shell(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := sh.Run(t.Context(), `echo hello & exit 3`, nil)
	if err != nil || string(r.Stdout) != "hello\r\n" || string(r.Stderr) != "oops" || r.ExitCode != 3 {
		t.Fatalf("%+v %v", r, err)
	}
	if err := sh.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestRequestsOfACommand(t *testing.T) {
	for name, c := range map[string]struct {
		secure bool
		login  func(t *testing.T, l *listener) logon.Login
		first  int
	}{
		"NTLM over HTTP":              {false, func(*testing.T, *listener) logon.Login { return ntlm() }, 7},
		"Kerberos over HTTP":          {false, func(t *testing.T, l *listener) logon.Login { return l.kerberos(t) }, 6},
		"raw Kerberos over HTTP":      {false, func(t *testing.T, l *listener) logon.Login { return l.kerberos(t).Raw() }, 6},
		"NTLM over HTTPS, CBT strict": {true, func(*testing.T, *listener) logon.Login { return ntlm() }, 7},
		"Kerberos over HTTPS, strict": {true, func(t *testing.T, l *listener) logon.Login { return l.kerberos(t) }, 6},
		"Basic over HTTPS":            {true, func(*testing.T, *listener) logon.Login { return logon.Basic("admin", password) }, 6},
		"raw Kerberos, HTTPS, strict": {true, func(t *testing.T, l *listener) logon.Login { return l.kerberos(t).Raw() }, 6},
	} {
		t.Run(name, func(t *testing.T) {
			l := newListener(t, c.secure)
			l.basic = true
			s := l.open(t, c.login(t, l))
			runCommand(t, s)
			if n := s.Requests(); n != c.first || int64(n) != l.requests.Load() {
				t.Errorf("first command: %d requests, the server saw %d, want %d", n, l.requests.Load(), c.first)
			}
			runCommand(t, s)
			if n := s.Requests() - c.first; n != 5 {
				t.Errorf("second command: %d requests", n)
			}
			if _, err := s.Get(t.Context(), wsman.Config("service")); err != nil {
				t.Fatal(err)
			}
			if n := s.Requests() - c.first - 5; n != 1 {
				t.Errorf("Get: %d requests", n)
			}
			if s.Connections() != 1 || s.Handshakes() != 1 || l.connections.Load() != 1 {
				t.Errorf("%d connections, %d handshakes", l.connections.Load(), s.Handshakes())
			}
			if s.Secure() != c.secure || (s.TLSState() != nil) != c.secure {
				t.Error("secure", s.Secure())
			}
		})
	}
}

func TestNothingGoesInClearOverHTTP(t *testing.T) {
	for name, login := range map[string]func(l *listener) logon.Login{
		"NTLM":     func(*listener) logon.Login { return ntlm() },
		"Kerberos": func(l *listener) logon.Login { return l.kerberos(t) },
		"wrong":    func(*listener) logon.Login { return logon.NTLM("CORP", "admin", "wrong") },
	} {
		t.Run(name, func(t *testing.T) {
			l := newListener(t, false)
			if s, err := wsman.Open(t.Context(), l.target(login(l))); err == nil {
				defer s.Close()
				runCommand(t, s)
				s.Identify(t.Context())
				s.Get(t.Context(), wsman.Config("service"))
			}
			for _, word := range []string{"Envelope", "CommandLine", "echo", "hello", "ShellId", "listener", "AllowUnencrypted", password, "wrong"} {
				if l.wire.contains(word) {
					t.Errorf("%q crossed the wire in clear", word)
				}
			}
			if !l.wire.contains("NTLMSSP") && !l.wire.contains("Authorization: Negotiate ") {
				t.Error("the tap saw nothing")
			}
			if l.clear.Load() != 0 {
				t.Error("the server got clear messages")
			}
		})
	}
}

func TestBasicNeverGoesOverHTTP(t *testing.T) {
	l := newListener(t, false)
	l.basic = true
	_, err := wsman.Open(t.Context(), l.target(logon.Basic("admin", password)))
	var auth *wsman.AuthError
	if !errors.As(err, &auth) || !strings.Contains(auth.Hint(), "HTTPS") {
		t.Fatal(err)
	}
	if l.requests.Load() != 0 {
		t.Fatal("something was sent")
	}
}

func TestOperations(t *testing.T) {
	l := newListener(t, false)
	s := l.open(t, ntlm())
	ctx := t.Context()
	id, err := s.Identify(ctx)
	if err != nil || id.Vendor != "Microsoft Corporation" || !strings.HasPrefix(id.Version, "OS: 10.0") {
		t.Errorf("%+v %v", id, err)
	}
	service, err := s.Get(ctx, wsman.Config("service"))
	if err != nil || service.Child("Auth").Value("Basic") != "true" || service.At("Auth", "Basic").Attr("Source") != "GPO" {
		t.Errorf("%+v %v", service, err)
	}
	var transports []string
	for e, err := range s.Enumerate(ctx, wsman.Config("listener"), wsman.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		transports = append(transports, e.Value("Transport"))
		if got := e.Values("ListeningOn"); len(got) != 2 || got[1] != "::1" {
			t.Error(got)
		}
	}
	if strings.Join(transports, " ") != "HTTP HTTPS" {
		t.Error(transports)
	}
	https := wsman.Config("listener", wsman.Selector{Name: "Address", Value: "*"}, wsman.Selector{Name: "Transport", Value: "HTTPS"})
	made, err := s.Create(ctx, https, wsman.NewElement("Listener", wsman.Field{Name: "Hostname", Value: hostName}))
	if err != nil || made.String() != https.String() {
		t.Errorf("%v %v", made, err)
	}
	put, err := s.Put(ctx, https, wsman.NewElement("Listener", wsman.Field{Name: "Port", Value: "5986"}))
	if err != nil || put.Value("Port") != "5986" {
		t.Errorf("%v %v", put, err)
	}
	if err := s.Delete(ctx, https); err != nil {
		t.Error(err)
	}
	out, err := s.Invoke(ctx, wsman.WMI("root/default", "StdRegProv"), "GetStringValue", wsman.Field{Name: "hDefKey", Value: "2147483650"})
	if err != nil || out.Value("ReturnValue") != "0" || !strings.HasPrefix(out.Value("sValue"), "Windows") {
		t.Errorf("%v %v", out, err)
	}
	var fault *wsman.Fault
	if _, err := s.Invoke(ctx, wsman.WMI("root/default", "StdRegProv"), "Nonsense"); !errors.As(err, &fault) || fault.Status != 500 || fault.Code != 2150858817 || fault.Host != hostName {
		t.Errorf("%v", err)
	}
	if _, err := s.Identify(ctx); err != nil {
		t.Errorf("after a fault: %v", err)
	}
}

func TestWrongPasswordIsAnAuthErrorAndStops(t *testing.T) {
	l := newListener(t, false)
	login := logon.NTLM("CORP", "admin", "wrong")
	for range 3 {
		_, err := wsman.Open(t.Context(), l.target(login))
		var auth *wsman.AuthError
		if !errors.As(err, &auth) || auth.Status != 401 || auth.Hint() == "" || strings.Contains(err.Error(), "wrong") {
			t.Fatalf("%v", err)
		}
	}
	before := l.requests.Load()
	_, err := wsman.Open(t.Context(), l.target(login))
	if err == nil || l.requests.Load() != before {
		t.Fatalf("the fourth attempt was sent: %v", err)
	}
}

func TestKerberosReasonsAreTold(t *testing.T) {
	l := newListener(t, false)
	l.kdc.Register("HTTP/" + hostName) // the computer password has changed since the host read it
	_, err := wsman.Open(t.Context(), l.target(l.kerberos(t)))
	var auth *wsman.AuthError
	if !errors.As(err, &auth) || auth.Status != 401 {
		t.Fatal(err)
	}
}

func TestAClosedIdleConnectionIsReplaced(t *testing.T) {
	for _, op := range []string{"get", "put"} {
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			l := newListener(t, false)
			s := l.open(t, ntlm())
			if _, err := s.Get(t.Context(), wsman.Config("service")); err != nil {
				t.Fatal(err)
			}
			l.CloseClientConnections()
			time.Sleep(1100 * time.Millisecond) // long enough that the session looks before it sends
			var err error
			if op == "get" {
				_, err = s.Get(t.Context(), wsman.Config("service"))
			} else {
				_, err = s.Put(t.Context(), wsman.Config("service"), wsman.NewElement("Service"))
			}
			if err != nil || s.Connections() != 2 || s.Handshakes() != 2 {
				t.Fatalf("%v, %d connections", err, s.Connections())
			}
		})
	}
}

func TestABrokenConnectionLeavesTheOutcomeOfAChangeOpen(t *testing.T) {
	l := newListener(t, false)
	var puts, gets atomic.Int64
	l.spoil = func(w http.ResponseWriter, _ *http.Request, c *serverConn, body []byte) bool {
		plain, err := unseal(body, c.auth)
		if err != nil {
			t.Error(err)
		}
		if strings.Contains(string(plain), "transfer/Put<") {
			puts.Add(1)
			panic(http.ErrAbortHandler)
		}
		if gets.Add(1) == 2 {
			panic(http.ErrAbortHandler)
		}
		status, out := l.answer(string(plain))
		sealedAnswer(w, c, status, out)
		return true
	}
	s := l.open(t, ntlm())
	for range 2 { // the second one breaks and is asked again on a new connection
		if _, err := s.Get(t.Context(), wsman.Config("service")); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.Put(t.Context(), wsman.Config("service"), wsman.NewElement("Service"))
	var transport *wsman.TransportError
	if !errors.As(err, &transport) || !transport.Sent || !wsman.OutcomeUnknown(err) || puts.Load() != 1 {
		t.Fatalf("%v, %d puts", err, puts.Load())
	}
	if gets.Load() != 3 || s.Connections() != 2 {
		t.Fatalf("%d gets, %d connections", gets.Load(), s.Connections())
	}
	if _, err := s.Get(t.Context(), wsman.Config("service")); err != nil {
		t.Fatalf("after that: %v", err)
	}
}

func TestAForgottenLogonIsRepeated(t *testing.T) {
	l := newListener(t, false)
	var forget atomic.Bool
	l.spoil = func(w http.ResponseWriter, _ *http.Request, c *serverConn, _ []byte) bool {
		if forget.CompareAndSwap(true, false) {
			c.authed, c.auth = false, nil
			refuse(w, "")
			return true
		}
		return false
	}
	s := l.open(t, ntlm())
	s.Get(t.Context(), wsman.Config("service"))
	forget.Store(true)
	if err := s.Delete(t.Context(), wsman.Config("listener")); err != nil {
		t.Fatal(err)
	}
	if s.Handshakes() != 2 {
		t.Fatal(s.Handshakes())
	}
}

func TestCallsWaitForEachOther(t *testing.T) {
	l := newListener(t, false)
	s := l.open(t, ntlm())
	var wg sync.WaitGroup
	for range 64 {
		wg.Go(func() {
			if _, err := s.Get(context.Background(), wsman.Config("service")); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if s.Connections() != 1 || s.Handshakes() != 1 || s.Requests() != 66 {
		t.Errorf("%d connections, %d handshakes, %d requests", s.Connections(), s.Handshakes(), s.Requests())
	}
}

func TestDeadlines(t *testing.T) {
	l := newListener(t, false)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	l.spoil = func(http.ResponseWriter, *http.Request, *serverConn, []byte) bool { <-release; return true }
	s := l.open(t, ntlm())
	for name, newContext := range map[string]func() (context.Context, context.CancelFunc){
		"deadline": func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 50*time.Millisecond)
		},
		"cancel": func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(50*time.Millisecond, cancel)
			return ctx, cancel
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := newContext()
			defer cancel()
			start := time.Now()
			_, err := s.Get(ctx, wsman.Config("service"))
			var transport *wsman.TransportError
			if !errors.As(err, &transport) || !transport.Sent || time.Since(start) > 3*time.Second || !errors.Is(err, ctx.Err()) {
				t.Fatalf("%v after %v", err, time.Since(start))
			}
		})
	}
	t.Run("while another call is under way", func(t *testing.T) {
		slow, cancelSlow := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { s.Get(slow, wsman.Config("service")); close(done) }()
		time.Sleep(20 * time.Millisecond)
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		_, err := s.Get(ctx, wsman.Config("service"))
		if !errors.Is(err, context.DeadlineExceeded) || wsman.OutcomeUnknown(err) {
			t.Errorf("%v", err)
		}
		cancelSlow()
		<-done
	})
}

func TestConnectionFailuresAreTyped(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	target := wsman.Target{Host: hostName, Address: closed.Addr().String(), Login: ntlm(), Timeout: time.Second}
	var dial *wsman.DialError
	if _, err := wsman.Open(t.Context(), target); !errors.As(err, &dial) || !dial.Refused() || dial.Silent() {
		t.Errorf("%v", err)
	}
	target.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }
	target.Timeout = 20 * time.Millisecond
	if _, err := wsman.Open(t.Context(), target); !errors.As(err, &dial) || dial.Refused() || !dial.Silent() {
		t.Errorf("%v", err)
	}
	l := newListener(t, true)
	target = l.target(ntlm())
	target.TLS.ServerName = "" // becomes the host's name, which is not in the certificate
	var tlsErr *wsman.TLSError
	if _, err := wsman.Open(t.Context(), target); !errors.As(err, &tlsErr) || !strings.Contains(tlsErr.Hint(), "another name") {
		t.Errorf("%v", err)
	}
	target.TLS.RootCAs, target.TLS.ServerName = nil, "example.com"
	if _, err := wsman.Open(t.Context(), target); !errors.As(err, &tlsErr) || !strings.Contains(tlsErr.Hint(), "authority") {
		t.Errorf("%v", err)
	}
	for name, bad := range map[string]wsman.Target{
		"no login": {Host: hostName, Address: "127.0.0.1:1"},
		"host":     {Host: "a\r\nb", Address: "127.0.0.1:1", Login: ntlm()},
		"address":  {Host: hostName, Address: "127.0.0.1", Login: ntlm()},
		"locale":   {Host: hostName, Address: "127.0.0.1:1", Login: ntlm(), Locale: `"><x/>`},
	} {
		if _, err := wsman.Open(t.Context(), bad); err == nil {
			t.Errorf("%s: opened", name)
		}
	}
}

func TestASilentKDCCostsNoMoreThanTheTimeout(t *testing.T) {
	l := newListener(t, false)
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	k, err := logon.Kerberos(logon.KerberosConfig{User: "admin", Realm: "CORP.EXAMPLE", Password: password, KDCs: []string{silent.Addr().String()}})
	if err != nil {
		t.Fatal(err)
	}
	target := l.target(k)
	target.Timeout = 50 * time.Millisecond
	start := time.Now()
	if _, err := wsman.Open(t.Context(), target); !authError(err) || time.Since(start) > 2*time.Second {
		t.Fatalf("%v after %v", err, time.Since(start))
	}
}

func TestFiveHundredSessions(t *testing.T) {
	l := newListener(t, false)
	k, n := l.kerberos(t), ntlm()
	var wg sync.WaitGroup
	errs := make(chan error, 500)
	for i := range 500 {
		wg.Go(func() {
			target := l.target(n)
			target.Timeout = 60 * time.Second
			if i%2 == 0 {
				target.Login = k
			}
			s, err := wsman.Open(context.Background(), target)
			if err == nil {
				defer s.Close()
				_, err = s.Get(context.Background(), wsman.Config("service"))
			}
			if err == nil && s.Connections() != 1 {
				err = fmt.Errorf("%d connections", s.Connections())
			}
			errs <- err
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			t.Fatal(err)
		}
	}
}
