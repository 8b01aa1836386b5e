package main

import (
	"context"
	"crypto/tls"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"wavelock/ldapdisco"
	"wavelock/pki"
	"wavelock/pki/adcs"
	"wavelock/rollout"
)

// infrastructure is the forest's PKI as the directory describes it, without what it is wanted for.
func (a *app) infrastructure(ctx context.Context, cfg Config, d *ldapdisco.Directory) (pki.Inventory, error) {
	var inv pki.Inventory
	cas, err := d.Authorities(ctx)
	if err != nil {
		return inv, directoryError(err)
	}
	templates, err := d.Templates(ctx)
	if err != nil {
		return inv, directoryError(err)
	}
	roots, err := d.Roots(ctx)
	if err != nil {
		return inv, directoryError(err)
	}
	lists, err := d.RevocationLists(ctx)
	if err != nil {
		return inv, directoryError(err)
	}
	if inv.LinkedPolicies, err = d.LinkedPolicies(ctx); err != nil {
		return inv, directoryError(err)
	}
	inv.Forest = pki.Forest{Roots: roots.Authorities, Intermediates: roots.Intermediates, NTAuth: roots.NTAuth}
	var descriptors [][]byte
	for _, ca := range cas {
		inv.Authorities = append(inv.Authorities, pki.Authority{Name: ca.Name, Host: ca.DNSHostName, Certificates: ca.Certificates, Templates: ca.Templates,
			EnrollmentServers: ca.EnrollmentServers, SecurityDescriptor: ca.SecurityDescriptor, Lists: lists[ca.Name]})
		descriptors = append(descriptors, ca.SecurityDescriptor)
	}
	for _, t := range templates {
		inv.Templates = append(inv.Templates, pkiTemplate(t))
		descriptors = append(descriptors, t.SecurityDescriptor)
	}
	if inv.Names, err = d.Names(ctx, pki.Trustees(descriptors...)); err != nil {
		return inv, directoryError(err)
	}
	return inv, nil
}

// manageable are the hosts among what was found.
func manageable(all []found) []rollout.Host {
	var hosts []rollout.Host
	for _, f := range all {
		if f.Problem == "" {
			hosts = append(hosts, f.Host)
		}
	}
	return hosts
}

// wanted are the templates that the hosts would enroll by, with the tokens of these very hosts; reusing is how many
// enroll by none. Hosts in the same groups have the same token, which is asked for once.
func (a *app) wanted(ctx context.Context, cfg Config, d *ldapdisco.Directory, inv pki.Inventory, hosts []rollout.Host) (all []pki.Wanted, reusing int, err error) {
	tokens := map[string][]string{} // by the groups
	named := trusteesOf(inv)
	type key struct {
		route    rollout.Route
		template string
	}
	index, places := map[key]int{}, tokenPlaces{}
	for _, h := range hosts {
		route, template := cfg.Policy.RouteOf(h)
		if route == rollout.RouteReuse {
			reusing++
			continue
		}
		i, known := index[key{route, template}]
		if !known {
			w, err := a.wantedBy(ctx, cfg, d, route, template)
			if err != nil {
				return nil, 0, err
			}
			i = len(all)
			all, index[key{route, template}] = append(all, w), i
		}
		if route == rollout.RouteRelay {
			all[i].Hosts++
			continue
		}
		groups := groupKey(h, named)
		if _, asked := tokens[groups]; !asked {
			token, err := d.Token(ctx, h.Account)
			if err != nil {
				return nil, 0, directoryError(err)
			}
			if len(token) == 0 && h.Account != "" {
				continue // the computer is gone since it was planned, which says nothing about others in its groups
			}
			tokens[groups] = token
		}
		all[i].Hosts++
		places.count(&all[i], groups, tokens[groups], h.ID)
	}
	return all, reusing, nil
}

// wantedBy is a template before its hosts are counted. Where requests are relayed, it is the relay's own token that counts.
func (a *app) wantedBy(ctx context.Context, cfg Config, d *ldapdisco.Directory, route rollout.Route, template string) (pki.Wanted, error) {
	w := pki.Wanted{Template: template, Use: pki.Use{Route: pki.Route(route), MinLeft: cfg.Policy.MinLeft.D()}}
	if route != rollout.RouteRelay {
		return w, nil
	}
	var err error
	if w.Use.SIDs, err = a.relayToken(ctx, cfg, d); err != nil {
		return pki.Wanted{}, err
	}
	if len(w.Use.SIDs) > 0 {
		w.Use.Account = w.Use.SIDs[0]
	}
	return w, nil
}

// tokenPlaces are where a token stands among those of its template, by template and groups.
type tokenPlaces map[string]int

