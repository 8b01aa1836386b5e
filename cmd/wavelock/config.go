package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"wavelock/ldapdisco"
	"wavelock/rollout"
	"wavelock/rollout/journal"
)

// Config is wavelock.yaml. Paths in it are relative to the file's folder.
type Config struct {
	Database  string    `yaml:"database"`  // of the journal: an SQLite file, or postgres://user@host/name?sslmode=verify-full
	Resolver  string    `yaml:"resolver"`  // DNS server as ip:port; empty asks the system
	Directory Directory `yaml:"directory"` // where the computers are listed

	// Credentials by name; Tiers say which hosts get which one, the first match
	// wins; hosts that match none get the credential named "hosts".
	Credentials map[string]Credential `yaml:"credentials"`
	Tiers       []Tier                `yaml:"tiers"` // credentials for some hosts

	Relay Relay `yaml:"relay"` // to the CA, for hosts whose route is relay

	Select Select             `yaml:"select"` // which computers; empty means all that run Windows
	Goal   rollout.Goal       `yaml:"goal"`   // secure, close, renew or restore
	Policy rollout.Policy     `yaml:"policy"` // what a campaign may do, and when it has to stop; part of what is approved
	Waves  []rollout.WaveRule `yaml:"waves"`  // who comes first, how many at once, how many failures stop a wave
	Zones  []ZoneRule         `yaml:"zones"`  // parts of the network with a name, for credentials and limits
	Limits Limits             `yaml:"limits"` // what one process does at once

	// SourceGroups are groups of the directory whose computers may start remote connections over HTTPS, beside
	// policy.sources; they are resolved to addresses when a plan is made.
	SourceGroups []string `yaml:"source_groups"`
	PolicyGroup  string   `yaml:"policy_group"` // the group to name where Group Policy has to be changed for some computers
	Hooks        []Hook   `yaml:"hooks"`        // other programs that are told, or asked

	Observe Observe `yaml:"observe"` // what wavelock serve looks at by itself
	Listen  string  `yaml:"listen"`  // of the dashboard

	Dashboard Dashboard            `yaml:"dashboard"` // accounts and TLS of wavelock serve
	Posture   rollout.PostureRules `yaml:"posture"`   // what is expected of hosts beside the listeners

	dir string
}

// Directory is how LDAP is reached.
type Directory struct {
	URLs       []string `yaml:"urls"`       // tried in order
	Domain     string   `yaml:"domain"`     // instead of urls: its controllers are looked up in DNS
	Site       string   `yaml:"site"`       // its controllers first
	LDAPS      bool     `yaml:"ldaps"`      // of controllers found by DNS; else sealed LDAP
	Base       string   `yaml:"base"`       // distinguished name; empty: the domain's
	StartTLS   bool     `yaml:"start_tls"`  // TLS on 389
	CAFile     string   `yaml:"ca_file"`    // PEM roots for LDAPS; empty: the system's
	Credential string   `yaml:"credential"` // name of one under credentials
}

// Credential is who we are. The secret is never in the file itself.
type Credential struct {
	Kind         string   `yaml:"kind"`          // ntlm, kerberos, windows (the account that this program runs as), simple (LDAP over TLS only), basic or certificate (both for WinRM over HTTPS only)
	User         string   `yaml:"user"`          // CORP\name or name@corp.example
	PasswordFile string   `yaml:"password_file"` // what is in it is the password
	PasswordEnv  string   `yaml:"password_env"`  // name of an environment variable that holds it
	Keytab       string   `yaml:"keytab"`        // of kind kerberos
	CCache       string   `yaml:"ccache"`        // of kind kerberos; tickets that kinit got
	KDCs         []string `yaml:"kdcs"`          // host:port; empty: found by DNS
	Certificate  string   `yaml:"certificate"`   // of kind certificate; PEM file, with the intermediates after it
	Key          string   `yaml:"key"`           // of kind certificate; PEM file with its private key, not encrypted
}

// Tier gives a credential to some hosts. What is given of OU, role and zone has to fit all together.
type Tier struct {
	OU         string       `yaml:"ou"`   // corp.example/Servers or OU=Servers,DC=corp,DC=example; what lies below it too
	Role       rollout.Role `yaml:"role"` // domain-controller, ca and others that wavelock discover shows
	Zone       rollout.Zone `yaml:"zone"` // name of one under zones
	Credential string       `yaml:"credential"`
}

