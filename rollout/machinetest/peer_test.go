package machinetest

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wavelock/ldapdisco/logon/logontest"
)

// The peers are programs of others, from Debian: a computer that only our own
// client can use would prove nothing. Where they are missing the tests are skipped,
// or fail with WAVELOCK_REQUIRE_PEERS.

const python = "/usr/bin/python3" // Debian's own has the modules

// need looks for a peer: a program, or a module of Python's.
func need(t *testing.T, program string, modules ...string) {
	t.Helper()
	missing := t.Skipf
	if os.Getenv("WAVELOCK_REQUIRE_PEERS") != "" {
		missing = t.Fatalf
	}
	if _, err := exec.LookPath(program); err != nil {
		missing("%s is not here", program)
	}
	for _, m := range modules {
		if err := exec.Command(python, "-c", "import "+m).Run(); err != nil {
			missing("the Python module %s is not here", m)
		}
	}
}

// stage is a computer in its domain, and what peers need to know of both.
type stage struct {
	h    *Host
	env  []string
	cert string // the HTTPS listener's, in PEM
	dir  string
}

func newStage(t testing.TB) *stage {
	t.Helper()
	s := &stage{dir: t.TempDir()}
	var kdc *logontest.KDC
	s.h = newHost(t, func(c *Config) {
		var err error
		if kdc, err = logontest.StartKDC(c.Directory); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { kdc.Close() })
		// Peers that only know the address ask for a ticket of that name.
		c.Keytab = kdc.Register("HTTP/"+c.FQDN, "HTTP/"+c.Address)
	})
	der := listenHTTPS(t, s.h)
	s.cert = s.write(t, "cert.pem", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	conf := s.write(t, "krb5.conf", `[libdefaults]
 default_realm = CORP.EXAMPLE
 dns_lookup_kdc = false
 dns_canonicalize_hostname = false
 rdns = false
 udp_preference_limit = 1
[realms]
 CORP.EXAMPLE = {
  kdc = `+kdc.Addr()+`
 }
[domain_realm]
 .corp.example = CORP.EXAMPLE
`)
	cache := filepath.Join(s.dir, "ccache")
	if err := kdc.WriteCCache(cache, "admin"); err != nil {
		t.Fatal(err)
	}
	// NTLM in Debian's Python needs MD4, which OpenSSL 3 keeps in its legacy provider.
	openssl := s.write(t, "openssl.cnf", "openssl_conf = oc\n[oc]\nproviders = ps\n[ps]\ndefault = d\nlegacy = l\n[d]\nactivate = 1\n[l]\nactivate = 1\n")
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "REQUESTS_CA_BUNDLE=") && !strings.HasPrefix(v, "CURL_CA_BUNDLE=") && !strings.HasPrefix(strings.ToLower(v), "http") {
			s.env = append(s.env, v)
		}
	}
	s.env = append(s.env, "PYTHONDONTWRITEBYTECODE=1", "KRB5_CONFIG="+conf, "KRB5CCNAME=FILE:"+cache, "OPENSSL_CONF="+openssl, "HOME="+s.dir, "NO_PROXY=*", "no_proxy=*")
	return s
}

func (s *stage) write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (s *stage) http() string  { return "http://" + s.h.Address(5985) + "/wsman" }
func (s *stage) https() string { return "https://" + s.h.Address(5986) + "/wsman" }

// run starts a peer and answers what it printed.
func (s *stage) run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Env, cmd.Dir, cmd.WaitDelay = s.env, s.dir, time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	return out.String(), err
}

// pywinrm opens a shell, runs a command in it, and prints code and output.
const pywinrm = `
import sys, warnings; warnings.simplefilter('ignore')
import winrm
url, transport, user, password, encryption, override = sys.argv[1:7]
p = winrm.protocol.Protocol(endpoint=url, transport=transport, username=user, password=password, server_cert_validation='ignore',
    message_encryption=encryption, kerberos_hostname_override=override or None)
sh = p.open_shell()
for line in sys.argv[7:]:
    c = p.run_command(sh, line)
    out, err, code = p.get_command_output(sh, c)
    p.cleanup_command(sh, c)
    print('CODE', code, 'OUT', out.decode().strip(), 'ERR', err.decode().strip())
p.close_shell(sh)
`

