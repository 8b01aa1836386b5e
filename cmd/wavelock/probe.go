package main

import (
	"cmp"
	"context"
	"encoding/pem"
	"errors"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"wavelock/rollout"
	"wavelock/rollout/machine"
)

func newProbe(a *app) *cobra.Command {
	var o probeOptions
	c := &cobra.Command{
		Use: "probe HOST...", GroupID: "look", Args: probeArgs(&o),
		Short: "Prove HTTPS of some hosts, from any computer",
		Long: `Make the proof that a campaign makes, from here: a new connection to 5986,
chain, name, usage, dates, the same certificate presented, configured and bound,
and an authenticated call. Run it where the host's clients are: a proof from the
controller is none for its users, since networks often let only 5985 pass.

It needs no database, and with --ca-file no configuration. The account needs the
right to read the listener. Nothing is changed.

--report keeps the proofs in a file. Where the journal is, --accept takes it:
the client no longer blocks these hosts (client-not-moved). The file carries no
signature; it counts on the word of who takes it, for a week, for clients that
the census saw on HTTP, and for the certificate that the host still has.

Exit code 9 says that a host could not be proved, or a proof was not taken.`,
		Example: "  wavelock probe web01.corp.example\n" +
			"  wavelock probe web01.corp.example --ca-file root.pem --user 'CORP\\ann'\n" +
			"  wavelock probe web01.corp.example --ca-file root.pem --report backup01.json\n" +
			"  wavelock probe --accept backup01.json --why 'tried by its owner'",
		ValidArgsFunction: a.completeHosts().each,
		RunE: func(c *cobra.Command, args []string) error {
			if c.Flags().Changed("port") && (o.Port < 1 || o.Port > 65535) {
				return failWith(exitUsage, "a port is 1 to 65535; HTTPS is usually on 5986", "--port %d is no TCP port", o.Port)
			}
			if o.Accept != "" {
				return a.acceptProbes(c.Context(), o.Accept, o.Why)
			}
			return a.probe(c.Context(), args, o)
		},
	}
	f := c.Flags()
	f.StringVar(&o.CAFile, "ca-file", "", "PEM `FILE` of the enterprise roots; no configuration is read")
	f.StringVar(&o.User, "user", "", "with --ca-file: `ACCOUNT` as CORP\\name (default on Windows: who runs it)")
	f.StringVar(&o.PasswordFile, "password-file", "", "with --ca-file: `FILE` with the password (default: you are asked)")
	f.StringVar(&o.Resolver, "resolver", "", "with --ca-file: DNS server as `IP:PORT` (default: the system's)")
	f.StringVar(&o.Report, "report", "", "new `FILE` to keep the proofs in")
	f.StringVar(&o.Accept, "accept", "", "`FILE` of --report, to be taken into the journal")
	f.StringVar(&o.Why, "why", "", "with --accept: `REASON`, who tried it and why that is believed")
	f.IntVar(&o.Port, "port", 0, "`PORT` of HTTPS (default 5986)")
	completes(c, map[string]completion{"ca-file": completeFiles("pem", "crt", "cer"), "accept": completeFiles("json"), "report": completeFiles("json"), "resolver": completeNothing, "user": completeNothing, "why": completeNothing, "port": completeNothing})
	return c
}

type probeOptions struct {
	CAFile, User, PasswordFile, Resolver string
	Report, Accept, Why                  string
	Port                                 int
}

// probeArgs asks for hosts, except where a file is taken.
func probeArgs(o *probeOptions) cobra.PositionalArgs {
	return func(c *cobra.Command, args []string) error {
		if o.Accept != "" {
			return exactly()(c, args)
		}
		return atLeast("the name of a host")(c, args)
	}
}

// probed is what probe says of one host.
type probed struct {
	Host    rollout.HostID `json:"host"`
	OK      bool           `json:"ok"`
	Reason  rollout.Reason `json:"reason,omitempty"`
	Reached string         `json:"reached,omitempty"` // how far it got
	Detail  string         `json:"detail,omitempty"`
	Hint    string         `json:"hint,omitempty"`
	Proof   *rollout.Proof `json:"proof,omitempty"`
}

// surroundings are the configuration and the roots: from the configuration and the
// directory, or from the flags alone.
func (a *app) surroundings(ctx context.Context, o probeOptions) (Config, [][]byte, error) {
	if o.CAFile != "" {
		cfg, err := o.config()
		if err != nil {
			return cfg, nil, err
		}
		roots, err := rootsIn(o.CAFile)
		return cfg, roots, err
	}
	cfg, err := loadConfig(a.config)
	if err != nil {
		return cfg, nil, err
	}
	d, err := a.openDirectory(ctx, cfg)
	if err != nil {
		return cfg, nil, err
	}
	defer d.Close()
	roots, err := d.Roots(ctx)
	if err != nil {
		return cfg, nil, directoryError(err)
	}
	return cfg, roots.Trusted(), nil
}

