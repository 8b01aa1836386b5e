package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"wavelock/ldapdisco/ldaptest"
	"wavelock/ldapdisco/logon/logontest"
	"wavelock/rollout"
	"wavelock/rollout/journal"
	"wavelock/rollout/web"
)

// writeCertificate makes a certificate for 127.0.0.1 and answers with the pool that trusts it.
func writeCertificate(t *testing.T, dir string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "dashboard"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*pem.Block{"web.pem": {Type: "CERTIFICATE", Bytes: der}, "web.key": {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(leaf)
	return pool
}

func TestWhereTheDashboardMayListen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeCertificate(t, dir)
	hash, err := web.HashPassword("a long password")
	if err != nil {
		t.Fatal(err)
	}
	users := []Account{{"vera", hash, []web.Role{web.Viewer}}}
	for name, c := range map[string]struct {
		listen string
		dash   Dashboard
		want   string // of the error; empty: none
	}{
		"loopback, nothing set":    {"127.0.0.1:0", Dashboard{}, ""},
		"loopback, v6":             {"[::1]:0", Dashboard{}, ""},
		"network, nothing set":     {"0.0.0.0:0", Dashboard{}, "no authentication and no TLS"},
		"every address":            {":8686", Dashboard{}, "no authentication and no TLS"},
		"network, users alone":     {"192.0.2.1:0", Dashboard{Users: users}, "no TLS"},
		"network, TLS alone":       {"192.0.2.1:0", Dashboard{Certificate: "web.pem", Key: "web.key"}, "no authentication"},
		"network, both":            {"192.0.2.1:0", Dashboard{Certificate: "web.pem", Key: "web.key", Users: users}, ""},
		"a key that is not there":  {"127.0.0.1:0", Dashboard{Certificate: "web.pem", Key: "no.key"}, "no.key"},
		"a hash that is none":      {"127.0.0.1:0", Dashboard{Users: []Account{{"v", "secret", []web.Role{web.Viewer}}}}, "argon2id"},
		"no address":               {"here", Dashboard{}, "no address and port"},
		"a token that is no token": {"127.0.0.1:0", Dashboard{ScrapeFile: "web.missing"}, "web.missing"},
	} {
		cfg := Config{dir: dir, Listen: c.listen, Dashboard: c.dash}
		_, err := newApp(strings.NewReader(""), &strings.Builder{}, &strings.Builder{}).openDoorway(cfg)
		if (err == nil) != (c.want == "") || (err != nil && !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestHashPasswordIsAskedForAndNotAnArgument(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	a := newApp(strings.NewReader("a long password\r\n"), &out, &strings.Builder{})
	if err := a.hashPassword(); err != nil {
		t.Fatal(err)
	}
	users, err := web.NewUsers([]web.User{{Name: "vera", Hash: strings.TrimSpace(out.String()), Roles: []web.Role{web.Viewer}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := users.Login(t.Context(), "vera", "a long password"); err != nil {
		t.Error(err)
	}
	for _, in := range []string{"", "short\n"} {
		if err := newApp(strings.NewReader(in), &out, &strings.Builder{}).hashPassword(); err == nil {
			t.Errorf("%q is taken", in)
		}
	}
}

// TestPeopleOfTheDomainActByTheirGroups goes the whole way: TLS, a bind to the
// directory, roles by groups, and the word in the journal in the account's name.
func TestPeopleOfTheDomainActByTheirGroups(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	roots := writeCertificate(t, dir)
	cfg := defaultConfig()
	cfg.dir, cfg.Listen = dir, "127.0.0.1:0"
	cfg.Directory = Directory{URLs: []string{peopleOf(t, dir, roots)}, CAFile: "web.pem"}
	cfg.Dashboard = Dashboard{Certificate: "web.pem", Key: "web.key", Groups: GroupsOfRoles{Viewer: []string{"WL Viewers"}, Operator: []string{"WL Operators"}}}
	a := newApp(strings.NewReader(""), &strings.Builder{}, &strings.Builder{})
	a.quiet = true
	j, err := a.openJournal(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	register(t, j, time.Now())
	door, err := a.openDoorway(cfg)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go serveHTTP(t.Context(), tls.NewListener(l, door.tls), a.dashboard(t.Context(), cfg, j, door))
	house := visited{t, "https://" + l.Addr().String(), roots}
	for _, name := range []string{"nora", "nobody"} {
		if _, code := house.login(name, "pw-of-"+name); code != 401 {
			t.Errorf("%s: %d", name, code)
		}
	}
	if _, code := house.login("vera", "wrong"); code != 401 {
		t.Errorf("a wrong password: %d", code)
	}
	vera, code := house.login("CORP\\vera", "pw-of-vera")
	if code != 200 || house.pause(vera) != 403 {
		t.Errorf("a viewer: %d", code)
	}
	otto, code := house.login("otto@corp.example", "pw-of-otto")
	if code != 200 || house.pause(otto) != 200 {
		t.Errorf("an operator: %d", code)
	}
	events, err := j.Latest(t.Context(), "spring", "", 0, 1)
	if err != nil || len(events) != 1 || events[0].Kind != rollout.EvPaused || events[0].Actor != `CORP\otto` || events[0].Detail != "freeze" {
		t.Errorf("%+v, %v", events, err)
	}
}

// peopleOf is the LDAPS address of a domain with vera, who is in the group of viewers, otto, who is in that of operators,
// and nora, who is in neither. Their passwords are pw-of-NAME. Its certificate is that of the folder.
func peopleOf(t *testing.T, dir string, roots *x509.CertPool) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "web.pem"), filepath.Join(dir, "web.key"))
	if err != nil {
		t.Fatal(err)
	}
	accounts := logontest.NewDirectory("CORP", "corp.example")
	s, err := ldaptest.Start(ldaptest.Config{Directory: accounts, Certificate: &pair, Roots: roots})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	members := map[string]string{}
	for _, name := range []string{"vera", "otto", "nora"} {
		accounts.Add(name, "pw-of-"+name)
		if err := s.LDIF("dn: CN=" + name + ",CN=Users,DC=corp,DC=example\nobjectClass: top\nobjectClass: person\nobjectClass: user\ncn: " + name + "\nsAMAccountName: " + name + "\n\n"); err != nil {
			t.Fatal(err)
		}
		members[name] = "CN=" + name + ",CN=Users,DC=corp,DC=example"
	}
	for group, member := range map[string]string{"WL Viewers": "vera", "WL Operators": "otto"} {
		if _, err := s.AddGroup(group, "", members[member]); err != nil {
			t.Fatal(err)
		}
	}
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s.SecureURL(), "ldaps://"))
	if err != nil {
		t.Fatal(err)
	}
	return "ldaps://127.0.0.1:" + port
}

// visited is a dashboard as people's browsers see it.
type visited struct {
	t     *testing.T
	base  string
	roots *x509.CertPool
}

// login sends the form, and answers a browser with what came of it and the status of the page that it ended on.
func (v visited) login(name, password string) (*http.Client, int) {
	v.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		v.t.Fatal(err)
	}
	c := &http.Client{Jar: jar, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: v.roots}}, Timeout: 30 * time.Second}
	r, err := c.PostForm(v.base+"/login", url.Values{"name": {name}, "password": {password}, "next": {"/campaign/spring"}})
	if err != nil {
		v.t.Fatal(err)
	}
	r.Body.Close()
	return c, r.StatusCode
}

