package revocation

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"slices"
	"strings"
	"time"

	"wavelock/pki"
)

var (
	oidDeltaIndicator = asn1.ObjectIdentifier{2, 5, 29, 27}
	oidIssuingPoint   = asn1.ObjectIdentifier{2, 5, 29, 28}
	oidFreshest       = asn1.ObjectIdentifier{2, 5, 29, 46}
)

const reasonRemove = 8 // removeFromCRL, RFC 5280 5.3.1: of a delta, takes a hold back

// list is a CRL that was read and judged, with its entries to look up.
type list struct {
	issuer  []byte
	number  *big.Int
	base    *big.Int // of a delta
	next    time.Time
	entries map[string]entry
	deltas  []string
	scope   scope
}

type entry struct {
	reason int
	at     time.Time
}

// scope is IssuingDistributionPoint, RFC 5280 5.2.5, as far as it narrows.
type scope struct {
	Point    asn1.RawValue  `asn1:"optional,tag:0"`
	Users    bool           `asn1:"optional,tag:1"`
	CAs      bool           `asn1:"optional,tag:2"`
	Reasons  asn1.BitString `asn1:"optional,tag:3"`
	Indirect bool           `asn1:"optional,tag:4"`
	AAs      bool           `asn1:"optional,tag:5"`
}

func (s scope) covers(cert *x509.Certificate) bool {
	return !(s.Users && cert.IsCA) && !(s.CAs && !cert.IsCA) && !s.AAs && !s.Indirect && s.Reasons.BitLength == 0
}

// byCRL asks the list at the address, and the delta that it points to.
func (c *Checker) byCRL(ctx context.Context, cert, issuer *x509.Certificate, url string) *Error {
	base, err := c.list(ctx, issuer, url, nil)
	if err != nil {
		return err
	}
	if !base.scope.covers(cert) {
		return failed(CodeCRLScope, url, "the list is for other certificates than this one")
	}
	found, revoked := base.entries[cert.SerialNumber.String()]
	for _, at := range base.deltas {
		delta, err := c.list(ctx, issuer, at, base)
		if err != nil && errors.Is(err, errors.ErrUnsupported) {
			continue
		}
		if err != nil {
			if revoked { // a delta can take a hold back, which is not worth a doubt
				break
			}
			return err
		}
		if e, has := delta.entries[cert.SerialNumber.String()]; has {
			found, revoked = e, e.reason != reasonRemove
		}
		break
	}
	if revoked {
		return failed(CodeRevoked, url, "revoked %s, reason %d", found.at.UTC().Format(time.RFC3339), found.reason)
	}
	return nil
}

// list is the CRL at an address, of this issuer and in force now. With a base it has to be a delta to it.
func (c *Checker) list(ctx context.Context, issuer *x509.Certificate, url string, base *list) (*list, *Error) {
	key := "crl " + url + " " + string(issuer.RawSubjectPublicKeyInfo)
	v, err := c.remember(key, func() (any, time.Time, *Error) {
		raw, err := c.download(context.WithoutCancel(ctx), url) // others may wait for it
		if err != nil {
			return nil, time.Time{}, err
		}
		l, err := c.judgeList(raw, issuer, url)
		if err != nil {
			return nil, time.Time{}, err
		}
		return l, l.next, nil
	})
	if err != nil {
		return nil, err
	}
	l := v.(*list)
	switch {
	case base == nil && l.base != nil:
		return nil, failed(CodeDeltaBase, url, "a delta list lies where the base list should be")
	case base != nil && l.base == nil:
		return nil, failed(CodeDeltaBase, url, "a base list lies where its delta should be")
	case base != nil && (base.number == nil || l.base.Cmp(base.number) > 0 || l.number == nil || l.number.Cmp(base.number) < 0):
		return nil, failed(CodeDeltaBase, url, "the delta %v is to the base %v, the base is %v", l.number, l.base, base.number)
	}
	return l, nil
}

