package ldapdisco

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// Resolver asks DNS for services; *net.Resolver does.
type Resolver interface {
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, addrs []*net.SRV, err error)
}

// Located is a domain controller as DNS names it.
type Located struct {
	Host   string // full name, without the last dot
	Port   int    // of LDAP
	InSite bool   // it serves the site that was asked for
}

// Locate asks DNS for the controllers of a domain ([MS-ADTS] 6.3.6): those of the site first, then all others, each
// by priority and weight. Nobody looked whether they answer.
func Locate(ctx context.Context, r Resolver, domain, site string) ([]Located, error) {
	domain = strings.TrimSuffix(strings.ToLower(domain), ".")
	var all []Located
	add := func(name string, inSite bool) error {
		_, records, err := r.LookupSRV(ctx, "ldap", "tcp", name)
		if len(records) > 0 { // a record that is no host's name is left out, with an error beside the others
			err = nil
		}
		for _, s := range records {
			host := strings.TrimSuffix(strings.ToLower(s.Target), ".")
			if host == "" || s.Port == 0 || slices.ContainsFunc(all, func(l Located) bool { return l.Host == host && l.Port == int(s.Port) }) {
				continue // "." says that there is no such service
			}
			all = append(all, Located{host, int(s.Port), inSite})
		}
		return err
	}
	if site != "" {
		var none *net.DNSError
		if err := add(site+"._sites.dc._msdcs."+domain, true); err != nil && !(errors.As(err, &none) && none.IsNotFound) {
			return nil, &Error{Op: "look for the domain controllers of the site " + site, Err: err}
		}
	}
	err := add("dc._msdcs."+domain, false)
	if len(all) > 0 {
		return all, nil
	}
	if err == nil {
		err = errors.New("DNS names none")
	}
	return nil, &Error{Op: "look for the domain controllers of " + domain, Err: &hintedError{err,
		fmt.Sprintf("DNS has to have _ldap._tcp.dc._msdcs.%s: is the domain's name right, and does the DNS server that is asked know the domain? name its server with resolver (init: --resolver), or a controller with directory.urls", domain)}}
}

// hintedError is another's error with our advice.
type hintedError struct {
	error
	hint string
}

func (h *hintedError) Hint() string  { return h.hint }
func (h *hintedError) Unwrap() error { return h.error }

// URL is how the controller is asked: LDAPS has a port of its own, which DNS does not name.
func (l Located) URL(secure bool) string {
	if secure {
		return "ldaps://" + l.Host
	}
	if l.Port == 389 {
		return "ldap://" + l.Host
	}
	return fmt.Sprintf("ldap://%s:%d", l.Host, l.Port)
}