func TestPywinrmUsesTheComputer(t *testing.T) {
	t.Parallel()
	need(t, python, "winrm", "requests_ntlm", "requests_kerberos")
	s := newStage(t)
	s.h.Registry(func(r *Registry) { r.SetNum(serviceKey, "auth_basic", 1) })
	for name, c := range map[string]struct {
		url, transport, user, password, encryption, override string
		refused                                              bool
	}{
		"NTLM sealed over HTTP":          {s.http(), "ntlm", `CORP\admin`, testPassword, "always", "", false},
		"NTLM bound to TLS":              {s.https(), "ntlm", `CORP\admin`, testPassword, "auto", "", false},
		"NTLM sealed inside TLS":         {s.https(), "ntlm", `CORP\admin`, testPassword, "always", "", false},
		"Kerberos over TLS":              {s.https(), "kerberos", "", "", "auto", testFQDN, false},
		"Basic over TLS":                 {s.https(), "basic", "admin", testPassword, "auto", "", false},
		"NTLM in clear is refused":       {s.http(), "ntlm", `CORP\admin`, testPassword, "never", "", true},
		"Basic over HTTP is refused":     {s.http(), "basic", "admin", testPassword, "auto", "", true},
		"a wrong password is refused":    {s.http(), "ntlm", `CORP\admin`, "wrong", "always", "", true},
		"no administrator is refused":    {s.http(), "ntlm", `CORP\user`, testPassword, "always", "", true},
		"an unknown account is refused":  {s.http(), "ntlm", `CORP\nobody`, testPassword, "always", "", true},
		"Kerberos in clear over HTTP is": {s.http(), "kerberos", "", "", "never", testFQDN, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := s.run(t, python, "-c", pywinrm, c.url, c.transport, c.user, c.password, c.encryption, c.override, "hostname", "no-such-program", "echo a^&b")
			if c.refused {
				if err == nil {
					t.Errorf("was let in: %s", out)
				}
				return
			}
			want := "CODE 0 OUT web01 ERR"
			if err != nil || !strings.Contains(out, want) || !strings.Contains(out, "CODE 1 OUT  ERR 'no-such-program' is not recognized") || !strings.Contains(out, "CODE 0 OUT a&b ERR") {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

// Strict asks for a channel binding: pywinrm has one with NTLM and none with Kerberos.
func TestStrictChannelBindingAgainstPywinrm(t *testing.T) {
	t.Parallel()
	need(t, python, "winrm", "requests_ntlm", "requests_kerberos")
	s := newStage(t)
	s.h.Registry(func(r *Registry) { r.SetText(serviceKey, "cbt_hardening_level", "Strict") })
	if out, err := s.run(t, python, "-c", pywinrm, s.https(), "ntlm", `CORP\admin`, testPassword, "auto", "", "hostname"); err != nil {
		t.Errorf("NTLM with a binding: %v %s", err, out)
	}
	if out, err := s.run(t, python, "-c", pywinrm, s.https(), "kerberos", "", "", "auto", testFQDN, "hostname"); err == nil {
		t.Errorf("Kerberos without a binding was let in: %s", out)
	}
}

// The client of ours on MIT's GSSAPI has sealing with Kerberos and Create, Put, Delete.
func TestGSSAPIUsesTheComputer(t *testing.T) {
	t.Parallel()
	need(t, python, "gssapi")
	path, err := filepath.Abs(filepath.FromSlash("../../testdata/peer/winrm_initiator.py"))
	if err != nil {
		t.Fatal(err)
	}
	s := newStage(t)
	for _, secure := range []bool{false, true} {
		for _, auth := range []string{"krb5", "spnego", "ntlm", "ntlm-spnego"} {
			for _, c := range []struct {
				name, want string
				op         []string
			}{
				{"cmd", "web01", []string{"cmd", "hostname"}},
				{"get", "<cfg:CertificateThumbprint>", []string{"get", nsConfig + "/listener", "Address=*", "Transport=HTTPS"}},
				{"enum", "<cfg:Transport>HTTP</cfg:Transport>", []string{"enum", nsConfig + "/listener"}},
				{"put", "<cfg:MaxConnections>300</cfg:MaxConnections>", []string{"put", nsConfig + "/service", "/", "AllowUnencrypted=false"}},
				{"create", "500", []string{"create", nsConfig + "/listener", "Address=*", "Transport=HTTPS", "/", "Hostname=x"}},
			} {
				if c.name != "cmd" && (secure && auth != "ntlm" || !secure && auth != "krb5") { // once in each kind is enough of the others
					continue
				}
				t.Run(fmt.Sprintf("%s %s secure %v", c.name, auth, secure), func(t *testing.T) {
					args := []string{python, path, s.http(), auth}
					if secure {
						args = append([]string{python, path, s.https(), auth}, "--cbt", "--clear")
					}
					if strings.HasPrefix(auth, "ntlm") {
						args = append(args, "--user", `CORP\admin`, "--password", testPassword)
					}
					if out, err := s.run(t, append(args, c.op...)...); err != nil || !strings.Contains(out, c.want) {
						t.Errorf("%v %s", err, out)
					}
				})
			}
		}
	}
}

// Ansible's raw sends PowerShell -EncodedCommand with one native command.
func TestAnsibleRawUsesTheComputer(t *testing.T) {
	t.Parallel()
	need(t, "ansible", "winrm", "requests_ntlm")
	s := newStage(t)
	for name, c := range map[string]struct {
		transport, scheme string
		port              int
		command, want     string
		code              int
	}{
		"NTLM over HTTP":           {"ntlm", "http", s.h.cfg.HTTPPort, "hostname", "web01", 0},
		"NTLM over TLS":            {"ntlm", "https", s.h.cfg.HTTPSPort, "hostname", "web01", 0},
		"Kerberos over TLS":        {"kerberos", "https", s.h.cfg.HTTPSPort, "hostname", "web01", 0},
		"a command of the system":  {"ntlm", "http", s.h.cfg.HTTPPort, `reg query HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\WSMAN\Service`, "allow_remote_requests    REG_DWORD    0x1", 0},
		"a command that fails":     {"ntlm", "http", s.h.cfg.HTTPPort, `reg query HKLM\SOFTWARE\none`, "non-zero return code", 2},
		"a program that is not so": {"ntlm", "http", s.h.cfg.HTTPPort, "no-such-program", "non-zero return code", 2},
	} {
		t.Run(name, func(t *testing.T) {
			vars := fmt.Sprintf(`{"ansible_connection":"winrm","ansible_host":%q,"ansible_port":%d,"ansible_winrm_scheme":%q,"ansible_winrm_transport":%q,`+
				`"ansible_user":%q,"ansible_password":%q,"ansible_winrm_server_cert_validation":"ignore","ansible_winrm_kerberos_hostname_override":%q,"ansible_shell_type":"powershell","ansible_winrm_kinit_mode":"manual"}`,
				s.h.cfg.Address, c.port, c.scheme, c.transport, map[bool]string{true: `CORP\admin`, false: "admin@CORP.EXAMPLE"}[c.transport == "ntlm"], testPassword, testFQDN)
			out, err := s.run(t, "ansible", "all", "-i", testFQDN+",", "-m", "raw", "-a", c.command, "-e", vars)
			var exit *exec.ExitError
			if c.code == 0 && err != nil || c.code != 0 && (!asExit(err, &exit) || exit.ExitCode() != c.code) || !strings.Contains(out, c.want) {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}

func asExit(err error, to **exec.ExitError) bool {
	e, ok := err.(*exec.ExitError)
	*to = e
	return ok
}

// wsl is bash and curl: WS-Transfer and WS-Enumeration without any library. Its put and
// invoke paste references into envelopes that lack the prefixes: they fail on every host.
func TestWslUsesTheComputer(t *testing.T) {
	t.Parallel()
	need(t, "wslget")
	s := newStage(t)
	s.h.Registry(func(r *Registry) { r.SetNum(serviceKey, "auth_basic", 1) })
	s.env = append(s.env, "WSENDPOINT="+s.h.Address(5986), "WSUSER=admin", "WSPASS="+testPassword, "KEEPHISTORY=0", "WSLPOLICY=1")
	for name, c := range map[string]struct {
		args []string
		want []string
	}{
		"identify":           {[]string{"wslid", "check"}, []string{"Microsoft Corporation", "IdentifyResponse"}},
		"get a listener":     {[]string{"wslget", nsConfig + "/listener", "Address=*", "Transport=HTTP"}, []string{"cfg:Listener", ">5985<"}},
		"get the service":    {[]string{"wslget", nsConfig + "/service"}, []string{"AllowUnencrypted"}},
		"enumerate":          {[]string{"wslenum", nsConfig + "/listener"}, []string{">HTTP<", ">HTTPS<"}},
		"enumerate services": {[]string{"wslenum", nsWMI + "root/cimv2/Win32_OperatingSystem"}, []string{"20348"}},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := s.run(t, c.args...)
			for _, w := range c.want {
				if !strings.Contains(out, w) {
					t.Errorf("%v: no %s in %s", err, w, out)
				}
			}
		})
	}
}

// curl has SPNEGO by MIT Kerberos. Its NTLM asks for the scheme of that name, which WinRM has not.
func TestCurlUsesTheComputer(t *testing.T) {
	t.Parallel()
	need(t, "curl")
	s := newStage(t)
	host, port, err := net.SplitHostPort(s.h.Address(5986))
	if err != nil {
		t.Fatal(err)
	}
	request := s.write(t, "identify.xml", `<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:i="http://schemas.dmtf.org/wbem/wsman/identity/1/wsmanidentity.xsd"><s:Header/><s:Body><i:Identify/></s:Body></s:Envelope>`)
	args := []string{"curl", "-sS", "--negotiate", "-u", ":", "--cacert", s.cert, "--resolve", testFQDN + ":" + port + ":" + host,
		"-H", "Content-Type: " + soapType, "--data-binary", "@" + request, "https://" + testFQDN + ":" + port + "/wsman"}
	if out, err := s.run(t, args...); err != nil || !strings.Contains(out, "Microsoft Corporation") {
		t.Errorf("%v %s", err, out)
	}
}