// pause has the browser send the form that pauses the campaign, and answers the status.
func (v visited) pause(c *http.Client) int {
	v.t.Helper()
	r, err := c.Get(v.base + "/campaign/spring")
	if err != nil {
		v.t.Fatal(err)
	}
	defer r.Body.Close()
	page, err := io.ReadAll(r.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	m := regexp.MustCompile(`name="token" value="([^"]+)"`).FindSubmatch(page)
	if m == nil {
		v.t.Fatalf("no form in\n%s", page)
	}
	r, err = c.PostForm(v.base+"/campaign/spring/pause", url.Values{"token": {string(m[1])}, "why": {"freeze"}})
	if err != nil {
		v.t.Fatal(err)
	}
	r.Body.Close()
	return r.StatusCode
}

// register takes a campaign of one host into the journal.
func register(t *testing.T, j *journal.Journal, at time.Time) {
	t.Helper()
	p := rollout.Plan{Version: rollout.PlanVersion, ID: "spring", Goal: rollout.GoalClose, Policy: rollout.DefaultPolicy(),
		Hosts: []rollout.Planned{{Host: rollout.Host{ID: "h1.corp.example"}}}, Waves: []rollout.Wave{{Name: "canary", Hosts: []rollout.HostID{"h1.corp.example"}, InFlight: 1, Limit: 1}}}
	if err := j.Create(t.Context(), p, rollout.Event{At: at}); err != nil {
		t.Fatal(err)
	}
}

func TestWordsOfThePageAreBoundToWhatItShowed(t *testing.T) {
	t.Parallel()
	a := newApp(strings.NewReader(""), &strings.Builder{}, &strings.Builder{})
	j, err := journal.Open(t.Context(), journal.Config{Path: filepath.Join(t.TempDir(), "w.db"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	register(t, j, time.Now())
	plan, err := j.Plan(t.Context(), "spring")
	if err != nil {
		t.Fatal(err)
	}
	s := speaker{a, j}
	var refused *web.RefusedError
	var missing *web.NotFoundError
	if err := s.Say(t.Context(), "spring", web.Word{Kind: rollout.EvApproved, Hash: strings.Repeat("0", 64), By: "anna"}); !errors.As(err, &refused) {
		t.Errorf("another plan: %v", err)
	}
	if err := s.Say(t.Context(), "spring", web.Word{Kind: rollout.EvApproved, Hash: plan.Hash(), Wave: 9, By: "anna"}); !errors.As(err, &refused) || refused.Hint == "" {
		t.Errorf("a wave that is not there: %v", err)
	}
	if err := s.Say(t.Context(), "autumn", web.Word{Kind: rollout.EvPaused, By: "otto"}); !errors.As(err, &missing) {
		t.Errorf("no campaign: %v", err)
	}
	if err := s.Say(t.Context(), "spring", web.Word{Kind: rollout.EvStepDone, By: "otto"}); !errors.As(err, &refused) {
		t.Errorf("no word of a person: %v", err)
	}
	if err := s.Say(t.Context(), "spring", web.Word{Kind: rollout.EvApproved, Hash: plan.Hash(), By: "anna"}); err != nil {
		t.Error(err)
	}
	_, state, err := replay(t.Context(), j, "spring")
	if err != nil || state.By != "anna" || state.Approved != plan.Hash() {
		t.Errorf("approved %q by %q, %v", state.Approved, state.By, err)
	}
}
