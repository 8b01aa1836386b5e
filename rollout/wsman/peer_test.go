package wsman_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"wavelock/ldapdisco/logon"
	"wavelock/rollout/wsman"
)

// peer is a program on MIT Kerberos and gss-ntlmssp that shares no code with the rest of this repository. Where their
// Python is missing the tests are skipped, or fail when WAVELOCK_REQUIRE_PEERS is set.
func peer(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command(python, "-c", "import gssapi; gssapi.Credentials(usage='accept', mechs=[gssapi.OID.from_int_seq('1.3.6.1.4.1.311.2.2.10')])").CombinedOutput()
	if err != nil && !bytes.Contains(out, []byte("No credentials")) && !bytes.Contains(out, []byte("gssapi.raw")) {
		missing(t, "python3-gssapi or gss-ntlmssp is not here: %s", out)
	}
	path, err := filepath.Abs(filepath.FromSlash("../../testdata/peer/" + name))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	if os.Getenv("WAVELOCK_REQUIRE_PEERS") != "" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// peerPassword has no colon, which the peer's file of accounts cannot hold.
const peerPassword = "Pässwörd 1"

const python = "/usr/bin/python3" // Debian's own has the modules

// mit writes what MIT Kerberos needs to know of our KDC, and gives the environment that points there.
func mit(t *testing.T, l *listener, spn string) []string {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	conf := write("krb5.conf", []byte(`[libdefaults]
 default_realm = CORP.EXAMPLE
 dns_lookup_kdc = false
 dns_canonicalize_hostname = false
 rdns = false
 udp_preference_limit = 1
[realms]
 CORP.EXAMPLE = {
  kdc = `+l.kdc.Addr()+`
 }
[domain_realm]
 localhost = CORP.EXAMPLE
 .corp.example = CORP.EXAMPLE
`))
	keys, err := l.kdc.Register(spn).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	cache := filepath.Join(dir, "ccache")
	if err := l.kdc.WriteCCache(cache, "admin"); err != nil {
		t.Fatal(err)
	}
	return append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "KRB5_CONFIG="+conf, "KRB5_KTNAME="+write("keytab", keys), "KRB5CCNAME=FILE:"+cache, "KRB5RCACHETYPE=none",
		"NTLM_USER_FILE="+write("users", []byte("CORP:peer:"+peerPassword+"\n")), "NETBIOS_DOMAIN_NAME=CORP", "NETBIOS_COMPUTER_NAME=HOST1")
}

