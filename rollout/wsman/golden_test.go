package wsman

import (
	"context"
	"encoding/xml"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"wavelock/ldapdisco/logon"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// repositoryRoot finds go.mod above the package.
func repositoryRoot(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for !exists(filepath.Join(dir, "go.mod")) {
		if parent := filepath.Dir(dir); parent != dir {
			dir = parent
			continue
		}
		t.Fatal("no go.mod above the package")
	}
	return dir
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// recorder is a session whose messages are kept; every answer is a fault.
func recorder(t *testing.T) (*Session, func() string) {
	t.Helper()
	var last string
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		last = string(b)
		w.Header().Set("Content-Type", soapType)
		w.WriteHeader(http.StatusOK)
		io.WriteString(w, answerTo(last))
	}))
	t.Cleanup(srv.Close)
	target := Target{Host: "host1.corp.example", Address: srv.Listener.Addr().String(), Login: logon.Basic("u", "p"),
		TLS: srv.Client().Transport.(*http.Transport).TLSClientConfig}
	target.TLS.ServerName = "example.com"
	s, err := Open(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.target.Address = "192.0.2.1:5986" // what the To header shows
	s.id, s.newID = "22222222-2222-4222-8222-222222222222", func() string { return "11111111-1111-4111-8111-111111111111" }
	return s, func() string { return last }
}

var messageID = regexp.MustCompile(`<a:MessageID>([^<]*)<`)

func answerTo(envelope string) string {
	id := ""
	if m := messageID.FindStringSubmatch(envelope); m != nil {
		id = m[1]
	}
	body := `<x:R xmlns:x="x"/>`
	switch {
	case strings.Contains(envelope, "enumeration/Enumerate<"):
		body = `<EnumerateResponse><EnumerationContext>uuid:c&lt;1&gt;</EnumerationContext></EnumerateResponse>`
	case strings.Contains(envelope, "enumeration/Pull<"):
		body = `<PullResponse><Items><a/><b/></Items><EnumerationContext>uuid:c&lt;2&gt;</EnumerationContext></PullResponse>`
	}
	return `<Envelope><Header><Action>x</Action><RelatesTo>` + id + `</RelatesTo></Header><Body>` + body + `</Body></Envelope>`
}

