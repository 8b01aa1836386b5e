package main

import (
	"context"
	"errors"

	"wavelock/ldapdisco"
	"wavelock/ldapdisco/logon"
	"wavelock/rollout/web"
)

// domainAccounts lets members of the directory's groups in with the domain's
// password: it is tried by a bind inside TLS, and the account's own session asks
// which of the groups it is in, nested ones included.
type domainAccounts struct {
	a   *app
	cfg Config
}

func (d domainAccounts) Login(ctx context.Context, name, password string) (web.Person, error) {
	dir, err := d.bind(ctx, name, password)
	var refused *ldapdisco.Error
	if errors.As(err, &refused) && refused.Logon() {
		return web.Person{}, &web.DeniedError{Name: name, Why: err.Error()}
	}
	if err != nil {
		return web.Person{}, err
	}
	defer dir.Close()
	self, err := dir.Self(ctx)
	if err != nil {
		return web.Person{}, err
	}
	p := web.Person{Name: self.Name}
	g := d.cfg.Dashboard.Groups
	for _, r := range []struct {
		role   web.Role
		groups []string
	}{{web.Viewer, g.Viewer}, {web.Operator, g.Operator}, {web.Approver, g.Approver}} {
		in, err := dir.In(ctx, self, r.groups)
		if err != nil {
			return web.Person{}, err
		}
		if in {
			p.Roles = append(p.Roles, r.role)
		}
	}
	if len(p.Roles) == 0 {
		return web.Person{}, &web.DeniedError{Name: name, Why: "the account is in none of the groups of dashboard.groups"}
	}
	return p, nil
}

func (d domainAccounts) bind(ctx context.Context, name, password string) (*ldapdisco.Directory, error) {
	dc, err := d.a.directoryConfig(ctx, d.cfg)
	if err != nil {
		return nil, err
	}
	dc.Simple, dc.Login = &ldapdisco.Simple{User: name, Password: logon.Secret(password)}, nil
	return ldapdisco.Dial(ctx, dc)
}
