package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"wavelock/ldapdisco"
	"wavelock/ldapdisco/logon"
	"wavelock/pki/adcs"
	"wavelock/rollout"
	"wavelock/rollout/engine"
)

// Relay is how hosts' requests are carried to a CA, for hosts whose route is relay.
type Relay struct {
	Credential string           `yaml:"credential"`  // of the service account that may enroll
	AllowNTLM  bool             `yaml:"allow_ntlm"`  // the library does not verify the signatures of NTLM answers
	CA         string           `yaml:"ca"`          // its common name; empty: the first by name that issues the template
	Port       int              `yaml:"port"`        // fixed RPC port of the CA; 0 asks its endpoint mapper
	MapperPort int              `yaml:"mapper_port"` // of that endpoint mapper, where it is not 135
	Parallel   int              `yaml:"parallel"`    // requests to one CA at once
	Timeout    rollout.Duration `yaml:"timeout"`     // of one request
}

// relays reports whether hosts' requests may be carried to a CA from here.
func (c Config) relays() bool {
	return c.Policy.Route == rollout.RouteRelay || slices.ContainsFunc(c.Policy.Routes, func(r rollout.RouteRule) bool { return r.Route == rollout.RouteRelay })
}

// knockPort is where a CA is asked whether it is there.
func (r Relay) knockPort() int { return cmp.Or(r.Port, r.MapperPort, 135) }

func (r Relay) validate(c Config, bad func(wrong bool, format string, args ...any)) {
	used := c.relays()
	cr, known := c.Credentials[r.Credential]
	bad(used && !known, "relay.credential: there is no credential %q, and the policy has hosts whose route is relay", r.Credential)
	bad(known && cr.Kind == "simple", "relay.credential: a simple bind is for LDAP only")
	bad(known && cr.Kind == "certificate", "relay.credential: a client certificate is for WinRM over HTTPS only")
	bad(known && cr.Kind == "basic", "relay.credential: Basic is for WinRM over HTTPS only")
	bad(known && cr.Kind == "windows", "relay.credential: %q is the account that this program runs as, which the relay cannot use; give it a keytab or a password of its own", r.Credential)
	bad(known && cr.Kind == "ntlm" && !r.AllowNTLM, "relay.credential: %q is NTLM, whose answers are not verified; use Kerberos, or set relay.allow_ntlm", r.Credential)
	bad(r.Port < 0 || r.Port > 65535 || r.MapperPort < 0 || r.MapperPort > 65535, "relay: %d and %d have to be TCP ports", r.Port, r.MapperPort)
	bad(r.Parallel < 0 || r.Parallel > 100, "relay.parallel: %d is not between 1 and 100", r.Parallel)
	bad(r.Timeout < 0, "relay.timeout: %v is negative", r.Timeout)
}

// relays reports whether any host of the plan may need a CA asked for it.
func relays(p rollout.Plan) bool {
	for _, h := range p.Hosts {
		if route, _ := p.Policy.RouteOf(h.Host); route == rollout.RouteRelay {
			return true
		}
	}
	return false
}