// TestGoldenMessages compares what we send with testdata/golden/wsman; -update rewrites the files.
func TestGoldenMessages(t *testing.T) {
	s, last := recorder(t)
	https := Config("listener", Selector{"Address", "*"}, Selector{"Transport", "HTTPS"})
	hard := `<&>"'` + "\r\n\täöü\x00\xff" + `]]>`
	shell := &Shell{session: s, id: "33333333-3333-4333-8333-333333333333"}
	cmd := &command{session: s, shell: shell.id, id: "44444444-4444-4444-8444-444444444444"}
	messages := map[string]func(ctx context.Context){
		"identify":       func(ctx context.Context) { s.Identify(ctx) },
		"get-service":    func(ctx context.Context) { s.Get(ctx, Config("service")) },
		"get-selectors":  func(ctx context.Context) { s.Get(ctx, WMI(`root\cimv2`, "Win32_Service", Selector{"Name", hard})) },
		"delete":         func(ctx context.Context) { s.Delete(ctx, https) },
		"put-as-it-came": func(ctx context.Context) { s.Put(ctx, https, listenerAsItCame(t)) },
		"put-values": func(ctx context.Context) {
			s.Put(ctx, Config("service"), NewElement("Service", Field{Name: "AllowUnencrypted", Value: hard}, Field{Name: "Null", Nil: true},
				Field{Name: "Auth", Fields: []Field{{Name: "Basic", Value: "false"}}}, Field{Name: "Many", Values: []string{"1", "2"}}, Field{Name: "None", Values: []string{}}))
		},
		"create-listener": func(ctx context.Context) {
			s.Create(ctx, https, NewElement("Listener", Field{Name: "Hostname", Value: "host1.corp.example"}, Field{Name: "CertificateThumbprint", Value: "2BD142A7D13196269264AD6BE0F8EC8DA172FF9E"}))
		},
		"invoke": func(ctx context.Context) {
			s.Invoke(ctx, WMI("root/default", "StdRegProv"), "GetStringValue", Field{Name: "hDefKey", Value: "2147483650"}, Field{Name: "sSubKeyName", Value: `SOFTWARE\Microsoft`}, Field{Name: "sValueName", Value: hard})
		},
		"enumerate": func(ctx context.Context) { s.first(ctx, Config("listener"), Query{}) },
		"enumerate-wql": func(ctx context.Context) {
			s.first(ctx, WMI("root/cimv2", "*"), Query{WQL: `select Name from Win32_Service where Name < "` + hard, EPR: true, MaxElements: 20})
		},
		"pull": func(ctx context.Context) {
			e := &enumeration{session: s, resource: Config("listener"), begun: true, context: "uuid:c<1>"}
			e.next(ctx)
		},
		"release": func(ctx context.Context) {
			for range s.Enumerate(ctx, Config("listener"), Query{}) {
				break
			}
		},
		"shell-open":    func(ctx context.Context) { s.Shell(ctx) },
		"shell-close":   func(ctx context.Context) { shell.Close(ctx) },
		"shell-command": func(ctx context.Context) { shell.Run(ctx, `reg query "HKLM\SOFTWARE" & echo <&> %TEMP%`, nil) },
		"shell-command-with-stdin": func(ctx context.Context) {
			shell.Run(ctx, `findstr /v nothing`, []byte{})
		},
		"shell-send":    func(ctx context.Context) { cmd.feed(ctx, []byte("input")) },
		"shell-receive": func(ctx context.Context) { cmd.receive(ctx) },
		"shell-signal":  func(ctx context.Context) { cmd.terminate(ctx) },
	}
	dir := filepath.Join(repositoryRoot(t), "testdata", "golden", "wsman")
	seen := map[string]bool{}
	for name, send := range messages {
		t.Run(name, func(t *testing.T) {
			send(t.Context())
			got := last()
			if strings.HasPrefix(name, "shell") { // the library picks its ids
				got = messageID.ReplaceAllString(got, "<a:MessageID>uuid:11111111-1111-4111-8111-111111111111<")
			}
			if _, err := Parse([]byte(got)); err != nil {
				t.Errorf("not well-formed: %v", err)
			}
			compare(t, filepath.Join(dir, name+".xml"), lines(got))
		})
		seen[name+".xml"] = true
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.xml"))
	if len(files) == 0 {
		t.Fatal("no golden files; make them with -update")
	}
	for _, f := range files {
		if !seen[filepath.Base(f)] {
			t.Errorf("%s belongs to no message", f)
		}
	}
}

// first fetches the first portion and leaves it at that.
func (s *Session) first(ctx context.Context, r Resource, q Query) {
	(&enumeration{session: s, resource: r, query: q}).next(ctx)
}

// lines breaks a message after each closing tag and each empty element, for eyes and diffs.
func lines(s string) string {
	return regexp.MustCompile(`(</[^>]*>|/>)\n?`).ReplaceAllString(s, "$1\n")
}

func compare(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v; make it with -update", err)
	}
	if string(want) != got {
		t.Errorf("differs from %s:\n%s", filepath.Base(path), got)
	}
}

// listenerAsItCame is what a Get gave, with attributes that must not be sent back.
func listenerAsItCame(t *testing.T) *Element {
	t.Helper()
	e, err := Parse([]byte(`<cfg:Listener xmlns:cfg="http://schemas.microsoft.com/wbem/wsman/1/config/listener" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xml:lang="en-US" Source="GPO"><cfg:Address>*</cfg:Address><cfg:Transport>HTTPS</cfg:Transport><cfg:Port>5986</cfg:Port><cfg:Hostname/><cfg:CertificateThumbprint xsi:nil="true"/><cfg:ListeningOn>::1</cfg:ListeningOn></cfg:Listener>`))
	if err != nil {
		t.Fatal(err)
	}
	e.Remove("ListeningOn")
	e.Set("Hostname", "host1.corp.example")
	return e
}

func TestEscapedTextComesBack(t *testing.T) {
	for _, s := range []string{"", "plain", `<&>"'`, "a\r\nb\tc", "]]>", "äöü 😀", " spaces "} {
		e, err := Parse([]byte(`<a b="` + escape(s) + `">` + escape(s) + `</a>`))
		if err != nil || e.Text != s || e.Attr("b") != s {
			t.Errorf("%q: %+v %v", s, e, err)
		}
	}
}

func FuzzEscape(f *testing.F) {
	f.Add("<&>\x00\xff\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		var got struct {
			Text string `xml:",chardata"`
			B    string `xml:"b,attr"`
		}
		if err := xml.Unmarshal([]byte(`<a b="`+escape(s)+`">`+escape(s)+`</a>`), &got); err != nil || got.Text != got.B {
			t.Fatalf("%q: %v", s, err)
		}
	})
}
