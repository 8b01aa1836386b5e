package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"wavelock/ldapdisco"
	"wavelock/rollout"
	"wavelock/rollout/machine"
)

// resolver asks the DNS server of the configuration, or the system.
func (c Config) resolver() *net.Resolver {
	if c.Resolver == "" {
		return net.DefaultResolver
	}
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		d := net.Dialer{Timeout: 5 * time.Second}
		conn, err := d.DialContext(ctx, network, c.Resolver)
		if err != nil && strings.HasPrefix(network, "udp") {
			return d.DialContext(ctx, "tcp", c.Resolver) // where there is no UDP, as under Wine
		}
		return conn, err
	}}
}

// lookup resolves a host's name.
func (c Config) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	found, err := c.resolver().LookupNetIP(ctx, "ip", host)
	return found, c.blame(err)
}

// blame names the DNS server that was asked: the library knows only the system's.
func (c Config) blame(err error) error {
	var dns *net.DNSError
	if c.Resolver != "" && errors.As(err, &dns) {
		dns.Server = c.Resolver
	}
	return err
}

// dial reaches names through the configuration's resolver.
func (c Config) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second, Resolver: c.resolver()}
	conn, err := d.DialContext(ctx, network, addr)
	return conn, c.blame(err)
}

// controllers are the URLs of the configuration, or of the domain's controllers as DNS names them.
func (c Config) controllers(ctx context.Context) ([]string, error) {
	if len(c.Directory.URLs) > 0 {
		return c.Directory.URLs, nil
	}
	found, err := ldapdisco.Locate(ctx, c.resolver(), c.Directory.Domain, c.Directory.Site)
	if err != nil {
		return nil, c.blame(err)
	}
	urls := make([]string, len(found))
	for i, l := range found {
		urls[i] = l.URL(c.Directory.LDAPS)
	}
	return urls, nil
}

// directoryConfig is how LDAP is reached, without a credential.
func (a *app) directoryConfig(ctx context.Context, cfg Config) (ldapdisco.Config, error) {
	urls, err := cfg.controllers(ctx)
	if err != nil {
		return ldapdisco.Config{}, directoryError(err)
	}
	dc := ldapdisco.Config{URLs: urls, BaseDN: cfg.Directory.Base, StartTLS: cfg.Directory.StartTLS,
		Dial: cfg.dial, Timeout: 30 * time.Second, Log: a.logger()}
	if f := cfg.Directory.CAFile; f != "" {
		pool, err := readRoots(cfg.path(f))
		if err != nil {
			return dc, err
		}
		dc.Roots = pool
	}
	return dc, nil
}

// openDirectory connects to LDAP and logs on.
func (a *app) openDirectory(ctx context.Context, cfg Config) (*ldapdisco.Directory, error) {
	dc, err := a.directoryConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	cr := cfg.Credentials[cfg.Directory.Credential]
	if cr.Kind == "simple" {
		password, err := a.secret(cfg, cfg.Directory.Credential, cr)
		if err != nil {
			return nil, err
		}
		dc.Simple = &ldapdisco.Simple{User: cr.User, Password: password}
	} else {
		login, err := a.login(cfg, cfg.Directory.Credential)
		if err != nil {
			return nil, err
		}
		dc.Login = login
	}
	d, err := ldapdisco.Dial(ctx, dc)
	if err != nil {
		return nil, directoryError(err)
	}
	return d, nil
}

// directoryError gives an error of the directory its exit code.
func directoryError(err error) error {
	var e *ldapdisco.Error
	if !errors.As(err, &e) {
		return err
	}
	code := exitUnreachable
	switch {
	case e.Logon(), e.Denied():
		code = exitLogon
	case e.Misnamed():
		code = exitUsage // the configuration names what is not there
	}
	return &coded{error: err, code: code, hint: e.Hint()}
}

func readRoots(file string) (*x509.CertPool, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, failWith(exitUsage, "directory.ca_file has to be a PEM file with the CA's certificate", "read the roots %s: %w", file, unwrapPath(err))
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(b) {
		return nil, failWith(exitUsage, "directory.ca_file has to be a PEM file with the CA's certificate", "there is no certificate in %s", file)
	}
	return pool, nil
}

// found is a computer of the directory as the rest of the program sees it.
type found struct {
	Host    rollout.Host `json:"host"`
	Problem string       `json:"problem,omitempty"` // why it cannot be managed
	Detail  string       `json:"detail,omitempty"`
}

