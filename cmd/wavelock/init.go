package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"wavelock/ldapdisco"
)

func newInit(a *app) *cobra.Command {
	var o initOptions
	c := &cobra.Command{
		Use: "init", GroupID: "begin", Args: exactly(),
		Short: "Find the domain, and write a commented wavelock.yaml",
		Long: `Find the controllers by DNS, log on, look at the CAs and templates, and write a
configuration with comments. On a terminal you are asked for what is missing.
Nothing in the domain is changed, and no secret is written.`,
		Example: `  wavelock init
  wavelock init --domain corp.example --user 'CORP\svc' --password-file pw
  wavelock init --kind kerberos --user svc@CORP.EXAMPLE --keytab svc.keytab`,
		RunE: func(c *cobra.Command, _ []string) error { return a.init(c.Context(), o) },
	}
	f := c.Flags()
	f.StringVar(&o.Domain, "domain", "", "DNS `NAME` of it (default: this computer's)")
	f.StringVar(&o.Site, "site", "", "`SITE` whose controllers are asked first")
	f.StringVar(&o.Resolver, "resolver", "", "DNS server as `IP:PORT` (default: the system's)")
	f.StringVar(&o.Kind, "kind", "ntlm", "`KIND` of logon: ntlm, kerberos, or windows (who runs this)")
	f.StringVar(&o.User, "user", "", "`ACCOUNT` as CORP\\name or name@corp.example")
	f.StringVar(&o.PasswordFile, "password-file", "", "`FILE` with the password")
	f.StringVar(&o.PasswordEnv, "password-env", "", "environment `VARIABLE` with the password")
	f.StringVar(&o.Keytab, "keytab", "", "Kerberos key table `FILE`")
	f.StringVar(&o.CCache, "ccache", "", "Kerberos ticket cache `FILE`")
	f.StringVar(&o.Certificate, "hosts-certificate", "", "log on to the hosts with this PEM `FILE`")
	f.StringVar(&o.Key, "hosts-key", "", "PEM `FILE` with its private key")
	f.StringVar(&o.CAFile, "ca-file", "", "root of the controllers' certificates, a PEM `FILE`")
	f.StringVar(&o.Template, "template", "", "certificate template (default: WinRMHTTPS, else the only `NAME`)")
	f.BoolVar(&o.Force, "force", false, "replace a file that is there")
	completes(c, map[string]completion{"kind": completeFrom(logonKinds...), "template": a.completeTemplates(), "domain": completeNothing, "site": completeNothing, "resolver": completeNothing, "user": completeNothing, "password-env": completeNothing, "ca-file": completeFiles("pem", "crt", "cer")})
	return c
}

type initOptions struct {
	Domain, Site, Resolver                            string
	Kind, User                                        string
	PasswordFile, PasswordEnv, Keytab, CCache, CAFile string
	Template, Certificate, Key                        string
	Force                                             bool
}

func (a *app) init(ctx context.Context, o initOptions) error {
	if exists(a.config) && !o.Force {
		return failWith(exitUsage, "use --force to replace it, or --config for another name", "%s is there already", a.config)
	}
	if !slices.Contains(logonKinds, o.Kind) {
		return failWith(exitUsage, didYouMean(o.Kind, logonKinds, "use "+strings.Join(logonKinds, ", ")), "--kind %q is no kind of logon", o.Kind)
	}
	if folder := filepath.Dir(a.config); !exists(folder) {
		return failWith(exitUsage, "make the folder first", "%s cannot be written: there is no folder %s", a.config, folder)
	}
	if err := a.inquire(&o); err != nil {
		return err
	}
	if err := o.readable(); err != nil {
		return err
	}
	cfg, err := o.config(a.config)
	if err != nil {
		return err
	}
	if o.Certificate != "" {
		if _, err := a.login(cfg, hostsCredential); err != nil {
			return err
		}
	}
	d, err := a.reach(ctx, &cfg)
	if err != nil {
		return err
	}
	defer d.Close()
	facts, err := a.survey(ctx, d, &cfg, o)
	if err != nil {
		return err
	}
	text, err := facts.yaml(cfg)
	if err != nil {
		return err
	}
	if err := writeWhole(a.config, text, 0o600); err != nil {
		return err
	}
	if _, err := loadConfig(a.config); err != nil {
		return fmt.Errorf("the configuration that was written cannot be read, which is a defect: %w", err)
	}
	_, err = fmt.Fprintf(a.out, "%s is written; next: wavelock doctor\n", a.config)
	return err
}

