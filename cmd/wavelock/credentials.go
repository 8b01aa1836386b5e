package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"golang.org/x/term"

	"wavelock/ldapdisco/logon"
	"wavelock/rollout"
)

// secret reads a credential's password: from its file, its environment variable,
// or the person at the terminal. It is never taken from a flag or the configuration.
func (a *app) secret(cfg Config, name string, c Credential) (logon.Secret, error) {
	switch {
	case c.PasswordFile != "":
		b, err := os.ReadFile(cfg.path(c.PasswordFile))
		if err != nil {
			return "", failWith(exitUsage, "see credentials."+name+" in the configuration", "read the password of credential %q: %w", name, err)
		}
		a.warnOpen(cfg.path(c.PasswordFile))
		return logon.Secret(strings.TrimRight(string(b), "\r\n")), nil
	case c.PasswordEnv != "":
		v, ok := os.LookupEnv(c.PasswordEnv)
		if !ok {
			return "", failWith(exitUsage, "set it, or use password_file", "the environment variable %s with the password of credential %q is not set", c.PasswordEnv, name)
		}
		return logon.Secret(v), nil
	}
	if s, ok := a.typed[c.User]; ok {
		return s, nil
	}
	f, ok := a.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return "", failWith(exitUsage, "give it a password_file or password_env, or run on a terminal to be asked", "there is no password for credential %q", name)
	}
	fmt.Fprintf(a.err, "password of %s: ", c.User)
	b, err := whileAsking(f, func() ([]byte, error) { return term.ReadPassword(int(f.Fd())) })
	fmt.Fprintln(a.err)
	if err != nil {
		return "", fmt.Errorf("read the password of credential %q: %w", name, err)
	}
	if a.typed == nil {
		a.typed = map[string]logon.Secret{}
	}
	a.typed[c.User] = logon.Secret(b) // two credentials of one account ask once
	return logon.Secret(b), nil
}

// warnOpen says that a file with a secret can be read by others.
func (a *app) warnOpen(file string) {
	info, err := os.Stat(file)
	if err == nil && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 && !a.warned[file] {
		if a.warned == nil {
			a.warned = map[string]bool{}
		}
		a.warned[file] = true
		fmt.Fprintf(a.err, "wavelock: warning: others can read %s; chmod 600 keeps them out\n", file)
	}
}

// splitUser takes CORP\name and name@corp.example apart.
func splitUser(s string) (domain, user string) {
	if d, u, ok := strings.Cut(s, `\`); ok {
		return d, u
	}
	if u, d, ok := strings.Cut(s, "@"); ok {
		return d, u
	}
	return "", s
}

// login makes the named credential into something that can log on.
func (a *app) login(cfg Config, name string) (logon.Login, error) {
	c, ok := cfg.Credentials[name]
	if !ok {
		return nil, failWith(exitUsage, "add it under credentials", "there is no credential %q in the configuration", name)
	}
	switch c.Kind {
	case "kerberos":
		return a.kerberos(cfg, name, c)
	case "windows":
		l, err := logon.LoggedOn()
		if err != nil {
			return nil, fmt.Errorf("credential %q: %w", name, err)
		}
		return l, nil
	case "certificate":
		return a.certificate(cfg, name, c)
	}
	domain, user := splitUser(c.User)
	password, err := a.secret(cfg, name, c)
	if err != nil {
		return nil, err
	}
	switch c.Kind {
	case "ntlm":
		return logon.NTLM(domain, user, password), nil
	case "basic":
		return logon.Basic(c.User, password), nil
	}
	return nil, failWith(exitUsage, "use kind: ntlm, kerberos, windows, certificate or basic", "credential %q is of kind %s, which Windows hosts do not take", name, c.Kind)
}

// certificate logs on with a pair of files.
func (a *app) certificate(cfg Config, name string, c Credential) (logon.Login, error) {
	key := cfg.path(c.Key)
	pair, err := tls.LoadX509KeyPair(cfg.path(c.Certificate), key)
	if err != nil {
		return nil, failWith(exitUsage, "see credentials."+name+" in the configuration; both files are PEM, and the key has no passphrase", "credential %q: %w", name, err)
	}
	a.warnOpen(key)
	l, err := logon.Certificate(pair)
	if err != nil {
		return nil, fmt.Errorf("credential %q: %w", name, err)
	}
	return l, nil
}

func (a *app) kerberos(cfg Config, name string, c Credential) (logon.Login, error) {
	k, err := a.kerberosOf(cfg, name, c)
	if err != nil {
		return nil, err
	}
	l, err := logon.Kerberos(k)
	if err != nil {
		return nil, fmt.Errorf("credential %q: %w", name, err)
	}
	return l, nil
}

// hostLogins are the logins of all tiers, each made once.
type hostLogins struct {
	tiers    []Tier
	byName   map[string]logon.Login
	fallback string
}

const hostsCredential = "hosts"

func (a *app) hostLogins(cfg Config) (*hostLogins, error) {
	l := &hostLogins{tiers: cfg.Tiers, byName: map[string]logon.Login{}, fallback: hostsCredential}
	names := []string{hostsCredential}
	for _, t := range cfg.Tiers {
		names = append(names, t.Credential)
	}
	for _, n := range names {
		if _, done := l.byName[n]; done {
			continue
		}
		login, err := a.login(cfg, n)
		if err != nil {
			return nil, err
		}
		l.byName[n] = login
	}
	return l, nil
}

// forHost is the login of the first tier that the host belongs to.
func (l *hostLogins) forHost(h rollout.Host) logon.Login {
	for _, t := range l.tiers {
		if t.fits(h) {
			return l.byName[t.Credential]
		}
	}
	return l.byName[l.fallback]
}

func (t Tier) fits(h rollout.Host) bool {
	return (t.Role == "" || h.Has(t.Role)) && (t.OU == "" || inOU(h.OU, t.OU)) && (t.Zone == "" || h.Zone == t.Zone)
}

func inOU(have, ou string) bool {
	have, ou = strings.ToLower(have), strings.ToLower(ou)
	return have == ou || strings.HasPrefix(have, ou+"/")
}

// close ends the logins that keep something open, such as a ticket renewal.
func (l *hostLogins) close() error {
	var errs []error
	for _, login := range l.byName {
		if c, ok := login.(interface{ Close() error }); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}
