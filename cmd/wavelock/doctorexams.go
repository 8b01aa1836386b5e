package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"wavelock/ldapdisco"
	"wavelock/ldapdisco/logon"
	"wavelock/pki"
	"wavelock/rollout"
	"wavelock/rollout/journal"
)

const noDirectory = "the directory could not be asked"

func (c *clinic) database(ctx context.Context) checkup {
	j, err := c.a.openJournal(ctx, c.cfg)
	if err != nil {
		return failOf(err)
	}
	if err := j.Close(); err != nil {
		return failOf(err)
	}
	if journal.Shared(c.cfg.Database) {
		return ok("PostgreSQL answers, and its tables are of this version") // its address may have a password
	}
	return ok("%s", c.cfg.database())
}

// dns asks for the domain's controllers, or for the names in the configuration.
func (c *clinic) dns(ctx context.Context) checkup {
	var err error
	if c.urls, err = c.cfg.controllers(ctx); err != nil {
		return failOf(err)
	}
	var named, lost []string
	for _, u := range c.urls {
		parsed, err := url.Parse(u)
		if err != nil {
			return failOf(err)
		}
		if _, err := c.cfg.lookup(ctx, parsed.Hostname()); err != nil {
			lost = append(lost, parsed.Hostname())
			continue
		}
		named = append(named, parsed.Hostname())
	}
	asked := "the system's resolver"
	if c.cfg.Resolver != "" {
		asked = c.cfg.Resolver
	}
	switch {
	case len(named) == 0:
		return fail("set resolver to a DNS server of the domain", "%s does not know %s", asked, listed(lost, 3))
	case len(lost) > 0:
		return warn("clean up DNS, or directory.urls", "%s knows %s, but not %s", asked, listed(named, 3), listed(lost, 3))
	}
	return ok("%s knows %s", asked, listed(named, 3))
}

func (c *clinic) ldap(ctx context.Context) checkup {
	d, err := c.a.openDirectory(ctx, c.cfg)
	if err != nil {
		return failOf(err)
	}
	c.dir = d
	if c.domain, err = d.Domain(ctx); err != nil {
		return failOf(err)
	}
	how := "sealed"
	if strings.HasPrefix(d.Server(), "ldaps:") || c.cfg.Directory.StartTLS {
		how = "TLS, certificate verified, bound to the channel"
		if c.cfg.Credentials[c.cfg.Directory.Credential].Kind == "simple" {
			how = "TLS, certificate verified, simple bind"
		}
	}
	return ok("%s, %s, domain %s (%s)", d.Server(), how, c.domain.DNSName, c.domain.NetBIOSName)
}

func (c *clinic) clock(ctx context.Context) checkup {
	if c.dir == nil {
		return skip(noDirectory)
	}
	t, err := c.dir.Time(ctx)
	if err != nil {
		return failOf(err)
	}
	skew := t.Sub(c.a.now()).Round(time.Second)
	const next = "synchronise this computer with the domain's time"
	switch limit := c.cfg.Policy.MaxSkew.D(); {
	case skew.Abs() > limit:
		return fail(next, "the domain controller's clock differs by %v, Kerberos bears %v", skew, limit)
	case skew.Abs() > time.Minute:
		return warn(next, "the domain controller's clock differs by %v", skew)
	}
	return ok("the domain controller's clock differs by %v", skew)
}

// kerberos gets a ticket with each credential of that kind.
func (c *clinic) kerberos(ctx context.Context) checkup {
	if c.dir == nil {
		return skip(noDirectory)
	}
	u, err := url.Parse(c.dir.Server())
	if err != nil {
		return failOf(err)
	}
	names := c.cfg.credentialsOf("kerberos")
	for _, name := range names {
		if err := c.ticket(ctx, name, u.Hostname()); err != nil {
			return failOf(fmt.Errorf("credential %q: %w", name, err))
		}
	}
	if len(names) == 0 {
		return warn("use kind: kerberos where you can; NTLM does not prove the server without TLS, and members of Protected Users cannot use it", "no credential uses Kerberos")
	}
	return ok("tickets for %s", strings.Join(names, ", "))
}

func (c *clinic) ticket(ctx context.Context, name, host string) error {
	login, err := c.a.login(c.cfg, name)
	if err != nil {
		return err
	}
	if k, ok := login.(interface{ Close() error }); ok {
		defer k.Close()
	}
	x, err := login.Start(ctx, logon.Service{Class: "ldap", Host: host}, nil)
	if err != nil {
		return err
	}
	_, _, err = x.Next(ctx, nil)
	return err
}

