package ldaptest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"
)

// matcher decides about one entry.
type matcher func(v *view) bool

// Filter choices, RFC 4511 4.5.1.7.
const (
	filterAnd = iota
	filterOr
	filterNot
	filterEqual
	filterSubstrings
	filterGreater
	filterLess
	filterPresent
	filterApprox
	filterExtensible
)

// Matching rules, [MS-ADTS] 3.1.1.3.4.4.
const (
	ruleBitAnd  = "1.2.840.113556.1.4.803"
	ruleBitOr   = "1.2.840.113556.1.4.804"
	ruleInChain = "1.2.840.113556.1.4.1941"
)

const maxFilterDepth = 100

var errFilter = errors.New("the filter is malformed")

func compile(p *ber.Packet, depth int) (matcher, error) {
	if p.ClassType != ber.ClassContext || depth > maxFilterDepth {
		return nil, errFilter
	}
	switch p.Tag {
	case filterAnd, filterOr:
		return compileSet(p, depth)
	case filterNot:
		if len(p.Children) != 1 {
			return nil, errFilter
		}
		m, err := compile(p.Children[0], depth+1)
		if err != nil {
			return nil, err
		}
		return func(v *view) bool { return !m(v) }, nil
	case filterEqual, filterApprox, filterGreater, filterLess:
		return compileComparison(p)
	case filterSubstrings:
		return compileSubstrings(p)
	case filterPresent:
		name := attributeKey(p.Data.String())
		return func(v *view) bool { return len(v.values(name)) > 0 }, nil
	case filterExtensible:
		return compileExtensible(p)
	}
	return nil, errFilter
}

func compileSet(p *ber.Packet, depth int) (matcher, error) {
	var all []matcher
	for _, c := range p.Children {
		m, err := compile(c, depth+1)
		if err != nil {
			return nil, err
		}
		all = append(all, m)
	}
	and := p.Tag == filterAnd
	return func(v *view) bool { // an empty and is true, an empty or is false (RFC 4526)
		for _, m := range all {
			if m(v) != and {
				return !and
			}
		}
		return and
	}, nil
}

func compileComparison(p *ber.Packet) (matcher, error) {
	if len(p.Children) != 2 {
		return nil, errFilter
	}
	name, want := attributeKey(p.Children[0].Data.String()), p.Children[1].Data.String()
	switch p.Tag {
	case filterGreater, filterLess:
		less := p.Tag == filterLess
		return anyValue(name, func(have string) bool {
			c := compare(name, have, want)
			return c == 0 || (c < 0) == less
		}), nil
	default:
		equal := equality(name, want)
		return anyValue(name, equal), nil
	}
}

func anyValue(name string, ok func(string) bool) matcher {
	return func(v *view) bool {
		for _, have := range v.values(name) {
			if ok(have) {
				return true
			}
		}
		return false
	}
}

// equality compares by the attribute's syntax.
func equality(name, want string) func(have string) bool {
	switch syntaxOf(name) {
	case syntaxDN:
		if name == "objectcategory" && !strings.Contains(want, "=") { // AD takes the class's name for its DN
			short := strings.ReplaceAll(strings.ToLower(want), "-", "")
			return func(have string) bool {
				_, cn := rdn(have)
				return strings.ReplaceAll(strings.ToLower(cn), "-", "") == short
			}
		}
		n := normal(want)
		return func(have string) bool { return normal(have) == n }
	case syntaxInteger:
		return func(have string) bool { return compare(name, have, want) == 0 }
	case syntaxBinary:
		if name == "objectsid" && strings.HasPrefix(want, "S-1-") { // and a SID as text
			return func(have string) bool { return sidText(have) == want }
		}
		return func(have string) bool { return have == want }
	default:
		return func(have string) bool { return strings.EqualFold(have, want) }
	}
}

