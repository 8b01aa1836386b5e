package wsman_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"wavelock/rollout/wsman"
)

// asError matches an error's type.
func asError[E error](err error) bool {
	var e E
	return errors.As(err, &e)
}

var (
	protocolError  = asError[*wsman.ProtocolError]
	clearTextError = asError[*wsman.ClearTextError]
	transportError = asError[*wsman.TransportError]
	authError      = asError[*wsman.AuthError]
)

// rewrite sends what change makes of an honest sealed answer.
func rewrite(l *listener, change func([]byte) []byte) spoiler {
	return func(w http.ResponseWriter, _ *http.Request, c *serverConn, body []byte) bool {
		plain, err := unseal(body, c.auth)
		if err != nil {
			w.WriteHeader(400)
			return true
		}
		status, out := l.answer(string(plain))
		b, contentType := sealed(out, c.auth)
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		w.Write(change(b))
		return true
	}
}

func clearAnswer(status int, contentType, body string) spoiler {
	return func(w http.ResponseWriter, _ *http.Request, _ *serverConn, _ []byte) bool {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		io.WriteString(w, body)
		return true
	}
}

func raw(answer string) spoiler {
	return func(w http.ResponseWriter, _ *http.Request, _ *serverConn, _ []byte) bool {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err == nil {
			io.WriteString(conn, answer)
			conn.Close()
		}
		return true
	}
}

func replies(body string) func(string, string) (int, string) {
	return func(string, string) (int, string) { return 200, body }
}