// logonKinds are those by which the directory is read.
var logonKinds = []string{"ntlm", "kerberos", "windows"}

// readable looks for the named files before anybody is asked for anything.
func (o initOptions) readable() error {
	for _, f := range []struct{ flag, name string }{
		{"--ca-file", o.CAFile}, {"--password-file", o.PasswordFile}, {"--keytab", o.Keytab}, {"--ccache", o.CCache}, {"--hosts-certificate", o.Certificate}, {"--hosts-key", o.Key},
	} {
		if f.name == "" {
			continue
		}
		if _, err := os.Stat(f.name); err != nil {
			return failWith(exitUsage, "see wavelock init --help", "%s %s: %w", f.flag, f.name, unwrapPath(err))
		}
	}
	if o.CAFile != "" {
		if _, err := readRoots(o.CAFile); err != nil {
			return failWith(exitUsage, "it has to be a PEM file with the CA's certificate", "--ca-file: %w", err)
		}
	}
	return nil
}

// missing is a value that a flag may give, and how it is asked for otherwise.
type missing struct {
	to          *string
	flag, text  string
	guess       string
	needed      bool
	unnecessary bool // other flags say enough
	file        bool // the answer names one
}

// inquire asks for what the flags do not say.
func (a *app) inquire(o *initOptions) error {
	windows := o.Kind == "windows"
	questions := []missing{
		{to: &o.Domain, flag: "--domain", text: "DNS name of the domain", guess: ownDomain(), needed: true},
		{to: &o.User, flag: "--user", text: `account, as CORP\name or name@corp.example`, needed: o.CCache == "", unnecessary: windows},
		{to: &o.PasswordFile, flag: "--password-file", text: "name of a file with its password (empty: you are asked)", file: true,
			unnecessary: o.PasswordEnv != "" || o.Keytab != "" || o.CCache != "" || windows},
	}
	f, ok := a.in.(*os.File)
	asking := ok && term.IsTerminal(int(f.Fd()))
	in := bufio.NewReader(a.in)
	if asking {
		fmt.Fprintln(a.err, "An empty answer takes what is in brackets. Ctrl-C leaves; nothing is written yet.")
	}
	for _, q := range questions {
		if *q.to != "" || q.unnecessary {
			continue
		}
		if !asking {
			if *q.to = q.guess; q.needed && q.guess == "" {
				return failWith(exitUsage, "give it with "+q.flag+", or run on a terminal to be asked", "the %s is not given", q.text)
			}
			continue
		}
		if q.to == &o.User {
			q.guess = o.ownAccount() // the domain is known by now
		}
		if err := q.ask(a.err, in); err != nil {
			return err
		}
	}
	return nil
}

// ask asks until there is an answer that can be used.
func (q missing) ask(w io.Writer, in *bufio.Reader) error {
	for {
		answer, err := question(w, in, q.text, q.guess)
		if err != nil {
			return err
		}
		switch {
		case q.needed && answer == "":
			fmt.Fprintln(w, "this one is needed")
		case q.file && answer != "" && !exists(answer): // it may be the password itself: it is not repeated
			fmt.Fprintln(w, "there is no such file; leave it empty to be asked when it is needed")
		default:
			*q.to = answer
			return nil
		}
	}
}

func question(w io.Writer, in *bufio.Reader, text, guess string) (string, error) {
	if guess != "" {
		text += " [" + guess + "]"
	}
	fmt.Fprintf(w, "%s: ", text)
	line, err := whileAsking(nil, func() (string, error) { return in.ReadString('\n') })
	if errors.Is(err, context.Canceled) {
		return "", err
	}
	if err != nil && line == "" {
		return "", failWith(exitUsage, "nothing was written", "the questions were not answered")
	}
	if line = strings.TrimSpace(line); line == "" {
		return guess, nil
	}
	return line, nil
}