func compare(name, a, b string) int {
	if syntaxOf(name) == syntaxInteger {
		x, errX := strconv.ParseInt(a, 10, 64)
		y, errY := strconv.ParseInt(b, 10, 64)
		if errX == nil && errY == nil {
			switch {
			case x < y:
				return -1
			case x > y:
				return 1
			}
			return 0
		}
	}
	return strings.Compare(strings.ToLower(a), strings.ToLower(b))
}

// compileSubstrings: initial 0, any 1, final 2.
func compileSubstrings(p *ber.Packet) (matcher, error) {
	if len(p.Children) != 2 {
		return nil, errFilter
	}
	name := attributeKey(p.Children[0].Data.String())
	if syntaxOf(name) == syntaxDN { // AD finds nothing by parts of a distinguished name
		return func(*view) bool { return false }, nil
	}
	parts := p.Children[1].Children
	return anyValue(name, func(have string) bool {
		rest := strings.ToLower(have)
		for _, part := range parts {
			s := strings.ToLower(part.Data.String())
			switch part.Tag {
			case 0:
				if !strings.HasPrefix(rest, s) {
					return false
				}
				rest = rest[len(s):]
			case 1:
				i := strings.Index(rest, s)
				if i < 0 {
					return false
				}
				rest = rest[i+len(s):]
			default:
				if !strings.HasSuffix(rest, s) {
					return false
				}
			}
		}
		return true
	}), nil
}

// compileExtensible knows the rules of AD; matchingRule 1, type 2, matchValue 3.
func compileExtensible(p *ber.Packet) (matcher, error) {
	var rule, name, want string
	for _, c := range p.Children {
		switch c.Tag {
		case 1:
			rule = c.Data.String()
		case 2:
			name = attributeKey(c.Data.String())
		case 3:
			want = c.Data.String()
		}
	}
	switch rule {
	case ruleBitAnd, ruleBitOr:
		bits, err := strconv.ParseInt(want, 10, 64)
		if err != nil {
			return nil, errFilter
		}
		return anyValue(name, func(have string) bool {
			n, err := strconv.ParseInt(have, 10, 64)
			if rule == ruleBitAnd {
				return err == nil && n&bits == bits
			}
			return err == nil && n&bits != 0
		}), nil
	case ruleInChain:
		group := normal(want)
		switch name {
		case "memberof":
			return func(v *view) bool { return v.store.inChain(v.entry, group) }, nil
		case "member":
			return func(v *view) bool { return v.holds(group) }, nil
		}
	case "":
		return anyValue(name, equality(name, want)), nil
	}
	return nil, fmt.Errorf("the matching rule %s on %s is not known", rule, name)
}

// attributeKey is the name without options, in lower case.
func attributeKey(name string) string {
	name, _, _ = strings.Cut(name, ";")
	return strings.ToLower(name)
}

// Syntaxes as far as comparison minds them.
const (
	syntaxText = iota
	syntaxDN
	syntaxInteger
	syntaxBinary
)

var syntaxes = func() map[string]int {
	all := map[string]int{}
	for kind, names := range map[int]string{
		syntaxDN: "member memberOf distinguishedName objectCategory serverReference siteObject nCName managedBy siteList",
		syntaxInteger: "userAccountControl primaryGroupID groupType lastLogonTimestamp lastLogon pwdLastSet accountExpires lockoutTime flags " +
			"uSNChanged uSNCreated sAMAccountType systemFlags revision logonCount msPKI-Certificate-Name-Flag msPKI-Enrollment-Flag msPKI-Private-Key-Flag " +
			"msPKI-RA-Signature msPKI-Minimal-Key-Size msPKI-Template-Schema-Version msPKI-Template-Minor-Revision msDS-SupportedEncryptionTypes",
		syntaxBinary: "objectGUID objectSid nTSecurityDescriptor cACertificate pKIExpirationPeriod pKIOverlapPeriod pKIKeyUsage tokenGroups",
	} {
		for _, n := range strings.Fields(names) {
			all[strings.ToLower(n)] = kind
		}
	}
	return all
}()

func syntaxOf(key string) int { return syntaxes[key] }