func TestHostileHosts(t *testing.T) {
	service := `<cfg:Service xmlns:cfg="x"/>`
	endlessHeader := func(w http.ResponseWriter, _ *http.Request, _ *serverConn, _ []byte) bool {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return true
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
		for err == nil {
			_, err = io.WriteString(conn, "X-More: "+strings.Repeat("x", 8000)+"\r\n")
		}
		return true
	}
	for name, c := range map[string]struct {
		secure bool
		spoil  func(l *listener) spoiler
		reply  func(action, envelope string) (int, string)
		is     func(error) bool
	}{
		"multipart cut in the head": {spoil: func(l *listener) spoiler {
			return rewrite(l, func(b []byte) []byte { return b[:30] })
		}, is: protocolError},
		"multipart cut in the data": {spoil: func(l *listener) spoiler {
			return rewrite(l, func(b []byte) []byte { return b[:len(b)-60] })
		}, is: protocolError},
		"multipart without end": {spoil: func(l *listener) spoiler {
			return rewrite(l, func(b []byte) []byte { return b[:len(b)-4] })
		}, is: protocolError},
		"multipart with more after its end": {spoil: func(l *listener) spoiler {
			return rewrite(l, func(b []byte) []byte { return append(b, b...) })
		}, is: protocolError},
		"Length too large": {spoil: func(l *listener) spoiler {
			return rewrite(l, func(b []byte) []byte { return bytes.Replace(b, []byte("Length="), []byte("Length=9"), 1) })
		}, is: protocolError},
		"Length too small": {spoil: func(l *listener) spoiler {
			return rewrite(l, func(b []byte) []byte { return lengthRE.ReplaceAll(b, []byte("Length=3")) })
		}, is: protocolError},
		"Length negative": {spoil: func(l *listener) spoiler {
			return rewrite(l, func(b []byte) []byte { return lengthRE.ReplaceAll(b, []byte("Length=-3")) })
		}, is: protocolError},
		"no Length": {spoil: func(l *listener) spoiler {
			return rewrite(l, func(b []byte) []byte { return lengthRE.ReplaceAll(b, []byte("Size=3")) })
		}, is: protocolError},
		"signature length of four gigabytes": {spoil: func(l *listener) spoiler {
			return rewrite(l, func(b []byte) []byte {
				i := bytes.Index(b, []byte("octet-stream\r\n")) + len("octet-stream\r\n")
				binary.LittleEndian.PutUint32(b[i:], 0xffffffff)
				return b
			})
		}, is: protocolError},
		"a flipped bit": {spoil: func(l *listener) spoiler {
			return rewrite(l, func(b []byte) []byte { b[len(b)-40] ^= 1; return b })
		}, is: protocolError},
		"clear SOAP over HTTP": {spoil: func(l *listener) spoiler {
			return clearAnswer(200, soapType, wrap("x", "y", service))
		}, is: clearTextError},
		"a clear fault over HTTP": {spoil: func(l *listener) spoiler {
			return clearAnswer(500, soapType, wrap("x", "y", faultBody(5, "w:AccessDenied")))
		}, is: clearTextError},
		"HTML over HTTP": {spoil: func(l *listener) spoiler {
			return clearAnswer(200, "text/html", "<html>")
		}, is: clearTextError},
		"HTML over HTTPS": {secure: true, spoil: func(l *listener) spoiler {
			return clearAnswer(200, "text/html", "<html>")
		}, is: protocolError},
		"SOAP under a wrong type over HTTPS": {secure: true, spoil: func(l *listener) spoiler {
			return clearAnswer(200, "text/xml", wrap("x", "y", service))
		}, is: protocolError},
		"no content type": {secure: true, spoil: func(l *listener) spoiler {
			return raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
		}, is: protocolError},
		"redirect": {secure: true, spoil: func(l *listener) spoiler {
			return func(w http.ResponseWriter, _ *http.Request, _ *serverConn, _ []byte) bool {
				w.Header().Set("Location", "https://evil.example/wsman")
				w.WriteHeader(307)
				return true
			}
		}, is: protocolError},
		"not found": {secure: true, spoil: func(l *listener) spoiler {
			return clearAnswer(404, "text/html", "")
		}, is: protocolError},
		"a huge answer": {secure: true, spoil: func(l *listener) spoiler {
			return clearAnswer(200, soapType, strings.Repeat("x", 5<<20))
		}, is: protocolError},
		"a gigabyte, as it says": {secure: true, spoil: func(l *listener) spoiler {
			return raw("HTTP/1.1 200 OK\r\nContent-Type: " + soapType + "\r\nContent-Length: 1073741824\r\n\r\n<s:Env")
		}, is: protocolError},
		"a gigabyte in clear": {spoil: func(l *listener) spoiler {
			return raw("HTTP/1.1 200 OK\r\nContent-Type: " + soapType + "\r\nContent-Length: 1073741824\r\n\r\n<s:Env")
		}, is: protocolError},
		"a huge answer in chunks": {secure: true, spoil: func(l *listener) spoiler {
			return func(w http.ResponseWriter, _ *http.Request, _ *serverConn, _ []byte) bool {
				w.Header().Set("Content-Type", soapType)
				for range 6 {
					io.WriteString(w, strings.Repeat("x", 1<<20))
					w.(http.Flusher).Flush()
				}
				return true
			}
		}, is: protocolError},
		"an endless head": {secure: true, spoil: func(l *listener) spoiler {
			return endlessHeader
		}, is: func(err error) bool { return protocolError(err) || transportError(err) }},
		"endless interim answers": {secure: true, spoil: func(l *listener) spoiler {
			return raw(strings.Repeat("HTTP/1.1 100 Continue\r\n\r\n", 100))
		}, is: transportError},
		"not HTTP": {secure: true, spoil: func(l *listener) spoiler {
			return raw("SSH-2.0-OpenSSH_9.6\r\n")
		}, is: transportError},
		"cut in the body": {secure: true, spoil: func(l *listener) spoiler {
			return raw("HTTP/1.1 200 OK\r\nContent-Type: " + soapType + "\r\nContent-Length: 1000\r\n\r\n<s:Env")
		}, is: transportError},
		"closed without a word": {secure: true, spoil: func(l *listener) spoiler {
			return raw("")
		}, is: transportError},
		"silence": {secure: true, spoil: func(l *listener) spoiler {
			return func(_ http.ResponseWriter, r *http.Request, _ *serverConn, _ []byte) bool {
				<-r.Context().Done()
				return true
			}
		}, is: transportError},
		"unauthorized after all": {secure: true, spoil: func(l *listener) spoiler {
			return func(w http.ResponseWriter, _ *http.Request, _ *serverConn, _ []byte) bool {
				refuse(w, "")
				return true
			}
		}, is: authError},
		"no XML": {reply: func(string, string) (int, string) { return 200, "<<<" }, is: protocolError},
		"a document type": {secure: true, spoil: func(l *listener) spoiler {
			return clearAnswer(200, soapType, `<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>`)
		}, is: protocolError},
		"deep XML":            {reply: replies(strings.Repeat("<a>", 100) + strings.Repeat("</a>", 100)), is: protocolError},
		"an empty body":       {reply: replies(""), is: protocolError},
		"500 without a fault": {reply: func(string, string) (int, string) { return 500, service }, is: protocolError},
		"answer to another message": {secure: true, spoil: func(l *listener) spoiler {
			return clearAnswer(200, soapType, wrap("x", "uuid:another", service))
		}, is: protocolError},
		"answer to no message": {secure: true, spoil: func(l *listener) spoiler {
			return clearAnswer(200, soapType, wrap("x", "", service))
		}, is: protocolError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newListener(t, c.secure)
			if c.spoil != nil {
				l.spoil = c.spoil(l)
			}
			if c.reply != nil {
				l.reply = c.reply
			}
			target := l.target(ntlm())
			target.Timeout = 3 * time.Second
			s, err := wsman.Open(t.Context(), target)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if name == "silence" {
				ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
				defer cancel()
				_, err = s.Get(ctx, wsman.Config("service"))
			} else {
				_, err = s.Get(t.Context(), wsman.Config("service"))
			}
			if err == nil || !c.is(err) {
				t.Fatalf("%T %v", err, err)
			}
		})
	}
}