// Select narrows the directory to the hosts that are meant. Exclusions win.
type Select struct {
	OUs        []string         `yaml:"ous"`            // distinguished names
	Filter     string           `yaml:"filter"`         // LDAP filter, beside the others
	Names      []string         `yaml:"names"`          // patterns with * and ?
	Groups     []string         `yaml:"groups"`         // names or distinguished names; nested members count
	OS         []string         `yaml:"os"`             // patterns of operatingSystem
	SPNs       []string         `yaml:"spns"`           // patterns of service principals
	Sites      []string         `yaml:"sites"`          // by the computers' addresses and the forest's subnets
	List       string           `yaml:"list"`           // CSV file with a column host: these, too
	Exclude    []string         `yaml:"exclude"`        // patterns of names
	NotOUs     []string         `yaml:"exclude_ous"`    // distinguished names; what lies below, too
	NotGroups  []string         `yaml:"exclude_groups"` // nested members count
	StaleAfter rollout.Duration `yaml:"stale_after"`    // without a sign of life for so long a computer is left alone; 0: never mind
}

// ZoneRule puts the hosts of a site or OU into a zone.
type ZoneRule struct {
	Zone rollout.Zone `yaml:"zone"`
	OU   string       `yaml:"ou"`
	Site string       `yaml:"site"`
}

// Limits bound what one process does at once.
type Limits struct {
	Parallel int              `yaml:"parallel"`  // hosts at once
	Timeout  rollout.Duration `yaml:"timeout"`   // of one request to a host
	StepTime rollout.Duration `yaml:"step_time"` // of one step, enrollment included
	MaxAge   rollout.Duration `yaml:"max_age"`   // a plan is not made on older observations

	CompareEvery rollout.Duration `yaml:"compare_every"` // a running campaign looks so often who was added to the directory or is gone from it; 0: only when it is run
}

func defaultConfig() Config {
	return Config{
		Database: "wavelock.db", Goal: rollout.GoalClose, Policy: rollout.DefaultPolicy(), Listen: "127.0.0.1:8686",
		Directory: Directory{Credential: "directory"},
		Select:    Select{StaleAfter: rollout.Duration(90 * 24 * time.Hour)},
		Limits: Limits{Parallel: 50, Timeout: rollout.Duration(20 * time.Second), StepTime: rollout.Duration(3 * time.Minute),
			MaxAge: rollout.Duration(24 * time.Hour), CompareEvery: rollout.Duration(15 * time.Minute)},
		Waves: []rollout.WaveRule{
			{Name: "canary", Count: 1, InFlight: 1, Limit: 1},
			{Name: "early", Percent: 10, InFlight: 5, Limit: 2},
			{Name: "rest", InFlight: 25, Limit: 5},
		},
	}
}

// configError is a configuration that cannot be used.
type configError struct {
	path string
	err  error
}

func (e *configError) Error() string { return fmt.Sprintf("configuration %s: %v", e.path, e.err) }
func (e *configError) Unwrap() error { return e.err }
func (e *configError) ExitCode() int { return exitUsage }
func (e *configError) Hint() string {
	if errors.Is(e.err, fs.ErrPermission) {
		return "may this user read it? --config names another"
	}
	if errors.Is(e.err, fs.ErrNotExist) || errors.Is(e.err, errEmptyFile) {
		return "name it with --config, write one with wavelock init, or try a simulated domain: wavelock lab up --dir lab"
	}
	if misplacedSecret.MatchString(e.err.Error()) {
		return "a secret does not stand in this file: password_file, password_env, secret_file and secret_env say where it is"
	}
	if m := unknownField.FindStringSubmatch(e.err.Error()); m != nil {
		return didYouMean(m[1], keysOf(reflect.TypeFor[Config]()), "wavelock guide configuration lists every key and its meaning")
	}
	return "wavelock guide configuration lists every key and its meaning"
}

var errEmptyFile = errors.New("the file is empty")

var (
	unknownField = regexp.MustCompile(`unknown field "([^"]*)"`)
	wrongKind    = regexp.MustCompile(`cannot unmarshal (.+) into Go (?:struct field \S+|value) of type (\S+)`)
	// misplacedSecret is the key that people expect; the line is not shown, since the secret stands there.
	misplacedSecret = regexp.MustCompile(`unknown field "(?i:password|passwd|pass|pwd|secret|token)"`)
	badWord         = regexp.MustCompile(`^"([^"\n]+)" is not a `)
)

// read decodes the file's text.
func (c *Config) read(text []byte) error {
	err := yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(c)
	switch {
	case len(bytes.TrimSpace(text)) == 0, errors.Is(err, io.EOF):
		return errEmptyFile
	case err == nil:
		return nil
	}
	said := wrongKind.ReplaceAllStringFunc(strings.TrimSpace(yaml.FormatError(err, false, false)), func(s string) string {
		m := wrongKind.FindStringSubmatch(s)
		return fmt.Sprintf("%s stands where there has to be %s", kindOfKey(m[1]), kindOfKey(m[2]))
	})
	if m := badWord.FindStringSubmatch(said); m != nil { // a type of ours, which is not told where it stands
		said = placeOf(text, m[1]) + said
	}
	return errors.New(said)
}