// issuer is the engine's way to the CAs; nil where the plan needs none.
func (a *app) issuer(ctx context.Context, cfg Config, p rollout.Plan) (engine.Issuer, error) {
	if !relays(p) {
		return nil, nil
	}
	d, err := a.openDirectory(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	cas, err := d.Authorities(ctx)
	if err != nil {
		return nil, directoryError(err)
	}
	client, err := a.caClient(cfg)
	if err != nil {
		return nil, err
	}
	return &relay{client: client, cfg: cfg.Relay, cas: cas}, nil
}

// caClient asks CAs as the relay's account.
func (a *app) caClient(cfg Config) (*adcs.Client, error) {
	ac := adcs.Config{Dial: cfg.dial, Parallel: cfg.Relay.Parallel, Timeout: cfg.Relay.Timeout.D(), Log: a.logger()}
	name := cfg.Relay.Credential
	cr, ok := cfg.Credentials[name]
	if !ok {
		return nil, failWith(exitUsage, "name one in relay.credential", "requests to a CA are carried by an account, and there is no credential %q", name)
	}
	if cr.Kind == "ntlm" {
		password, err := a.secret(cfg, name, cr)
		if err != nil {
			return nil, err
		}
		domain, user := splitUser(cr.User)
		ac.NTLM = &adcs.NTLM{Domain: domain, User: user, Password: password}
	} else {
		k, err := a.kerberosOf(cfg, name, cr)
		if err != nil {
			return nil, err
		}
		ac.Kerberos = &k
	}
	return adcs.New(ac)
}

// kerberosOf is the named credential for the CA's own Kerberos client.
func (a *app) kerberosOf(cfg Config, name string, c Credential) (logon.KerberosConfig, error) {
	realm, user := splitUser(c.User)
	k := logon.KerberosConfig{Realm: strings.ToUpper(realm), User: user, Keytab: cfg.path(c.Keytab), CCache: cfg.path(strings.TrimPrefix(c.CCache, "FILE:")), KDCs: c.KDCs}
	if file := k.Keytab + k.CCache; file != "" { // one of them: both are as good as the password
		a.warnOpen(file)
		return k, nil
	}
	password, err := a.secret(cfg, name, c)
	k.Password = password
	return k, err
}

// submitter is what the relay needs of the driver.
type submitter interface {
	Submit(ctx context.Context, ca adcs.CA, r adcs.Request) (adcs.Answer, error)
	Retrieve(ctx context.Context, ca adcs.CA, id uint32) (adcs.Answer, error)
}

// relay joins the engine and the driver: which CA is asked, and what its no means for a host.
type relay struct {
	client submitter
	cfg    Relay
	cas    []ldapdisco.Authority
}

// Submit carries a request to the CA that issues its template, or asks the one that has it.
func (r *relay) Submit(ctx context.Context, host rollout.Host, req rollout.CertRequest) (engine.Issued, error) {
	ca, err := r.authority(req)
	if err != nil {
		return engine.Issued{}, &rollout.Failure{Host: host.ID, Step: rollout.StepSubmit, Reason: rollout.ReasonEnrollDenied, Err: err}
	}
	var got adcs.Answer
	if req.Number != 0 {
		got, err = r.client.Retrieve(ctx, ca, req.Number)
	} else {
		got, err = r.client.Submit(ctx, ca, adcs.Request{Template: req.Template, CSR: req.CSR})
	}
	if err != nil {
		return engine.Issued{}, relayFailure(host.ID, err)
	}
	return engine.Issued{CA: ca.String(), Number: got.Request, Certificate: got.Certificate, Chain: got.Chain}, nil
}

func (r *relay) authority(req rollout.CertRequest) (adcs.CA, error) {
	for _, a := range r.cas {
		ca := adcs.CA{Name: a.Name, Host: strings.ToLower(a.DNSHostName), Port: r.cfg.Port, Mapper: r.cfg.MapperPort}
		switch {
		case req.CA != "":
			if strings.EqualFold(req.CA, ca.String()) {
				return ca, nil
			}
		case r.cfg.CA != "" && !strings.EqualFold(r.cfg.CA, a.Name):
		case hasFold(a.Templates, req.Template):
			return ca, nil
		}
	}
	if req.CA != "" {
		return adcs.CA{}, fmt.Errorf("the directory has no %s any more, which has request %d", req.CA, req.Number)
	}
	return adcs.CA{}, fmt.Errorf("no CA issues the template %s", req.Template)
}

func hasFold(all []string, want string) bool {
	for _, s := range all {
		if strings.EqualFold(s, want) {
			return true
		}
	}
	return false
}

// busyFor is how long a CA that is too busy is left alone.
const busyFor = time.Minute

// relayFailure is what an error of the driver means for the host. A CA that cannot be asked is no host's failure.
func relayFailure(host rollout.HostID, err error) error {
	f := &rollout.Failure{Host: host, Step: rollout.StepSubmit, Reason: rollout.ReasonCAUnavailable, Transient: true, Err: err}
	var e *adcs.Error
	if !errors.As(err, &e) {
		return f
	}
	if hint := e.Hint(); hint != "" {
		f.Err = fmt.Errorf("%w (%s)", err, hint)
	}
	switch e.Kind {
	case adcs.Denied:
		f.Reason, f.Transient = rollout.ReasonEnrollDenied, false
	case adcs.Busy:
		f.RetryAfter = busyFor
	}
	return f
}