func TestEndlessPull(t *testing.T) {
	for name, items := range map[string]string{"empty": "", "full": "<x/>"} {
		t.Run(name, func(t *testing.T) {
			l := newListener(t, true)
			l.reply = func(action, _ string) (int, string) {
				if strings.HasSuffix(action, "Enumerate") {
					return 200, `<n:EnumerateResponse><n:EnumerationContext>c&amp;1</n:EnumerationContext></n:EnumerateResponse>`
				}
				return 200, `<n:PullResponse><n:EnumerationContext>c&amp;1</n:EnumerationContext><n:Items>` + items + `</n:Items></n:PullResponse>`
			}
			s := l.open(t, ntlm())
			var last error
			for _, err := range s.Enumerate(t.Context(), wsman.Config("listener"), wsman.Query{}) {
				last = err
			}
			if !protocolError(last) || !strings.Contains(last.Error(), "does not end") {
				t.Fatal(last)
			}
		})
	}
}

func TestEnumerationGoesOnAndMayStopEarly(t *testing.T) {
	l := newListener(t, false)
	var pulls, released atomic.Int64
	l.reply = func(action, envelope string) (int, string) {
		switch {
		case strings.HasSuffix(action, "Enumerate"):
			if !strings.Contains(envelope, "select * from X where a &lt; &#34;b&#34;") {
				return 500, faultBody(1, "w:X")
			}
			return 200, `<n:EnumerateResponse><n:EnumerationContext>c1</n:EnumerationContext><w:Items><w:Item><x><Name>0</Name></x><a:EndpointReference><a:ReferenceParameters><w:ResourceURI>u</w:ResourceURI><w:SelectorSet><w:Selector Name="Name">0</w:Selector></w:SelectorSet></a:ReferenceParameters></a:EndpointReference></w:Item></w:Items></n:EnumerateResponse>`
		case strings.HasSuffix(action, "Release"):
			released.Add(1)
			return 200, ``
		}
		switch n := pulls.Add(1); n {
		case 1:
			return 500, faultBody(2150858793, "w:TimedOut")
		case 4:
			return 200, `<n:PullResponse><n:Items><Name>last</Name></n:Items><n:EndOfSequence/></n:PullResponse>`
		default:
			return 200, fmt.Sprintf(`<n:PullResponse><n:EnumerationContext>c%d</n:EnumerationContext><n:Items><Name>%d</Name></n:Items></n:PullResponse>`, n, n)
		}
	}
	s := l.open(t, ntlm())
	query := wsman.Query{WQL: `select * from X where a < "b"`, EPR: true}
	var got []string
	for e, err := range s.Enumerate(t.Context(), wsman.WMI("root/cimv2", "*"), query) {
		if err != nil {
			t.Fatal(err)
		}
		if r, ok := e.Reference(); ok {
			got = append(got, r.String(), e.Child("x").Value("Name"))
		} else {
			got = append(got, e.Text)
		}
	}
	if strings.Join(got, " ") != "u?Name=0 0 2 3 last" {
		t.Fatal(got)
	}
	pulls.Store(1)
	for range s.Enumerate(t.Context(), wsman.WMI("root/cimv2", "*"), query) {
		break
	}
	if released.Load() != 1 {
		t.Fatal("the host was not told")
	}
}

