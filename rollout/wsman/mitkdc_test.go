package wsman_test

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wavelock/ldapdisco/logon"
	"wavelock/rollout/wsman"
)

// realm is MIT Kerberos' own KDC with three accounts in it: admin, old, who has no AES keys, and the HTTP services of host1
// and, without AES keys, of old1.
type realm struct {
	t    *testing.T
	dir  string
	addr string
	env  []string
}

func (r *realm) path(name string) string { return filepath.Join(r.dir, name) }

func (r *realm) write(name, text string) {
	r.t.Helper()
	if err := os.WriteFile(r.path(name), []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// run runs a program of Debian's krb5 packages, which may lie where only root looks.
func (r *realm) run(stdin, name string, args ...string) {
	r.t.Helper()
	c := exec.Command(krb5Program(r.t, name), args...)
	c.Env, c.Stdin = r.env, strings.NewReader(stdin)
	if out, err := c.CombinedOutput(); err != nil {
		r.t.Fatalf("%s %v: %v %s", name, args, err, out)
	}
}

func krb5Program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/" + name); err != nil {
			missing(t, "%s of krb5-kdc, krb5-admin-server or krb5-user is not here", name)
		}
	}
	return path
}

func newRealm(t *testing.T) *realm {
	t.Helper()
	for _, p := range []string{"krb5kdc", "kdb5_util", "kadmin.local", "kinit"} {
		krb5Program(t, p)
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &realm{t: t, dir: t.TempDir(), addr: free.Addr().String()}
	free.Close()
	r.env = append(os.Environ(), "KRB5_CONFIG="+r.path("krb5.conf"), "KRB5_KDC_PROFILE="+r.path("kdc.conf"), "KRB5CCNAME=FILE:"+r.path("ccache"), "LC_ALL=C")
	r.write("krb5.conf", "[libdefaults]\n default_realm = CORP.EXAMPLE\n dns_lookup_kdc = false\n dns_canonicalize_hostname = false\n rdns = false\n udp_preference_limit = 1\n[realms]\n CORP.EXAMPLE = {\n  kdc = "+
		r.addr+"\n }\n[domain_realm]\n .corp.example = CORP.EXAMPLE\n")
	r.write("kdc.conf", "[kdcdefaults]\n kdc_listen = \"\"\n kdc_tcp_listen = "+r.addr+"\n[realms]\n CORP.EXAMPLE = {\n  database_name = "+r.path("principal")+"\n  key_stash_file = "+r.path("stash")+
		"\n  supported_enctypes = aes256-cts:normal aes128-cts:normal\n  default_principal_flags = +preauth\n }\n[logging]\n kdc = FILE:"+r.path("log")+"\n")
	r.run("", "kdb5_util", "create", "-s", "-r", "CORP.EXAMPLE", "-P", "master")
	for _, q := range []string{
		`addprinc -pw "Pässwörd 1" admin`, `addprinc -pw "Pässwörd 1" -e arcfour-hmac:normal old`,
		`addprinc -randkey HTTP/` + hostName, `addprinc -randkey -e arcfour-hmac:normal HTTP/old1.corp.example`,
		`ktadd -k ` + r.path("http.keytab") + ` HTTP/` + hostName, `ktadd -norandkey -k ` + r.path("admin.keytab") + ` admin`,
	} {
		r.run("", "kadmin.local", "-q", q)
	}
	kdc := exec.Command(krb5Program(t, "krb5kdc"), "-n", "-P", r.path("pid"))
	kdc.Env = r.env
	if err := kdc.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		kdc.Process.Kill()
		kdc.Wait()
		if log, err := os.ReadFile(r.path("log")); err == nil && t.Failed() {
			t.Logf("the KDC: %s", log)
		}
	})
	for range 200 {
		if c, err := net.Dial("tcp", r.addr); err == nil {
			c.Close()
			return r
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the KDC does not listen")
	return nil
}

func (r *realm) login(cfg logon.KerberosConfig) *logon.KerberosLogin {
	r.t.Helper()
	cfg.KDCs, cfg.Realm = []string{r.addr}, "CORP.EXAMPLE"
	l, err := logon.Kerberos(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { l.Close() })
	return l
}

// TestAgainstMITsKDC: the KDC and the host are MIT's, with every kind of credential.
func TestAgainstMITsKDC(t *testing.T) {
	t.Parallel()
	path := peer(t, "winrm_acceptor.py")
	r := newRealm(t)
	r.run("Pässwörd 1\n", "kinit", "admin")
	l := newListener(t, true) // for its certificate
	cert, key, der := certificateFiles(t, l)
	env := append(r.env, "PYTHONDONTWRITEBYTECODE=1", "KRB5_KTNAME="+r.path("http.keytab"), "KRB5RCACHETYPE=none")
	plain, plainLog := startAcceptor(t, path, env)
	secure, secureLog := startAcceptor(t, path, append(env, "CBT="+der), "--tls", cert, key)
	for name, cfg := range map[string]logon.KerberosConfig{
		"password": {User: "admin", Password: "Pässwörd 1"}, "keytab": {User: "admin", Keytab: r.path("admin.keytab")}, "ccache": {CCache: r.path("ccache")},
	} {
		login := r.login(cfg)
		for kind, target := range map[string]wsman.Target{
			"sealed":         {Host: hostName, Address: plain, Login: login},
			"sealed and raw": {Host: hostName, Address: plain, Login: login.Raw()},
			"bound to TLS":   {Host: hostName, Address: secure, Login: login, TLS: l.clientTLS()},
		} {
			t.Run(name+", "+kind, func(t *testing.T) {
				useEverything(t, target)
				if t.Failed() {
					t.Logf("the peer: %s %s", plainLog, secureLog)
				}
			})
		}
	}
	if strings.Contains(plainLog.String(), "IN CLEAR") || !strings.Contains(plainLog.String(), "SEALED") || !strings.Contains(plainLog.String(), "header of 60") {
		t.Errorf("not all was sealed with AES: %s", plainLog)
	}
	for line := range strings.Lines(secureLog.String()) {
		if strings.Contains(line, "LOGON") && !strings.Contains(line, "channel_bound") {
			t.Errorf("a logon inside TLS was not bound to it: %s", line)
		}
	}
	r.refuses(t, plain)
}

// refuses: what must not work with a KDC that would do it for others.
func (r *realm) refuses(t *testing.T, address string) {
	for name, c := range map[string]struct {
		cfg    logon.KerberosConfig
		host   string
		hint   string
		secret bool
	}{
		"an account without AES": {logon.KerberosConfig{User: "old", Password: "Pässwörd 1"}, hostName, "AES", false},
		"a host without AES":     {logon.KerberosConfig{User: "admin", Password: "Pässwörd 1"}, "old1.corp.example", "AES", false},
		"a wrong password":       {logon.KerberosConfig{User: "admin", Password: "wrong"}, hostName, "password", true},
		"an unknown account":     {logon.KerberosConfig{User: "nobody", Password: "x"}, hostName, "does not know this account", true},
		"an unknown host":        {logon.KerberosConfig{User: "admin", Password: "Pässwörd 1"}, "none.corp.example", "setspn", false},
	} {
		_, err := wsman.Open(t.Context(), wsman.Target{Host: c.host, Address: address, Login: r.login(c.cfg)})
		var auth *wsman.AuthError
		var e *logon.Error
		if !errors.As(err, &auth) || auth.Refused() || !strings.Contains(auth.Hint(), c.hint) || !errors.As(err, &e) || e.PasswordRefused() != c.secret {
			t.Errorf("%s: %v", name, err)
		}
	}
}