// count counts a host among those with the same token.
func (p tokenPlaces) count(w *pki.Wanted, groups string, token []string, host rollout.HostID) {
	place := w.Template + "\x00" + groups
	i, known := p[place]
	if !known {
		i = len(w.Use.Tokens)
		p[place] = i
		w.Use.Tokens = append(w.Use.Tokens, pki.Token{SIDs: token, Example: string(host)})
	}
	w.Use.Tokens[i].Hosts++
}

func trusteesOf(inv pki.Inventory) map[string]bool {
	var descriptors [][]byte
	for _, t := range inv.Templates {
		descriptors = append(descriptors, t.SecurityDescriptor)
	}
	named := map[string]bool{}
	for _, sid := range pki.Trustees(descriptors...) {
		named[sid] = true
	}
	return named
}

// groupKey is the same for hosts whose tokens a descriptor cannot tell apart.
func groupKey(h rollout.Host, named map[string]bool) string {
	groups := slices.Clone(h.Groups)
	slices.Sort(groups)
	k := strings.ToLower(strings.Join(groups, "\x00"))
	if named[h.SID] { // a template is granted to this computer by itself
		k += "\x00" + h.SID
	}
	return k
}

// relayToken are the SIDs of the account that carries requests, its own first; none where it cannot be found out.
func (a *app) relayToken(ctx context.Context, cfg Config, d *ldapdisco.Directory) ([]string, error) {
	_, user := splitUser(cfg.Credentials[cfg.Relay.Credential].User)
	if user == "" {
		return nil, nil
	}
	sids, err := d.Token(ctx, user)
	if err != nil {
		return nil, directoryError(err)
	}
	return sids, nil
}

// templatesFor judges the templates that hosts enroll by.
func (a *app) templatesFor(ctx context.Context, cfg Config, d *ldapdisco.Directory, hosts []rollout.Host) ([]pki.Judgement, error) {
	inv, err := a.infrastructure(ctx, cfg, d)
	if err != nil {
		return nil, err
	}
	if inv.Wanted, _, err = a.wanted(ctx, cfg, d, inv, hosts); err != nil {
		return nil, err
	}
	var all []pki.Judgement
	for _, j := range pki.Audit(inv, a.now()) {
		if j.Route != "" {
			all = append(all, j)
		}
	}
	return all, nil
}

// askWeb asks each CA's computer for /certsrv/, without credentials, and the CA's own distribution points.
func (a *app) askWeb(ctx context.Context, cfg Config, inv pki.Inventory) {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	transport := &http.Transport{DialContext: cfg.dial, DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} // whether somebody answers is asked, nothing is believed or told
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 5 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	var wg sync.WaitGroup
	for i := range inv.Authorities {
		ca := &inv.Authorities[i]
		wg.Go(func() {
			if ca.Host == "" {
				ca.WebDoubt = "the directory does not name its computer"
				return
			}
			for _, scheme := range []string{"http", "https"} {
				address := scheme + "://" + ca.Host + "/certsrv/"
				there, err := answers(ctx, client, address)
				if there {
					ca.Web = append(ca.Web, address)
				}
				if err != nil {
					ca.WebDoubt = err.Error()
				}
			}
		})
		wg.Go(func() { ca.Doubt = a.doubtOf(ctx, cfg, inv.ChainOf(*ca, a.now())) })
	}
	wg.Wait()
}

// answers reports whether there is something at the address: a page, or a demand for a logon. The error is why that is not
// known: a port that refuses says that there is nothing, silence says nothing.
func answers(ctx context.Context, client *http.Client, address string) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return false, err
	}
	resp, err := client.Do(req)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return false, nil
	case err != nil:
		return false, err
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden, nil
}

// tryUnsealed tries to call each CA without packet privacy, where there is an account to do it with.
func (a *app) tryUnsealed(ctx context.Context, cfg Config, inv pki.Inventory) {
	if cr, ok := cfg.Credentials[cfg.Relay.Credential]; !ok || cr.Kind == "ntlm" { // NTLM would be shown to who asks for less
		return
	}
	client, err := a.caClient(cfg)
	for i := range inv.Authorities {
		ca := &inv.Authorities[i]
		taken := false
		if client != nil {
			taken, err = client.TakesUnsealed(ctx, adcs.CA{Name: ca.Name, Host: ca.Host, Port: cfg.Relay.Port, Mapper: cfg.Relay.MapperPort})
		}
		switch {
		case err != nil:
			ca.UnsealedDoubt = err.Error()
		case taken:
			ca.Unsealed = pki.Taken
		default:
			ca.Unsealed = pki.Refused
		}
	}
}

// doubtOf asks whether a CA's own certificate is still good.
func (a *app) doubtOf(ctx context.Context, cfg Config, chain pki.Chain) error {
	if len(chain) < 2 {
		return nil // a root, which nobody can revoke
	}
	policy := cfg.Policy
	policy.Revocation = rollout.RevocationSoft
	return a.revocation(cfg, policy).Check(ctx, chain)
}