func TestShellRefusesWhatCannotBeSent(t *testing.T) {
	l := newListener(t, true)
	s := l.open(t, ntlm())
	sh, err := s.Shell(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	before := s.Requests()
	for _, line := range []string{"", "  ", "echo ]]>", "echo \x00", "echo a\nb", "echo \xff", strings.Repeat("x", 9000)} {
		if _, err := sh.Run(t.Context(), line, nil); err == nil || wsman.OutcomeUnknown(err) {
			t.Errorf("%.20q: %v", line, err)
		}
	}
	if s.Requests() != before {
		t.Error("something was sent")
	}
}

func TestShellOutputAndInput(t *testing.T) {
	l := newListener(t, false)
	var receives, sends atomic.Int64
	var stdin strings.Builder
	l.reply = func(action, envelope string) (int, string) {
		switch {
		case strings.HasSuffix(action, "Command"):
			if !strings.Contains(envelope, `WINRS_CONSOLEMODE_STDIN">FALSE<`) || !strings.Contains(envelope, `<![CDATA[findstr "<&>" äöü]]>`) {
				return 500, faultBody(1, "w:X")
			}
		case strings.HasSuffix(action, "Send"):
			sends.Add(1)
			_, chunk, _ := strings.Cut(envelope, "Stream ")
			_, chunk, _ = strings.Cut(chunk, ">")
			chunk, _, _ = strings.Cut(chunk, "<")
			b, err := base64.StdEncoding.DecodeString(chunk)
			if err != nil {
				t.Error(err)
			}
			stdin.Write(b)
		case strings.HasSuffix(action, "Receive"):
			switch receives.Add(1) {
			case 1:
				return 500, faultBody(2150858793, "w:TimedOut")
			case 2:
				return 200, `<rsp:ReceiveResponse><rsp:Stream Name="stdout" CommandId="x">` + base64.StdEncoding.EncodeToString([]byte("one ")) + `</rsp:Stream><rsp:CommandState State="http://schemas.microsoft.com/wbem/wsman/1/windows/shell/CommandState/Running"/></rsp:ReceiveResponse>`
			}
		}
		return shellReplies(action, envelope)
	}
	s := l.open(t, ntlm())
	sh, err := s.Shell(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	in := strings.Repeat("0123456789", 15000)
	r, err := sh.Run(t.Context(), `findstr "<&>" äöü`, []byte(in))
	if err != nil || string(r.Stdout) != "one hello\r\n" || r.ExitCode != 3 {
		t.Fatalf("%q %d %v", r.Stdout, r.ExitCode, err)
	}
	if stdin.String() != in || sends.Load() != 3 {
		t.Fatalf("%d bytes in %d pieces", stdin.Len(), sends.Load())
	}
}

func TestShellsThatGoWrong(t *testing.T) {
	running := `<rsp:ReceiveResponse><rsp:CommandState State="http://schemas.microsoft.com/wbem/wsman/1/windows/shell/CommandState/Running"/></rsp:ReceiveResponse>`
	done := `<rsp:ReceiveResponse><rsp:CommandState State="http://schemas.microsoft.com/wbem/wsman/1/windows/shell/CommandState/Done">%s</rsp:CommandState></rsp:ReceiveResponse>`
	for name, c := range map[string]struct {
		receive func() (int, string)
		is      func(error) bool
	}{
		"the service restarted": {func() (int, string) { return 500, faultBody(0x8033805B, "w:InvalidSelectors") }, asError[*wsman.Fault]},
		"never news":            {func() (int, string) { return 200, running }, protocolError},
		"an end without code":   {func() (int, string) { return 200, fmt.Sprintf(done, "") }, protocolError},
		"a code that is none":   {func() (int, string) { return 200, fmt.Sprintf(done, "<rsp:ExitCode>ok</rsp:ExitCode>") }, protocolError},
		"endless output": {func() (int, string) {
			return 200, `<rsp:ReceiveResponse><rsp:Stream Name="stdout">` + base64.StdEncoding.EncodeToString(make([]byte, 40<<10)) + `</rsp:Stream></rsp:ReceiveResponse>`
		}, protocolError},
		"an answer to other ends": {func() (int, string) { return 200, `<x/>` }, protocolError},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newListener(t, true)
			var signals atomic.Int64
			l.reply = func(action, envelope string) (int, string) {
				if strings.HasSuffix(action, "Receive") {
					return c.receive()
				}
				if strings.HasSuffix(action, "Signal") {
					signals.Add(1)
				}
				return shellReplies(action, envelope)
			}
			target := l.target(ntlm())
			target.MaxResponse = 64 << 10
			s, err := wsman.Open(t.Context(), target)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			sh, err := s.Shell(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			_, err = sh.Run(t.Context(), "net stop winrm", nil)
			if !c.is(err) || !asError[*wsman.RunError](err) || !wsman.OutcomeUnknown(err) {
				t.Fatalf("%T %v", err, err)
			}
			if signals.Load() != 1 {
				t.Error("the command was not ended")
			}
		})
	}
	for name, id := range map[string]string{"none": "", "injection": `"/><x a="`} {
		t.Run("shell id: "+name, func(t *testing.T) {
			l := newListener(t, true)
			l.reply = replies(`<x:ResourceCreated/><rsp:Shell><rsp:ShellId>` + strings.NewReplacer(`"`, "&quot;", "<", "&lt;", ">", "&gt;").Replace(id) + `</rsp:ShellId></rsp:Shell>`)
			if _, err := l.open(t, ntlm()).Shell(t.Context()); !protocolError(err) {
				t.Fatal(err)
			}
		})
	}
}

func TestACancelledCommandIsTerminated(t *testing.T) {
	l := newListener(t, false)
	var signals atomic.Int64
	l.reply = func(action, envelope string) (int, string) {
		if strings.HasSuffix(action, "Receive") {
			time.Sleep(50 * time.Millisecond)
			return 500, faultBody(2150858793, "w:TimedOut")
		}
		if strings.HasSuffix(action, "Signal") {
			signals.Add(1)
		}
		return shellReplies(action, envelope)
	}
	s := l.open(t, ntlm())
	sh, err := s.Shell(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err = sh.Run(ctx, "pause", nil)
	if !errors.Is(err, context.DeadlineExceeded) || !wsman.OutcomeUnknown(err) || time.Since(start) > 3*time.Second || signals.Load() != 1 {
		t.Fatalf("%v after %v, %d signals", err, time.Since(start), signals.Load())
	}
}