func (c *Checker) download(ctx context.Context, url string) ([]byte, *Error) {
	scheme, _, _ := strings.Cut(strings.ToLower(url), ":")
	switch scheme {
	case "http", "https":
		return c.fetch(ctx, url, nil, maxCRL)
	case "ldap", "ldaps":
	default:
		return nil, &Error{Code: CodeNoSource, URL: url, Err: errors.ErrUnsupported}
	}
	if c.cfg.LDAP == nil {
		return nil, &Error{Code: CodeNoSource, URL: url, Err: errors.ErrUnsupported}
	}
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	c.mu.Lock()
	c.asked++
	c.mu.Unlock()
	values, err := c.cfg.LDAP(ctx, url)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return nil, &Error{Code: CodeNoSource, URL: url, Err: err}
	case err != nil:
		return nil, unreached(ctx, url, err)
	case len(values) == 0 || len(values[0]) < 2: // an object that waits for its first list holds a single zero byte
		return nil, failed(CodeHTTPStatus, url, "the directory has no list there")
	case len(values[0]) > maxCRL:
		return nil, failed(CodeTooLarge, url, "more than %d bytes", maxCRL)
	}
	return values[0], nil
}

// judgeList believes nothing of a list before its signature.
func (c *Checker) judgeList(raw []byte, issuer *x509.Certificate, url string) (*list, *Error) {
	if block, _ := pem.Decode(raw); block != nil && block.Type == "X509 CRL" {
		raw = block.Bytes
	}
	parsed, err := x509.ParseRevocationList(raw)
	if err != nil {
		return nil, &Error{Code: CodeCRLMalformed, URL: url, Detail: "no list of revoked certificates", Err: err}
	}
	now := c.cfg.Now()
	switch {
	case !bytes.Equal(parsed.RawIssuer, issuer.RawSubject):
		return nil, failed(CodeCRLIssuer, url, "it is the list of %s, not of %s", parsed.Issuer, issuer.Subject)
	case parsed.CheckSignatureFrom(issuer) != nil:
		return nil, &Error{Code: CodeCRLSignature, URL: url, Detail: "not signed by " + pki.DistinguishedName(issuer.RawSubject), Err: parsed.CheckSignatureFrom(issuer)}
	case now.Add(c.cfg.Skew).Before(parsed.ThisUpdate):
		return nil, failed(CodeCRLFuture, url, "made %s, it is %s", parsed.ThisUpdate.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	case parsed.NextUpdate.IsZero() || now.After(parsed.NextUpdate):
		return nil, failed(CodeCRLStale, url, "the next one was due %s", parsed.NextUpdate.UTC().Format(time.RFC3339))
	}
	l := &list{issuer: parsed.RawIssuer, number: parsed.Number, next: parsed.NextUpdate, entries: make(map[string]entry, len(parsed.RevokedCertificateEntries))}
	for _, e := range parsed.RevokedCertificateEntries {
		l.entries[e.SerialNumber.String()] = entry{e.ReasonCode, e.RevocationTime}
	}
	unread := l.extensions(parsed, url)
	return l, unread
}

func (l *list) extensions(parsed *x509.RevocationList, url string) *Error {
	for _, x := range parsed.Extensions {
		var err error
		switch {
		case x.Id.Equal(oidDeltaIndicator):
			l.base = new(big.Int)
			_, err = asn1.Unmarshal(x.Value, &l.base)
		case x.Id.Equal(oidIssuingPoint):
			_, err = asn1.Unmarshal(x.Value, &l.scope)
		case x.Id.Equal(oidFreshest):
			l.deltas, err = points(x.Value)
		case x.Critical && !slices.ContainsFunc([]asn1.ObjectIdentifier{{2, 5, 29, 20}, {2, 5, 29, 35}}, x.Id.Equal):
			return failed(CodeCRLScope, url, "the list has the critical extension %s, which is not understood", x.Id)
		}
		if err != nil {
			return &Error{Code: CodeCRLMalformed, URL: url, Detail: "extension " + x.Id.String(), Err: err}
		}
	}
	return nil
}

// points reads the addresses of CRLDistributionPoints, RFC 5280 4.2.1.13, of which FreshestCRL has the form.
func points(der []byte) ([]string, error) {
	var all []struct {
		Point struct {
			Full []asn1.RawValue `asn1:"optional,tag:0"`
		} `asn1:"optional,tag:0"`
		Reasons asn1.BitString `asn1:"optional,tag:1"`
		Issuer  asn1.RawValue  `asn1:"optional,tag:2"`
	}
	if _, err := asn1.Unmarshal(der, &all); err != nil {
		return nil, err
	}
	var urls []string
	for _, p := range all {
		for _, n := range p.Point.Full {
			if n.Class == asn1.ClassContextSpecific && n.Tag == 6 {
				urls = append(urls, string(n.Bytes))
			}
		}
	}
	return urls, nil
}
