package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"wavelock/pki/revocation"
	"wavelock/rollout"
)

// revocation is who answers for the certificates of proofs; nil where the policy has nobody asked. Names are resolved
// as the configuration says, and lists in the directory are read with its credential.
func (a *app) revocation(cfg Config, policy rollout.Policy) *revocation.Checker {
	if policy.Revocation == rollout.RevocationOff {
		return nil
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, DialContext: cfg.dial, TLSHandshakeTimeout: 5 * time.Second, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 4}
	return revocation.New(revocation.Config{HTTP: &http.Client{Transport: transport}, Now: a.now,
		LDAP: func(ctx context.Context, address string) ([][]byte, error) {
			return a.listInDirectory(ctx, cfg, address)
		}})
}

// listInDirectory reads what an address such as ldap:///CN=...,DC=example?certificateRevocationList?base?... names.
// Only addresses without a server are followed, as enterprise CAs write them: nobody's certificate gets to
// choose the server that our credential is shown to.
func (a *app) listInDirectory(ctx context.Context, cfg Config, address string) ([][]byte, error) {
	dn, attribute, err := distributionPoint(address)
	if err != nil {
		return nil, err
	}
	d, err := a.openDirectory(ctx, cfg)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	return d.Values(ctx, dn, attribute)
}

// distributionPoint takes an address of RFC 4516 apart.
func distributionPoint(address string) (dn, attribute string, err error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", "", fmt.Errorf("read the distribution point: %w", err)
	}
	if u.Host != "" {
		return "", "", fmt.Errorf("the distribution point is on the server %s, which is not asked: %w", u.Host, errors.ErrUnsupported)
	}
	dn = strings.TrimPrefix(u.Path, "/")
	attribute, _, _ = strings.Cut(u.RawQuery, "?")
	if attribute, err = url.QueryUnescape(attribute); err != nil || dn == "" {
		return "", "", fmt.Errorf("the distribution point %q names no object: %w", address, errors.ErrUnsupported)
	}
	if attribute == "" {
		attribute = "certificateRevocationList"
	}
	return dn, attribute, nil
}
