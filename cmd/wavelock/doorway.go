package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"golang.org/x/term"

	"wavelock/rollout/web"
)

// Dashboard is who may see and do what on the pages.
type Dashboard struct {
	Certificate string        `yaml:"certificate"` // PEM, the leaf first
	Key         string        `yaml:"key"`         // PEM
	Users       []Account     `yaml:"users"`
	Groups      GroupsOfRoles `yaml:"groups"`            // of the directory: their members log in with the domain's password
	ScrapeFile  string        `yaml:"scrape_token_file"` // holds the word that lets Prometheus in without a login
}

// Account is somebody with a password of this program's own.
type Account struct {
	Name  string     `yaml:"name"`
	Hash  string     `yaml:"hash"` // wavelock serve --hash-password
	Roles []web.Role `yaml:"roles"`
}

// GroupsOfRoles are names or distinguished names of groups.
type GroupsOfRoles struct {
	Viewer   []string `yaml:"viewer"`
	Operator []string `yaml:"operator"`
	Approver []string `yaml:"approver"`
}

func (g GroupsOfRoles) empty() bool { return len(g.Viewer)+len(g.Operator)+len(g.Approver) == 0 }

func (d Dashboard) validate(bad func(bool, string, ...any)) {
	bad((d.Certificate == "") != (d.Key == ""), "dashboard: certificate and key belong together")
	for i, u := range d.Users {
		bad(u.Name == "" || u.Hash == "", "dashboard.users, entry %d: a name and a hash are needed; wavelock serve --hash-password makes one", i+1)
		bad(len(u.Roles) == 0, "dashboard.users, entry %d: give it roles: viewer, operator or approver", i+1)
		for _, r := range u.Roles {
			bad(!slices.Contains(web.Roles(), r), "dashboard.users, entry %d: %q is none of the roles viewer, operator and approver", i+1, r)
		}
	}
}

// doorway is how the dashboard is reached and who is let in.
type doorway struct {
	accounts web.Accounts
	secure   bool
	scrape   string
	tls      *tls.Config
}

// openDoorway refuses to show the fleet to a network that is not asked who it is,
// or that could listen in.
func (a *app) openDoorway(cfg Config) (doorway, error) {
	var d doorway
	var err error
	if d.accounts, err = a.accounts(cfg); err != nil {
		return d, err
	}
	if cfg.Dashboard.Certificate != "" {
		pair, err := tls.LoadX509KeyPair(cfg.path(cfg.Dashboard.Certificate), cfg.path(cfg.Dashboard.Key))
		if err != nil {
			return d, failWith(exitUsage, "dashboard.certificate and dashboard.key name a PEM chain and its key", "read the dashboard's certificate: %w", err)
		}
		d.secure, d.tls = true, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	}
	if f := cfg.Dashboard.ScrapeFile; f != "" {
		b, err := os.ReadFile(cfg.path(f))
		if d.scrape = strings.TrimSpace(string(b)); err != nil || len(d.scrape) < 16 {
			return d, failWith(exitUsage, "put one line of 16 characters or more there", "dashboard.scrape_token_file %s: the token cannot be read or is too short", f)
		}
	}
	near, err := isLoopback(cfg.Listen)
	switch {
	case err != nil:
		return d, err
	case near:
		return d, nil
	case !d.secure && d.accounts == nil:
		return d, failWith(exitUsage, "set dashboard.certificate, dashboard.key and dashboard.users or groups, or listen on 127.0.0.1",
			"the dashboard does not listen on %s: it has no authentication and no TLS", cfg.Listen)
	case d.accounts == nil:
		return d, failWith(exitUsage, "set dashboard.users or dashboard.groups, or listen on 127.0.0.1", "the dashboard does not listen on %s: it has no authentication", cfg.Listen)
	case !d.secure:
		return d, failWith(exitUsage, "set dashboard.certificate and dashboard.key, or listen on 127.0.0.1", "the dashboard does not listen on %s: it has no TLS, and passwords would go in clear", cfg.Listen)
	}
	return d, nil
}

func isLoopback(listen string) (bool, error) {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false, failWith(exitUsage, "use 127.0.0.1:8686", "--listen %q is no address and port", listen)
	}
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || (err == nil && ip.IsLoopback()), nil
}

// accounts are those of the configuration first, then the directory's. Nil: there are none.
func (a *app) accounts(cfg Config) (web.Accounts, error) {
	var all anyAccounts
	if len(cfg.Dashboard.Users) > 0 {
		var users []web.User
		for _, u := range cfg.Dashboard.Users {
			users = append(users, web.User{Name: u.Name, Hash: u.Hash, Roles: u.Roles})
		}
		known, err := web.NewUsers(users)
		if err != nil {
			return nil, failWith(exitUsage, "wavelock serve --hash-password makes a hash", "dashboard.users: %w", err)
		}
		all = append(all, known)
	}
	if !cfg.Dashboard.Groups.empty() {
		all = append(all, domainAccounts{a, cfg})
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all, nil
}

// anyAccounts asks one after the other.
type anyAccounts []web.Accounts

func (all anyAccounts) Login(ctx context.Context, name, password string) (web.Person, error) {
	var last error
	for _, some := range all {
		p, err := some.Login(ctx, name, password)
		var denied *web.DeniedError
		if err == nil || !errors.As(err, &denied) {
			return p, err
		}
		last = err
	}
	return web.Person{}, last
}

// hashPassword asks for a password and prints what the configuration keeps of it.
func (a *app) hashPassword() error {
	f, ok := a.in.(*os.File)
	var password string
	if ok && term.IsTerminal(int(f.Fd())) {
		for _, prompt := range []string{"Password: ", "Again: "} {
			fmt.Fprint(a.err, prompt)
			b, err := whileAsking(f, func() ([]byte, error) { return term.ReadPassword(int(f.Fd())) })
			fmt.Fprintln(a.err)
			if err != nil {
				return fmt.Errorf("read the password: %w", err)
			}
			if password != "" && password != string(b) {
				return failWith(exitUsage, "type it twice the same", "the two passwords differ")
			}
			password = string(b)
		}
	} else {
		line, err := readLine(a.in)
		if err != nil {
			return failWith(exitUsage, "give it as one line on standard input", "read the password: %w", err)
		}
		password = line
	}
	if len([]rune(password)) < 12 {
		return failWith(exitUsage, "take 12 characters or more", "the password is too short")
	}
	hash, err := web.HashPassword(password)
	if err == nil {
		_, err = fmt.Fprintln(a.out, hash)
	}
	return err
}

func readLine(in interface{ Read([]byte) (int, error) }) (string, error) {
	var line strings.Builder
	b := make([]byte, 1)
	for line.Len() < 1025 {
		n, err := in.Read(b)
		if n > 0 && b[0] == '\n' {
			break
		}
		if n > 0 {
			line.WriteByte(b[0])
		}
		if err != nil {
			break
		}
	}
	if line.Len() == 0 {
		return "", errors.New("there is none")
	}
	return strings.TrimSuffix(line.String(), "\r"), nil
}

// serveLog is the dashboard's log: who came in and what was done is always told.
func (a *app) serveLog() *slog.Logger {
	level := slog.LevelInfo
	switch {
	case a.verbose:
		level = slog.LevelDebug
	case a.quiet:
		level = slog.LevelWarn
	}
	return slog.New(slog.NewTextHandler(a.err, &slog.HandlerOptions{Level: level}))
}