// kindOfKey says in words what Go calls a type.
func kindOfKey(kind string) string {
	switch {
	case strings.HasPrefix(kind, "map"):
		return "a group of keys"
	case strings.HasPrefix(kind, "int"), strings.HasPrefix(kind, "uint"):
		return "a whole number"
	case strings.HasPrefix(kind, "float"):
		return "a number"
	case kind == "bool":
		return "true or false"
	case kind == "string":
		return "text"
	case strings.HasPrefix(kind, "[]"):
		return "a list"
	}
	return "a group of keys"
}

// placeOf is the line and column of a value that the text has once.
func placeOf(text []byte, value string) string {
	where := ""
	for n, line := range strings.Split(string(text), "\n") {
		line, _, _ = strings.Cut(line, " #")
		if at := strings.LastIndex(line, value); at >= 0 {
			if where != "" {
				return ""
			}
			where = fmt.Sprintf("[%d:%d] ", n+1, at+1)
		}
	}
	return where
}

// loadConfig reads and checks the file. Unknown and ill-typed keys are errors
// with line and column.
func loadConfig(path string) (Config, error) {
	cfg := defaultConfig()
	f, err := os.Open(path)
	if err != nil {
		return cfg, &configError{path, unwrapPath(err)}
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, 1<<20))
	if err != nil {
		return cfg, &configError{path, unwrapPath(err)}
	}
	if err := cfg.read(text); err != nil {
		return cfg, &configError{path, err}
	}
	if cfg.dir, err = filepath.Abs(filepath.Dir(path)); err != nil {
		return cfg, &configError{path, err}
	}
	if err := cfg.validate(); err != nil {
		return cfg, &configError{path, err}
	}
	for i := range cfg.Tiers {
		cfg.Tiers[i].OU = canonicalOU(cfg.Tiers[i].OU)
	}
	for i := range cfg.Zones {
		cfg.Zones[i].OU = canonicalOU(cfg.Zones[i].OU)
	}
	for i := range cfg.Waves {
		cfg.Waves[i].OU = canonicalOU(cfg.Waves[i].OU)
		for n, h := range cfg.Waves[i].Hosts {
			cfg.Waves[i].Hosts[n] = rollout.HostID(strings.ToLower(string(h)))
		}
	}
	for i := range cfg.Policy.AtOnce {
		cfg.Policy.AtOnce[i].OU = canonicalOU(cfg.Policy.AtOnce[i].OU)
	}
	return cfg, nil
}

// canonicalOU takes an OU in either of its two forms.
func canonicalOU(ou string) string {
	if strings.Contains(ou, "=") {
		return ldapdisco.Canonical(ou)
	}
	return strings.TrimRight(ou, "/")
}

// plainOU reports whether canonicalOU can do something with it.
func plainOU(ou string) bool { return ou == "" || canonicalOU(ou) != "" }

func unwrapPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// credentialsOf names the credentials of a kind, in the order of the alphabet.
func (c Config) credentialsOf(kind string) []string {
	var names []string
	for name, cr := range c.Credentials {
		if cr.Kind == kind {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// path is a path of the file, made absolute.
func (c Config) path(p string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(c.dir, p)
}

func (c Config) validate() error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	// What may hold a password is not quoted.
	bad(!journal.Shared(c.Database) && (strings.Contains(c.Database, "://") || strings.Contains(c.Database, "password=")),
		"database: it is neither a file nor like postgres://user@host/name?sslmode=verify-full")
	if c.Resolver != "" {
		_, _, err := net.SplitHostPort(c.Resolver)
		bad(err != nil, "resolver: %q is not like 192.0.2.53:53", c.Resolver)
	}
	c.Directory.validate(c, bad)
	for _, name := range slices.Sorted(maps.Keys(c.Credentials)) {
		if err := c.Credentials[name].validate(); err != nil {
			errs = append(errs, fmt.Errorf("credentials.%s: %w", name, err))
		}
	}
	c.validatePlaces(bad)
	c.Relay.validate(c, bad)
	c.Observe.validate(bad)
	c.Dashboard.validate(bad)
	bad(c.Goal.Actions() == nil, "goal: %q is none of secure, close, renew and restore", c.Goal)
	c.Limits.validate(bad)
	for i, w := range c.Waves {
		if err := w.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("waves, entry %d: %w", i+1, err))
		}
	}
	bad(len(c.Waves) == 0, "waves: at least one is needed")
	for i, h := range c.Hooks {
		if err := h.validate(c); err != nil {
			errs = append(errs, fmt.Errorf("hooks, entry %d: %w", i+1, err))
		}
	}
	for i, w := range c.Policy.Waivers { // said here only: a plan of before, under way, goes on
		bad(w.Until.IsZero(), "policy.waivers, entry %d: until when (until: 2027-03-31T00:00:00Z); what is waived for ever is forgotten", i+1)
	}
	if err := c.Policy.Validate(); err != nil {
		errs = append(errs, fmt.Errorf("policy: %w", err))
	}
	return errors.Join(errs...)
}