// certificates reads each credential of that kind, and looks whether it can still be used.
func (c *clinic) certificates(context.Context) checkup {
	var fit []string
	for _, name := range c.cfg.credentialsOf("certificate") {
		login, err := c.a.login(c.cfg, name)
		if err != nil {
			return failOf(err)
		}
		const next = "renew it, and see that the issuer is still the one of the hosts' certmapping"
		leaf, now := logon.ClientCertificate(login).Leaf, c.a.now()
		switch left := leaf.NotAfter.Sub(now); {
		case now.Before(leaf.NotBefore) || left < 0:
			return fail(next, "credential %q: %s is valid from %s to %s only", name, login.Principal(), leaf.NotBefore.Format(time.DateOnly), leaf.NotAfter.Format(time.DateOnly))
		case logon.UserPrincipalName(leaf) == "":
			return fail("issue one with the user's UPN as a subject alternative name", "credential %q: %s has no UPN, by which a host could map it", name, login.Principal())
		case left < 14*24*time.Hour:
			return warn(next, "credential %q: %s expires on %s", name, login.Principal(), leaf.NotAfter.Format(time.DateOnly))
		}
		fit = append(fit, fmt.Sprintf("%s until %s", login.Principal(), leaf.NotAfter.Format(time.DateOnly)))
	}
	if len(fit) == 0 {
		return checkup{}
	}
	if c.cfg.Credentials[hostsCredential].Kind == "certificate" {
		return warn("give hosts another kind until they have HTTPS, and this one to a tier", "%s; it is for HTTPS only, and a host that has only HTTP cannot be secured with it", strings.Join(fit, ", "))
	}
	return ok("%s, for HTTPS only", strings.Join(fit, ", "))
}

// rights looks whether the account may read what is needed, by reading it.
func (c *clinic) rights(ctx context.Context) checkup {
	if c.dir == nil {
		return skip(noDirectory)
	}
	const enough = 1000
	n, sick := 0, 0
	query, err := c.cfg.query(c.a.now())
	if err != nil {
		return failOf(err)
	}
	for computer, err := range c.dir.Computers(ctx, query) {
		if err != nil {
			return failOf(directoryError(err))
		}
		f := c.cfg.toHost(computer, c.domain.DNSName)
		if n++; f.Problem != "" {
			sick++
		} else if c.computer.Host.ID == "" && !f.Host.Has(rollout.RoleDomainController) || c.asked(f.Host) {
			c.computer = f
		}
		if n == enough && c.host == "" {
			break
		}
	}
	if n == 0 {
		return fail("look at select: in the configuration; if it is right, the account may not read the computers", "no computer is selected")
	}
	more := ""
	if n == enough {
		more = " and more"
	}
	return ok("%d computers%s can be read, %d of them with a problem (wavelock discover tells)", n, more, sick)
}

// asked reports whether it is the host that the user wants to try.
func (c *clinic) asked(h rollout.Host) bool {
	return c.host != "" && (string(h.ID) == c.host || strings.HasPrefix(string(h.ID), c.host+"."))
}

func (c *clinic) enterpriseRoots(ctx context.Context) checkup {
	if c.dir == nil {
		return skip(noDirectory)
	}
	roots, err := c.dir.Roots(ctx)
	if err != nil {
		return failOf(directoryError(err))
	}
	c.roots = roots.Trusted()
	if len(c.roots) == 0 {
		return fail("install an enterprise CA, or publish its root with certutil -dspublish", "the directory has no Certification Authorities, so no certificate could be proved")
	}
	return ok("%s in the directory", plural(len(c.roots), "enterprise root"))
}

func (c *clinic) template(ctx context.Context) checkup {
	if c.dir == nil {
		return skip(noDirectory)
	}
	var err error
	if c.cas, err = c.dir.Authorities(ctx); err != nil {
		return failOf(directoryError(err))
	}
	all, err := c.dir.Templates(ctx)
	if err != nil {
		return failOf(directoryError(err))
	}
	name := c.cfg.Policy.Template
	i := slices.IndexFunc(all, func(t ldapdisco.Template) bool { return strings.EqualFold(t.Name, name) })
	if i < 0 {
		return fail("set policy.template to one that a CA issues; it is the short name, without blanks: "+listed(issued(c.cas), 8), "the directory has no template %s", name)
	}
	return judged(name, pki.CheckTemplate(pkiTemplate(all[i]), pki.Use{Route: pki.Self, PublishedBy: issuersOf(c.cas, name), MinLeft: c.cfg.Policy.MinLeft.D()}))
}

