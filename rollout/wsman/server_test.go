package wsman_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wavelock/ldapdisco/logon"
	"wavelock/ldapdisco/logon/logontest"
	"wavelock/rollout/wsman"
)

const (
	hostName = "host1.corp.example"
	password = "pa:ss wörd"
)

// listener is a WinRM listener made of logontest: it authenticates connections, seals, and answers with canned bodies.
type listener struct {
	*httptest.Server
	directory *logontest.Directory
	kdc       *logontest.KDC
	host      *logontest.Host
	level     logontest.Level
	basic     bool
	bind      logon.Binding

	// reply makes the body of an answer, and the status.
	reply func(action, envelope string) (int, string)
	// spoil may answer an authenticated request in place of the listener.
	spoil spoiler

	requests, connections, handshakes, clear atomic.Int64
	wire                                     *tap
}

// spoiler tells if it has answered.
type spoiler func(w http.ResponseWriter, r *http.Request, c *serverConn, body []byte) bool

type serverConn struct {
	mu     sync.Mutex
	auth   *logontest.Conn
	authed bool
}

type connKey struct{}

// tap keeps all bytes that cross the server's connections.
type tap struct {
	mu    sync.Mutex
	bytes bytes.Buffer
}

type tappedListener struct {
	net.Listener
	tap *tap
}

type tappedConn struct {
	net.Conn
	tap *tap
}

func (l tappedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return tappedConn{c, l.tap}, err
}

func (c tappedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.tap.add(p[:n])
	return n, err
}

func (c tappedConn) Write(p []byte) (int, error) {
	c.tap.add(p)
	return c.Conn.Write(p)
}

func (t *tap) add(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.bytes.Write(p)
}

func (t *tap) contains(s string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return bytes.Contains(t.bytes.Bytes(), []byte(s))
}

func newListener(t testing.TB, secure bool) *listener {
	t.Helper()
	d := logontest.NewDirectory("CORP", "corp.example")
	d.Add("admin", password)
	kdc, err := logontest.StartKDC(d)
	if err != nil {
		t.Fatal(err)
	}
	l := &listener{directory: d, kdc: kdc, level: logontest.Strict, wire: &tap{}, reply: shellReplies}
	l.host = &logontest.Host{Directory: d, NetBIOSName: "HOST1", DNSName: hostName, Keytab: kdc.Register("HTTP/"+hostName, "HTTP/localhost")}
	l.Server = httptest.NewUnstartedServer(http.HandlerFunc(l.serve))
	l.Listener = tappedListener{l.Listener, l.wire}
	l.Config.ErrorLog = log.New(io.Discard, "", 0)
	l.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
		l.connections.Add(1)
		return context.WithValue(ctx, connKey{}, &serverConn{})
	}
	if secure {
		l.StartTLS()
		l.bind = logon.EndPointBinding(l.Certificate())
	} else {
		l.Start()
	}
	t.Cleanup(func() { l.CloseClientConnections(); l.Close(); kdc.Close() })
	return l
}

func (l *listener) target(login logon.Login) wsman.Target {
	t := wsman.Target{Host: hostName, Address: l.Listener.Addr().String(), Login: login, Timeout: 10 * time.Second}
	if l.TLS != nil {
		t.TLS = l.clientTLS()
	}
	return t
}

func (l *listener) clientTLS() *tls.Config {
	c := l.Client().Transport.(*http.Transport).TLSClientConfig.Clone()
	c.ServerName = "example.com" // the name in httptest's certificate
	return c
}

func ntlm() logon.Login { return logon.NTLM("CORP", "admin", password) }

