package ldapdisco_test

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"wavelock/ldapdisco"
	"wavelock/ldapdisco/ldaptest"
	"wavelock/ldapdisco/logon"
	"wavelock/ldapdisco/logon/logontest"
)

const (
	user     = "svc-discover"
	password = "Pässw0rd.1"
)

// now is shortly after the last signs of life in corp.ldif.
var now = time.Date(2026, 11, 23, 2, 0, 0, 0, time.UTC)

// domain is a server with the computers of corp.ldif.
func domain(t testing.TB, with ...func(*ldaptest.Config)) *ldaptest.Server {
	t.Helper()
	s := emptyDomain(t, with...)
	text, err := os.ReadFile(filepath.Join("..", "testdata", "ldif", "corp.ldif"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.LDIF(string(text)); err != nil {
		t.Fatal(err)
	}
	return s
}

func emptyDomain(t testing.TB, with ...func(*ldaptest.Config)) *ldaptest.Server {
	t.Helper()
	accounts := logontest.NewDirectory("CORP", "corp.example")
	accounts.Add(user, password)
	cfg := ldaptest.Config{Directory: accounts, Binding: logontest.Strict}
	for _, f := range with {
		f(&cfg)
	}
	s, err := ldaptest.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// toLoopback dials the port at 127.0.0.1 whatever the name.
func toLoopback(ctx context.Context, network, addr string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
}

// sealed is the usual way in: NTLM on 389.
func sealed(s *ldaptest.Server) ldapdisco.Config {
	return ldapdisco.Config{URLs: []string{s.URL()}, Login: logon.NTLM("CORP", user, password), Dial: toLoopback, Timeout: 5 * time.Second}
}

// simple is the other: a simple bind over LDAPS.
func simple(s *ldaptest.Server) ldapdisco.Config {
	return ldapdisco.Config{URLs: []string{s.SecureURL()}, Roots: s.Roots(), Simple: &ldapdisco.Simple{User: `CORP\` + user, Password: password},
		Dial: toLoopback, Timeout: 5 * time.Second}
}

func dial(t testing.TB, cfg ldapdisco.Config) *ldapdisco.Directory {
	t.Helper()
	d, err := ldapdisco.Dial(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// logged collects what a run says.
func logged() (*slog.Logger, *strings.Builder) {
	b := new(strings.Builder)
	return slog.New(slog.NewTextHandler(b, nil)), b
}