// output is what a peer says, safe to read while it runs.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// startAcceptor runs the peer's WinRM listener and gives its address.
func startAcceptor(t *testing.T, path string, env []string, cert ...string) (address string, log *output) {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = free.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	free.Close()
	cmd := exec.Command(python, append([]string{path, port}, cert...)...)
	log = &output{}
	cmd.Env, cmd.Stderr, cmd.Stdout = env, log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for range 100 {
		if c, err := net.Dial("tcp", address); err == nil {
			c.Close()
			return address, log
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("the peer does not listen: %s", log)
	return "", nil
}

func TestAgainstAnAcceptorOnMIT(t *testing.T) {
	path := peer(t, "winrm_acceptor.py")
	l := newListener(t, true) // for its KDC and certificate
	env := mit(t, l, "HTTP/"+hostName)
	ntlm := logon.NTLM("CORP", "peer", peerPassword)
	cert, key, der := certificateFiles(t, l)
	plain, plainLog := startAcceptor(t, path, env)
	secure, secureLog := startAcceptor(t, path, append(env, "CBT="+der, "BASIC=1"), "--tls", cert, key)
	k := l.kerberos(t)
	for name, login := range map[string]logon.Login{"NTLM": ntlm, "Kerberos": k, "raw Kerberos": k.Raw(), "Basic": logon.Basic("admin", password)} {
		for kind, target := range map[string]wsman.Target{
			"HTTP":  {Host: hostName, Address: plain, Login: login},
			"HTTPS": {Host: hostName, Address: secure, Login: login, TLS: l.clientTLS()},
		} {
			if name == "Basic" && kind == "HTTP" {
				continue
			}
			t.Run(name+" over "+kind, func(t *testing.T) {
				useEverything(t, target)
				if t.Failed() {
					t.Logf("the peer: %s %s", plainLog, secureLog)
				}
			})
		}
	}
	_, err := wsman.Open(t.Context(), wsman.Target{Host: hostName, Address: plain, Login: logon.NTLM("CORP", "peer", "wrong")})
	var auth *wsman.AuthError
	if !errors.As(err, &auth) {
		t.Errorf("a wrong password: %v", err)
	}
	if strings.Contains(plainLog.String(), "IN CLEAR") {
		t.Errorf("something went in clear: %s", plainLog)
	}
	for line := range strings.Lines(secureLog.String()) {
		if strings.Contains(line, " mech ") && !strings.Contains(line, "channel_bound") {
			t.Errorf("a logon inside TLS was not bound to it: %s", line)
		}
	}
}

// useEverything makes a listener, lists it, changes it, deletes it and runs a command.
func useEverything(t *testing.T, target wsman.Target) {
	t.Helper()
	ctx := t.Context()
	s, err := wsman.Open(ctx, target)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if id, err := s.Identify(ctx); err != nil || id.Vendor != "Microsoft Corporation" {
		t.Error(id, err)
	}
	https := wsman.Config("listener", wsman.Selector{Name: "Address", Value: "*"}, wsman.Selector{Name: "Transport", Value: "HTTPS"})
	if _, err := s.Create(ctx, https, wsman.NewElement("Listener", wsman.Field{Name: "Hostname", Value: hostName}, wsman.Field{Name: "CertificateThumbprint", Value: "AAAA"})); err != nil {
		t.Error(err)
	}
	e, err := s.Get(ctx, https)
	if err != nil {
		t.Fatal(err)
	}
	e.Set("CertificateThumbprint", "BBBB")
	if e, err = s.Put(ctx, https, e); err != nil || e.Value("CertificateThumbprint") != "BBBB" {
		t.Error(e, err)
	}
	found := 0
	for e, err := range s.Enumerate(ctx, wsman.Config("listener"), wsman.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Value("Transport") == "HTTPS" && e.Value("CertificateThumbprint") == "BBBB" {
			found++
		}
	}
	if found != 1 {
		t.Errorf("%d listeners", found)
	}
	if err := s.Delete(ctx, https); err != nil {
		t.Error(err)
	}
	var fault *wsman.Fault
	if _, err := s.Get(ctx, https); !errors.As(err, &fault) || !fault.IsNotFound() {
		t.Error(err)
	}
	sh, err := s.Shell(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer sh.Close(ctx)
	if r, err := sh.Run(ctx, "echo hello", nil); err != nil || r.ExitCode != 0 || !strings.Contains(string(r.Stdout), "echo hello") {
		t.Errorf("%+v %v", r, err)
	}
	if s.Connections() != 1 {
		t.Errorf("%d connections", s.Connections())
	}
}

// certificateFiles writes the certificate of httptest for the peer: PEM, its key, and DER.
func certificateFiles(t *testing.T, l *listener) (cert, key, der string) {
	t.Helper()
	dir := t.TempDir()
	pair := l.TLS.Certificates[0]
	keyBytes, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string][]byte{
		"cert.pem": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}),
		"key.pem":  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyBytes}),
		"cert.der": pair.Certificate[0],
	} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.der")
}

// The acceptors of logontest, under the listener of these tests, with a client on MIT.
func TestALogontestAcceptorWithAClientOnMIT(t *testing.T) {
	path := peer(t, "winrm_initiator.py")
	for _, secure := range []bool{false, true} {
		l := newListener(t, secure)
		env := mit(t, l, "HTTP/"+hostName)
		_, port, _ := net.SplitHostPort(l.Listener.Addr().String())
		scheme := "http"
		if secure {
			scheme = "https"
		}
		for _, auth := range []string{"krb5", "spnego", "ntlm", "ntlm-spnego"} {
			t.Run(fmt.Sprintf("%s over %s", auth, scheme), func(t *testing.T) {
				args := []string{path, fmt.Sprintf("%s://localhost:%s/wsman", scheme, port), auth}
				if secure {
					args = append(args, "--cbt", "--clear")
				}
				if strings.HasPrefix(auth, "ntlm") {
					args = append(args, "--user", `CORP\admin`, "--password", password)
				}
				cmd := exec.Command(python, append(args, "cmd", "echo hello")...)
				cmd.Env = env
				out, err := cmd.CombinedOutput()
				if err != nil || !strings.Contains(string(out), "hello") {
					t.Fatalf("%v %s", err, out)
				}
			})
		}
	}
}