// ownAccount is who is at the terminal, in the domain that is set up; administrators of this computer alone are nobody there.
func (o *initOptions) ownAccount() string {
	name := person()
	if strings.Contains(name, `\`) { // Windows says it as a whole
		return name
	}
	domain := cmp.Or(o.Domain, ownDomain())
	if name == "root" || name == "unknown" || domain == "" {
		return ""
	}
	return name + "@" + domain
}

// ownDomain is the domain of this computer, as far as it is known here.
func ownDomain() string {
	if d := os.Getenv("USERDNSDOMAIN"); d != "" {
		return strings.ToLower(d)
	}
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	_, domain, _ := strings.Cut(name, ".")
	if domain == "" {
		return searchedDomain("/etc/resolv.conf")
	}
	return domain
}

// searchedDomain is the first domain in which the system looks for short names.
func searchedDomain(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "" // as on Windows
	}
	for _, line := range strings.Split(string(text), "\n") {
		if w := strings.Fields(line); len(w) > 1 && (w[0] == "search" || w[0] == "domain") && strings.Contains(w[1], ".") {
			return strings.ToLower(strings.TrimSuffix(w[1], "."))
		}
	}
	return ""
}

// config is what the answers make. Paths stay as they were given: they are
// relative to the configuration's folder once it is written.
func (o initOptions) config(file string) (Config, error) {
	cfg := defaultConfig()
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return cfg, err
	}
	cfg.dir, cfg.Resolver = dir, o.Resolver
	for _, p := range []*string{&o.PasswordFile, &o.Keytab, &o.CCache, &o.CAFile, &o.Certificate, &o.Key} {
		if *p, err = relativeTo(dir, *p); err != nil {
			return cfg, err
		}
	}
	cfg.Directory = Directory{Domain: strings.ToLower(strings.TrimSuffix(o.Domain, ".")), Site: o.Site, CAFile: o.CAFile, LDAPS: true, Credential: "directory"}
	c := Credential{Kind: o.Kind, User: o.User, PasswordFile: o.PasswordFile, PasswordEnv: o.PasswordEnv, Keytab: o.Keytab, CCache: o.CCache}
	cfg.Credentials = map[string]Credential{"directory": c, hostsCredential: c}
	if o.Certificate+o.Key != "" {
		cfg.Credentials[hostsCredential] = Credential{Kind: "certificate", Certificate: o.Certificate, Key: o.Key}
	}
	if err := cfg.validate(); err != nil {
		return cfg, failWith(exitUsage, "see wavelock init --help", "%w", err)
	}
	return cfg, nil
}

// relativeTo is a path of the user's as it has to be written into a file of dir.
func relativeTo(dir, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if rel, err := filepath.Rel(dir, abs); err == nil && !strings.HasPrefix(rel, "..") {
		return rel, nil
	}
	return abs, nil
}

// reach logs on by LDAPS, or by sealed LDAP where no controller serves that.
func (a *app) reach(ctx context.Context, cfg *Config) (*ldapdisco.Directory, error) {
	urls, err := cfg.controllers(ctx)
	if err != nil {
		return nil, directoryError(err)
	}
	a.progress("ok    dns       %s", listed(urls, 3))
	d, err := a.openDirectory(ctx, *cfg)
	if err == nil {
		a.progress("ok    ldap      %s", d.Server())
		return d, nil
	}
	var ours *ldapdisco.Error
	if !errors.As(err, &ours) || ours.Logon() || ctx.Err() != nil {
		return nil, err
	}
	a.progress("warn  ldap      %v", err)
	cfg.Directory.LDAPS = false
	if d, err = a.openDirectory(ctx, *cfg); err != nil {
		return nil, err
	}
	a.progress("ok    ldap      %s, sealed by the logon instead of TLS", d.Server())
	return d, nil
}

// survey looks at what the configuration has to name.
func (a *app) survey(ctx context.Context, d *ldapdisco.Directory, cfg *Config, o initOptions) (facts, error) {
	var f facts
	var err error
	if f.Domain, err = d.Domain(ctx); err != nil {
		return f, directoryError(err)
	}
	if f.Authorities, err = d.Authorities(ctx); err != nil {
		return f, directoryError(err)
	}
	f.Templates = issued(f.Authorities)
	switch {
	case o.Template != "":
		cfg.Policy.Template = o.Template
	case !slices.Contains(f.Templates, cfg.Policy.Template) && len(f.Templates) == 1:
		cfg.Policy.Template = f.Templates[0]
	}
	f.OUs = map[string]int{}
	query, err := cfg.query(a.now())
	if err != nil {
		return f, err
	}
	for c, err := range d.Computers(ctx, query) {
		if err != nil {
			return f, directoryError(err)
		}
		if c.Problem == nil {
			f.OUs[c.OU]++
			f.Hosts++
		}
	}
	for _, ca := range f.Authorities {
		a.progress("ok    ca        %s on %s issues %s", ca.Name, ca.DNSHostName, listed(ca.Templates, 4))
	}
	if !slices.Contains(f.Templates, cfg.Policy.Template) {
		a.progress("warn  template  no CA issues %s; set policy.template", cfg.Policy.Template)
	}
	a.progress("ok    computers %d in %s can be managed", f.Hosts, plural(len(f.OUs), "OU"))
	return f, nil
}