// judged is the worst of a template's findings, with the others behind it.
func judged(name string, found pki.Findings) checkup {
	var words []string
	next := ""
	for _, severity := range []pki.Severity{pki.Blocker, pki.Warning} {
		for _, f := range found {
			if f.Severity != severity {
				continue
			}
			words = append(words, f.Code+": "+f.Detail)
			if next == "" {
				next = f.Hint()
			}
		}
	}
	switch {
	case !found.Fit():
		return fail(next, "the template %s is not fit: %s", name, strings.Join(words, "; "))
	case len(words) > 0:
		return warn(next, "the template %s is fit, but %s", name, strings.Join(words, "; "))
	}
	return ok("the template %s is fit", name)
}

// issued are the templates that any CA issues.
func issued(cas []ldapdisco.Authority) []string {
	var all []string
	for _, ca := range cas {
		all = append(all, ca.Templates...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func issuersOf(cas []ldapdisco.Authority, template string) []string {
	var names []string
	for _, ca := range cas {
		if slices.ContainsFunc(ca.Templates, func(t string) bool { return strings.EqualFold(t, template) }) {
			names = append(names, ca.Name)
		}
	}
	return names
}

// authority looks whether the CA's endpoint mapper answers. It is the hosts that
// have to reach the CA, so a silent one is a doubt, and a failure only where
// requests are carried to it from here.
func (c *clinic) authority(ctx context.Context) checkup {
	if c.dir == nil {
		return skip(noDirectory)
	}
	issuers := issuersOf(c.cas, c.cfg.Policy.Template)
	var lines []string
	result, silent := good, checkup{Result: doubt, Next: "the hosts have to reach it, on 135 and the dynamic RPC ports; if only this computer does not, nothing has to be done"}
	if c.cfg.relays() {
		silent = checkup{Result: wrong, Next: "the policy's route is relay: this computer has to reach it, on 135 and the dynamic RPC ports, or on relay.port"}
	}
	for _, ca := range c.cas {
		if !slices.Contains(issuers, ca.Name) {
			continue
		}
		if err := c.knock(ctx, net.JoinHostPort(ca.DNSHostName, strconv.Itoa(c.cfg.Relay.knockPort()))); err != nil {
			result = silent.Result
			lines = append(lines, fmt.Sprintf("%s on %s does not answer from here: %v", ca.Name, ca.DNSHostName, err))
			continue
		}
		lines = append(lines, fmt.Sprintf("%s on %s answers", ca.Name, ca.DNSHostName))
	}
	if len(lines) == 0 {
		return fail("publish the template on a CA (certsrv.msc, Certificate Templates, New)", "no CA issues %s", c.cfg.Policy.Template)
	}
	r := checkup{Result: result, Detail: strings.Join(lines, "; ")}
	if result != good {
		r.Next = silent.Next
	}
	return r
}

func (c *clinic) knock(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := c.cfg.dial(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	return conn.Close()
}

// oneHost looks at a host as assess does: both ports, the logon, who it is.
func (c *clinic) oneHost(ctx context.Context) checkup {
	h := c.computer.Host
	switch {
	case c.dir == nil || len(c.roots) == 0:
		return skip(noDirectory)
	case c.host != "" && !c.asked(h):
		return fail("wavelock discover lists those that can be tried", "%s is not among the selected computers", c.host)
	case h.ID == "":
		return skip("no computer without a problem is selected")
	}
	logins, err := c.a.hostLogins(c.cfg)
	if err != nil {
		return failOf(err)
	}
	defer logins.close()
	fleet, err := c.a.fleet(c.cfg, logins, c.roots, c.cfg.Policy)
	if err != nil {
		return failOf(err)
	}
	o, err := inspect(ctx, fleet, h, c.cfg.Limits.StepTime.D())
	if err != nil {
		return failOf(err)
	}
	doors := fmt.Sprintf("%s: 5985 %s, 5986 %s", h.ID, doorText(o.HTTP), doorText(o.HTTPS))
	as := rollout.Assess(h, o, c.cfg.Policy, c.a.now())
	if f, no := as.Blocking(rollout.ActSecure); no {
		return fail(f.Reason.Hint(), "%s; %s: %s", doors, f.Reason, f.Detail)
	}
	return ok("%s; logged on over %s, it is %s", doors, o.Via, as.Class)
}