func (l *listener) kerberos(t testing.TB) *logon.KerberosLogin {
	t.Helper()
	k, err := logon.Kerberos(logon.KerberosConfig{User: "admin", Realm: "CORP.EXAMPLE", Password: password, KDCs: []string{l.kdc.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

func (l *listener) open(t testing.TB, login logon.Login) *wsman.Session {
	t.Helper()
	s, err := wsman.Open(t.Context(), l.target(login))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func (l *listener) serve(w http.ResponseWriter, r *http.Request) {
	l.requests.Add(1)
	c := r.Context().Value(connKey{}).(*serverConn)
	c.mu.Lock()
	defer c.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if az := r.Header.Get("Authorization"); az != "" && !l.authenticate(w, az, c) {
		return
	}
	if !c.authed {
		refuse(w, "")
		return
	}
	if len(body) == 0 {
		w.WriteHeader(200)
		return
	}
	if l.spoil != nil && l.spoil(w, r, c, body) {
		return
	}
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/encrypted") {
		if l.TLS == nil {
			l.clear.Add(1)
			w.WriteHeader(500)
			return
		}
		status, out := l.answer(string(body))
		w.Header().Set("Content-Type", soapType)
		w.WriteHeader(status)
		io.WriteString(w, out)
		return
	}
	plain, err := unseal(body, c.auth)
	if err != nil {
		w.WriteHeader(400)
		return
	}
	status, out := l.answer(string(plain))
	sealedAnswer(w, c, status, out)
}

const soapType = "application/soap+xml;charset=UTF-8"

func sealedAnswer(w http.ResponseWriter, c *serverConn, status int, out string) {
	b, contentType := sealed(out, c.auth)
	w.Header().Set("Content-Type", contentType)
	w.WriteHeader(status)
	w.Write(b)
}

func (l *listener) authenticate(w http.ResponseWriter, authorization string, c *serverConn) bool {
	scheme, value, _ := strings.Cut(authorization, " ")
	token, _ := base64.StdEncoding.DecodeString(value)
	if scheme == "Basic" {
		user, pw, _ := strings.Cut(string(token), ":")
		if c.authed = l.basic && l.directory.Check(user, pw); !c.authed {
			refuse(w, "")
		}
		return c.authed
	}
	if c.auth == nil {
		c.auth = l.host.Accept(l.bind, l.level)
		l.handshakes.Add(1)
	}
	out, done, err := c.auth.Step(token)
	if err != nil {
		c.authed = false
		reply := ""
		if out != nil {
			reply = scheme + " " + base64.StdEncoding.EncodeToString(out)
		}
		refuse(w, reply)
		return false
	}
	c.authed = done
	if out != nil {
		reply := scheme + " " + base64.StdEncoding.EncodeToString(out)
		if !done {
			refuse(w, reply)
			return false
		}
		w.Header().Set("WWW-Authenticate", reply)
	}
	return true
}

func refuse(w http.ResponseWriter, reply string) {
	if reply != "" {
		w.Header().Add("WWW-Authenticate", reply)
	} else {
		for _, s := range []string{"Negotiate", "Kerberos", `Basic realm="WSMAN"`} {
			w.Header().Add("WWW-Authenticate", s)
		}
	}
	w.WriteHeader(401)
}

const boundary = "--Encrypted Boundary"

func sealed(msg string, c *logontest.Conn) ([]byte, string) {
	h, d, err := c.Seal([]byte(msg))
	if err != nil {
		panic(err)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\r\n\tContent-Type: %s\r\n\tOriginalContent: type=%s;Length=%d\r\n%s\r\n\tContent-Type: application/octet-stream\r\n", boundary, c.Protocol(), soapType, len(msg), boundary)
	binary.Write(&b, binary.LittleEndian, uint32(len(h)))
	b.Write(h)
	b.Write(d)
	b.WriteString(boundary + "--\r\n")
	return b.Bytes(), fmt.Sprintf(`multipart/encrypted;protocol="%s";boundary="Encrypted Boundary"`, c.Protocol())
}

var lengthRE = regexp.MustCompile(`Length=(\d+)`)

func unseal(b []byte, c *logontest.Conn) ([]byte, error) {
	_, b, _ = bytes.Cut(b, []byte("\r\n"))
	head, p, ok := bytes.Cut(b, []byte("Content-Type: application/octet-stream\r\n"))
	m := lengthRE.FindSubmatch(head)
	if !ok || m == nil || len(p) < 4 {
		return nil, fmt.Errorf("malformed")
	}
	want, _ := strconv.Atoi(string(m[1]))
	n := int(binary.LittleEndian.Uint32(p))
	p = p[4:]
	if len(p) != n+want+len(boundary+"--\r\n") {
		return nil, fmt.Errorf("length")
	}
	return c.Open(p[:n], p[n:n+want])
}

var (
	actionRE  = regexp.MustCompile(`Action[^>]*>([^<]+)<`)
	messageRE = regexp.MustCompile(`MessageID>([^<]+)<`)
)

func first(re *regexp.Regexp, s string) string {
	if m := re.FindStringSubmatch(s); m != nil {
		return m[1]
	}
	return ""
}

func (l *listener) answer(envelope string) (int, string) {
	status, body := l.reply(first(actionRE, envelope), envelope)
	return status, wrap(first(actionRE, envelope)+"Response", first(messageRE, envelope), body)
}

func wrap(action, relates, body string) string {
	return `<s:Envelope xml:lang="en-US" xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:a="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:x="http://schemas.xmlsoap.org/ws/2004/09/transfer" xmlns:n="http://schemas.xmlsoap.org/ws/2004/09/enumeration" xmlns:w="http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd" xmlns:rsp="http://schemas.microsoft.com/wbem/wsman/1/windows/shell"><s:Header><a:Action>` + action + `</a:Action><a:MessageID>uuid:0</a:MessageID><a:RelatesTo>` + relates + `</a:RelatesTo></s:Header><s:Body>` + body + `</s:Body></s:Envelope>`
}

func faultBody(code uint32, subcode string) string {
	return fmt.Sprintf(`<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value>%s</s:Value></s:Subcode></s:Code><s:Reason><s:Text xml:lang="en-US">no</s:Text></s:Reason><s:Detail><f:WSManFault xmlns:f="http://schemas.microsoft.com/wbem/wsman/1/wsmanfault" Code="%d" Machine="host1"><f:Message>not so</f:Message></f:WSManFault></s:Detail></s:Fault>`, subcode, code)
}

const (
	shellID   = "11111111-1111-4111-8111-111111111111"
	commandID = "22222222-2222-4222-8222-222222222222"
)

func listenerItem(transport string) string {
	return `<cfg:Listener xmlns:cfg="http://schemas.microsoft.com/wbem/wsman/1/config/listener" Source="GPO"><cfg:Address>*</cfg:Address><cfg:Transport>` + transport + `</cfg:Transport><cfg:Port>5985</cfg:Port><cfg:Hostname/><cfg:ListeningOn>192.0.2.10</cfg:ListeningOn><cfg:ListeningOn>::1</cfg:ListeningOn></cfg:Listener>`
}

// shellReplies is an honest host with two listeners and a shell that says hello and exits with 3.
func shellReplies(action, envelope string) (int, string) {
	switch action[strings.LastIndexByte(action, '/')+1:] {
	case "Get":
		return 200, `<cfg:Service xmlns:cfg="http://schemas.microsoft.com/wbem/wsman/1/config/service"><cfg:AllowUnencrypted>false</cfg:AllowUnencrypted><cfg:Auth><cfg:Basic Source="GPO">true</cfg:Basic></cfg:Auth></cfg:Service>`
	case "Enumerate":
		return 200, `<n:EnumerateResponse><n:EnumerationContext/><w:Items>` + listenerItem("HTTP") + listenerItem("HTTPS") + `</w:Items><w:EndOfSequence/></n:EnumerateResponse>`
	case "Create":
		if !strings.Contains(envelope, "shell/cmd") {
			return 200, `<x:ResourceCreated><a:Address>h</a:Address><a:ReferenceParameters><w:ResourceURI>http://schemas.microsoft.com/wbem/wsman/1/config/listener</w:ResourceURI><w:SelectorSet><w:Selector Name="Address">*</w:Selector><w:Selector Name="Transport">HTTPS</w:Selector></w:SelectorSet></a:ReferenceParameters></x:ResourceCreated>`
		}
		return 200, `<x:ResourceCreated><a:ReferenceParameters><w:SelectorSet><w:Selector Name="ShellId">` + shellID + `</w:Selector></w:SelectorSet></a:ReferenceParameters></x:ResourceCreated><rsp:Shell><rsp:ShellId>` + shellID + `</rsp:ShellId></rsp:Shell>`
	case "Command":
		return 200, `<rsp:CommandResponse><rsp:CommandId>` + commandID + `</rsp:CommandId></rsp:CommandResponse>`
	case "Receive":
		return 200, `<rsp:ReceiveResponse><rsp:Stream Name="stdout" CommandId="` + commandID + `">` + base64.StdEncoding.EncodeToString([]byte("hello\r\n")) + `</rsp:Stream><rsp:Stream Name="stderr" CommandId="` + commandID + `">` + base64.StdEncoding.EncodeToString([]byte("oops")) + `</rsp:Stream><rsp:CommandState CommandId="` + commandID + `" State="http://schemas.microsoft.com/wbem/wsman/1/windows/shell/CommandState/Done"><rsp:ExitCode>3</rsp:ExitCode></rsp:CommandState></rsp:ReceiveResponse>`
	case "Send":
		return 200, `<rsp:SendResponse/>`
	case "Signal":
		return 200, `<rsp:SignalResponse/>`
	case "Delete":
		return 200, ``
	case "Put":
		return 200, `<cfg:Listener xmlns:cfg="http://schemas.microsoft.com/wbem/wsman/1/config/listener"><cfg:Port>5986</cfg:Port></cfg:Listener>`
	case "GetStringValue":
		return 200, `<p:GetStringValue_OUTPUT xmlns:p="http://schemas.microsoft.com/wbem/wsman/1/wmi/root/default/StdRegProv"><p:ReturnValue>0</p:ReturnValue><p:sValue>Windows Server 2022 Standard</p:sValue></p:GetStringValue_OUTPUT>`
	case "":
		return 200, `<i:IdentifyResponse xmlns:i="http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd"><i:ProtocolVersion>http://schemas.dmtf.org/wbem/wsman/1/wsman.xsd</i:ProtocolVersion><i:ProductVendor>Microsoft Corporation</i:ProductVendor><i:ProductVersion>OS: 10.0.17763 SP: 0.0 Stack: 3.0</i:ProductVersion></i:IdentifyResponse>`
	}
	return 500, faultBody(2150858817, "w:InvalidAction")
}