// config is what the flags say of the network and of who asks.
func (o probeOptions) config() (Config, error) {
	cfg := defaultConfig()
	cfg.Resolver = o.Resolver
	cr := Credential{Kind: "windows"}
	if o.User != "" {
		cr = Credential{Kind: "ntlm", User: o.User, PasswordFile: o.PasswordFile}
	}
	cfg.Credentials = map[string]Credential{hostsCredential: cr}
	if err := cr.validate(); err != nil {
		return cfg, failWith(exitUsage, `name an account with --user 'CORP\name'`, "%w", err)
	}
	return cfg, nil
}

// rootsIn are the certificates of a PEM file, in DER.
func rootsIn(file string) ([][]byte, error) {
	const hint = "--ca-file has to be a PEM file with the enterprise roots"
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, failWith(exitUsage, hint, "read the roots %s: %w", file, unwrapPath(err))
	}
	var roots [][]byte
	for block, rest := pem.Decode(b); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			roots = append(roots, block.Bytes)
		}
	}
	if len(roots) == 0 {
		return nil, failWith(exitUsage, hint, "there is no certificate in %s", file)
	}
	return roots, nil
}

func (a *app) probe(ctx context.Context, names []string, o probeOptions) error {
	for _, name := range names {
		if err := fullName(name); err != nil {
			return err
		}
	}
	cfg, roots, err := a.surroundings(ctx, o)
	if err != nil {
		return err
	}
	cfg.Policy.Port = cmp.Or(o.Port, cfg.Policy.Port)
	logins, err := a.hostLogins(cfg)
	if err != nil {
		return err
	}
	defer logins.close()
	fleet, err := a.fleet(cfg, logins, roots, cfg.Policy)
	if err != nil {
		return err
	}
	rows := make([]probed, len(names))
	var g errgroup.Group
	g.SetLimit(cfg.Limits.Parallel)
	for i, name := range names {
		g.Go(func() error {
			rows[i] = probeOne(ctx, fleet, hostNamed(name), cfg.Limits.StepTime.D())
			return nil
		})
	}
	_ = g.Wait() // the rows carry the errors
	if o.Report != "" {
		if err := writeProbes(o.Report, rows); err != nil {
			return err
		}
	}
	return a.showProbes(rows)
}

// hostNamed is a host of which only the full name is known.
func hostNamed(name string) rollout.Host {
	id := trimDot(name)
	_, domain, _ := strings.Cut(id, ".")
	return rollout.Host{ID: rollout.HostID(id), Domain: domain}
}

// fullName refuses what no certificate and no Kerberos ticket is made out to.
func fullName(name string) error {
	_, err := netip.ParseAddr(name)
	if err != nil && hostNamed(name).Domain != "" {
		return nil
	}
	return failWith(exitUsage, "use its full name, such as web01.corp.example: certificate and Kerberos ticket are made out to that", "%q is no full name of a computer", name)
}

func probeOne(ctx context.Context, fleet *machine.Fleet, h rollout.Host, limit time.Duration) probed {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	row := probed{Host: h.ID}
	m, err := fleet.Open(ctx, h)
	if err != nil {
		row.Reason, row.Detail = rollout.ReasonInternal, err.Error()
		return row
	}
	defer m.Close()
	p, err := m.Probe(ctx)
	if err == nil {
		row.OK, row.Proof = true, &p
		return row
	}
	row.Reason, row.Detail = rollout.ReasonProtocol, err.Error()
	var f *rollout.Failure
	if errors.As(err, &f) {
		row.Reason = f.Reason
	}
	row.Reached, row.Hint = m.Reached(ctx), row.Reason.Hint()
	return row
}

func (a *app) showProbes(rows []probed) error {
	t := table{head: []string{"HOST", "VERDICT", "CERTIFICATE", "VALID UNTIL", "TLS", "ADDRESS", "DETAIL"}}
	bad := 0
	for _, r := range rows {
		if r.OK {
			t.add(r.Host, "proved", r.Proof.Wire.Short(), r.Proof.NotAfter.Format(time.DateOnly), r.Proof.TLS, r.Proof.Address, "the host answered as "+r.Proof.Answered)
			continue
		}
		bad++
		t.add(r.Host, r.Reason, "", "", "", "", r.Reached+"; "+r.Detail)
	}
	if err := t.write(a.out, a.output, rows); err != nil {
		return err
	}
	if bad > 0 {
		return failWith(exitFindings, "each row says how far it got; wavelock explain tells what a code means", "%d of %s could not be proved from here", bad, plural(len(rows), "host"))
	}
	return nil
}