func (d Directory) validate(c Config, bad func(bool, string, ...any)) {
	bad(len(d.URLs) == 0 && d.Domain == "", "directory.urls: no LDAP server is named, and no domain whose servers could be looked up")
	bad(len(d.URLs) > 0 && d.Domain != "", "directory: urls and domain are two answers to one question")
	for i, s := range d.URLs {
		if strings.Contains(s, "@") {
			bad(true, "directory.urls, entry %d: who logs on stands under credentials, not in the address", i+1)
			continue
		}
		u, err := url.Parse(s)
		bad(err != nil || u.Host == "" || (u.Scheme != "ldap" && u.Scheme != "ldaps"), "directory.urls: %q is not like ldaps://dc1.corp.example", s)
	}
	reader, ok := c.Credentials[d.Credential]
	bad(!ok, "directory.credential: there is no credential %q", d.Credential)
	bad(reader.Kind == "certificate", "directory.credential: a client certificate is for WinRM over HTTPS only")
	bad(reader.Kind == "basic", "directory.credential: Basic is for WinRM over HTTPS; a simple bind over TLS is kind: simple")
}

// validatePlaces looks at what is said of parts of the directory and of the network.
func (c Config) validatePlaces(bad func(bool, string, ...any)) {
	for i, t := range c.Tiers {
		_, ok := c.Credentials[t.Credential]
		bad(!ok, "tiers, entry %d: there is no credential %q", i+1, t.Credential)
		bad(t.OU == "" && t.Role == "" && t.Zone == "", "tiers, entry %d: an ou, a role or a zone is needed", i+1)
		bad(!plainOU(t.OU), "tiers, entry %d: %q is no distinguished name", i+1, t.OU)
		bad(t.Zone != "" && !slices.ContainsFunc(c.Zones, func(z ZoneRule) bool { return z.Zone == t.Zone }), "tiers, entry %d: there is no zone %q", i+1, t.Zone)
	}
	for i, z := range c.Zones {
		bad(z.Zone == "", "zones, entry %d: the zone has no name", i+1)
		bad(!plainOU(z.OU), "zones, entry %d: %q is no distinguished name", i+1, z.OU)
	}
}

func (l Limits) validate(bad func(bool, string, ...any)) {
	bad(l.Parallel < 1 || l.Parallel > 5000, "limits.parallel: %d is not between 1 and 5000", l.Parallel)
	bad(l.CompareEvery < 0, "limits.compare_every: %v is negative", l.CompareEvery)
	bad(l.Timeout <= 0 || l.StepTime <= 0, "limits: timeout and step_time have to be positive")
}

var variableName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

func (c Credential) validate() error {
	sources := 0
	for _, s := range []string{c.PasswordFile, c.PasswordEnv, c.Keytab, c.CCache} {
		if s != "" {
			sources++
		}
	}
	if sources > 1 {
		return errors.New("give one of password_file, password_env, keytab and ccache; without any, you are asked")
	}
	if c.PasswordEnv != "" && !variableName.MatchString(c.PasswordEnv) {
		return errors.New("password_env: this is no name of an environment variable; the password itself does not stand here")
	}
	if c.Kind != "kerberos" && c.Keytab+c.CCache != "" {
		return errors.New("keytab and ccache are for kind: kerberos")
	}
	if c.Kind != "certificate" && c.Certificate+c.Key != "" {
		return errors.New("certificate and key are for kind: certificate")
	}
	switch c.Kind {
	case "ntlm", "simple", "basic":
		if c.User == "" {
			return errors.New("user: nobody is named")
		}
	case "kerberos":
		if c.User == "" && c.CCache == "" {
			return errors.New("user or ccache is needed")
		}
	case "windows":
		if c.User != "" || sources > 0 || len(c.KDCs) > 0 {
			return errors.New("kind: windows is the account that this program runs as; it takes no user and no secret")
		}
	case "certificate":
		if c.User != "" || sources > 0 || len(c.KDCs) > 0 {
			return errors.New("kind: certificate takes no user and no password: each host maps the certificate to one of its accounts")
		}
		if c.Certificate == "" || c.Key == "" {
			return errors.New("certificate and key: both files are needed")
		}
	default:
		return fmt.Errorf("kind: %q is not ntlm, kerberos, windows, certificate, basic or simple", c.Kind)
	}
	return nil
}