// query is what the configuration selects.
func (c Config) query(now time.Time) (ldapdisco.Query, error) {
	include, err := c.listed()
	if err != nil {
		return ldapdisco.Query{}, err
	}
	return ldapdisco.Query{Bases: c.Select.OUs, Filter: c.Select.Filter, Names: c.Select.Names, Groups: c.Select.Groups,
		OS: c.Select.OS, SPNs: c.Select.SPNs, Include: include, Exclude: c.Select.Exclude, ExcludeBases: c.Select.NotOUs, ExcludeGroups: c.Select.NotGroups,
		StaleAfter: c.Select.StaleAfter.D(), Now: now}, nil
}

// computers reads the selected computers of the domain.
func (a *app) computers(ctx context.Context, cfg Config, d *ldapdisco.Directory) ([]found, error) {
	domain, err := d.Domain(ctx)
	if err != nil {
		return nil, directoryError(err)
	}
	principals, err := d.Principals(ctx)
	if err != nil {
		return nil, directoryError(err)
	}
	query, err := cfg.query(a.now())
	if err != nil {
		return nil, err
	}
	var all []found
	for c, err := range d.Computers(ctx, query) {
		if err != nil {
			return nil, directoryError(err)
		}
		f := cfg.toHost(c, domain.DNSName)
		if others := principals.Conflicts(c, cfg.Policy.HTTPPort, cfg.Policy.Port); len(others) > 0 {
			f.Host.SPN, f.Host.SPNOwner, f.Host.SPNByDefault = others[0].SPN, others[0].Owner, others[0].Whole
		}
		if f.Problem == ldapdisco.DuplicateDNSName { // the first of the two may have been given before
			if i := slices.IndexFunc(all, func(o found) bool { return o.Host.GUID == f.Host.GUID }); i >= 0 {
				all[i] = f
				continue
			}
		}
		all = append(all, f)
	}
	if all, err = a.place(ctx, cfg, domain, all); err != nil {
		return nil, err
	}
	if len(all) == 0 {
		return nil, failWith(exitError, "look at select: in the configuration; an empty one takes every Windows computer", "the directory has no computer that is selected")
	}
	return all, nil
}

// toHost turns a computer of the directory into a host of the rollout.
func (c Config) toHost(from ldapdisco.Computer, domain string) found {
	h := rollout.Host{ID: rollout.HostID(strings.ToLower(from.DNSHostName)), GUID: from.GUID, SID: from.SID, Account: from.Account,
		Domain: strings.ToLower(domain), OU: from.OU, Site: from.Site, OS: from.OS, Groups: from.MemberOf, Cluster: from.Cluster}
	for _, r := range from.Roles {
		h.Roles = append(h.Roles, rollout.Role(r))
	}
	if name, err := os.Hostname(); err == nil && strings.EqualFold(string(h.ID), name) {
		h.Roles = append(h.Roles, rollout.RoleController)
	}
	h.Zone = c.zoneOf(h)
	f := found{Host: h}
	if h.ID == "" {
		h.ID = rollout.HostID(strings.ToLower(from.Name))
		f.Host = h
	}
	if p := from.Problem; p != nil {
		f.Problem, f.Detail = p.Code, p.Detail
	}
	return f
}

// fleet opens hosts with the credentials of their tiers and trusts the given roots; the CAs besides help to build chains.
func (a *app) fleet(cfg Config, logins *hostLogins, roots [][]byte, policy rollout.Policy, issuing ...[]byte) (*machine.Fleet, error) {
	pool := x509.NewCertPool()
	for _, der := range roots {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("read an enterprise root: %w", err)
		}
		pool.AddCert(c)
	}
	mc := machine.Config{Login: logins.forHost, Roots: pool, Resolve: cfg.lookup, HTTPPort: policy.HTTPPort, HTTPSPort: policy.Port,
		HardFail: policy.Revocation == rollout.RevocationHard, Timeout: cfg.Limits.Timeout.D(), Now: a.now, Log: a.logger()}
	for _, der := range issuing {
		c, err := x509.ParseCertificate(der)
		if err != nil { // it would only help: an entry that somebody spoilt stops nothing
			a.logger().Warn("a CA certificate in the directory's AIA container cannot be read", "err", err)
			continue
		}
		mc.Issuing = append(mc.Issuing, c)
	}
	if c := a.revocation(cfg, policy); c != nil { // a nil pointer in an interface is not nil
		mc.Revocation = c
	}
	return machine.New(mc)
}
