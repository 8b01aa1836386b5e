package ldaptest

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
)

// Controls that are known.
const (
	oidPaging       = "1.2.840.113556.1.4.319" // RFC 2696
	oidSDFlags      = "1.2.840.113556.1.4.801" // [MS-ADTS] 3.1.1.3.4.1.11
	oidDomainScope  = "1.2.840.113556.1.4.1339"
	oidManageDsaIT  = "2.16.840.1.113730.3.4.2"
	oidShowDeleted  = "1.2.840.113556.1.4.417"
	oidSearchOption = "1.2.840.113556.1.4.1340"
)

// Scopes, RFC 4511 4.5.1.2.
const (
	scopeBase = iota
	scopeOne
	scopeSubtree
)

// search is one request, taken apart.
type search struct {
	base      string // normal
	scope     int64
	sizeLimit int
	match     matcher
	filter    *ber.Packet
	attrs     []string
	typesOnly bool

	paging      bool
	pageSize    int
	cookie      string
	sd          uint32
	sdAsked     bool
	domainScope bool
}

func parseSearch(q *request) (*search, error) {
	p := q.op.Children
	if len(p) != 8 {
		return nil, errMalformed
	}
	scope, ok1 := p[1].Value.(int64)
	limit, ok2 := p[3].Value.(int64)
	if !ok1 || !ok2 || scope < scopeBase || scope > scopeSubtree || limit < 0 {
		return nil, errMalformed
	}
	s := &search{base: normal(p[0].Data.String()), scope: scope, sizeLimit: int(limit), filter: p[6]}
	s.typesOnly, _ = p[5].Value.(bool)
	var err error
	if s.match, err = compile(p[6], 0); err != nil {
		return nil, &refusal{code: protocolError, text: "0000208F: LdapErr: DSID-0C0C0052, comment: " + err.Error() + ", data 0, v4563\x00"}
	}
	for _, a := range p[7].Children {
		s.attrs = append(s.attrs, a.Data.String())
	}
	refused := s.parseControls(q.controls)
	return s, refused
}

func (s *search) parseControls(controls []control) error {
	for _, ctl := range controls {
		p, err := ber.DecodePacketErr(ctl.value)
		switch ctl.oid {
		case oidPaging:
			if err != nil || len(p.Children) != 2 {
				return errControl
			}
			n, ok := p.Children[0].Value.(int64)
			if !ok || n < 0 || n > 1<<31-1 {
				return errControl
			}
			s.paging, s.pageSize, s.cookie = true, int(n), p.Children[1].Data.String()
		case oidSDFlags:
			if err != nil || len(p.Children) != 1 {
				return errControl
			}
			n, _ := p.Children[0].Value.(int64)
			s.sd, s.sdAsked = uint32(n), true
		case oidDomainScope:
			s.domainScope = true
		case oidManageDsaIT, oidShowDeleted, oidSearchOption:
		default:
			if ctl.critical {
				return errControl
			}
		}
	}
	return nil
}

func (c *conn) handleSearch(q *request) error {
	c.server.Searches.Add(1)
	done := func(err error, controls []byte) error {
		return c.reply(q, opSearchDone, resultBody(err), controls)
	}
	s, err := parseSearch(q)
	if err != nil {
		return done(err, nil)
	}
	if s.base == "" && s.scope == scopeBase {
		if _, err := c.out.Write(entryMessage(q.id, "", c.server.rootDSE(s.attrs))); err != nil {
			return err
		}
		return done(nil, nil)
	}
	if c.user == "" {
		return done(errNeedsBind, nil)
	}
	f := c.server.faults.Load()
	switch {
	case f.Hang:
		return nil
	case f.Refer != "":
		return done(&refusal{code: referral, text: "0000202B: RefErr: DSID-0310082F, data 0, 1 access points\n\x00", referrals: []string{f.Refer}}, nil)
	case f.Busy:
		return done(&refusal{code: 51, text: "0000200E: SvcErr: DSID-020A00E8, problem 5001 (BUSY), data 0\n\x00"}, nil)
	case f.EndlessPages && s.paging:
		return done(nil, pagingControl("again"))
	}
	if err := c.server.locate(s.base); err != nil {
		return done(err, nil)
	}
	return c.answer(q, s, done)
}

// locate checks the base: it has to exist, here.
func (s *Server) locate(base string) error {
	if !below(base, normal(s.base)) {
		return &refusal{code: referral, text: "0000202B: RefErr: DSID-0310082F, data 0, 1 access points\n\x00", referrals: []string{"ldap://elsewhere.example/" + base}}
	}
	if s.store.find(base) != nil {
		return nil
	}
	best := base
	for best != "" && s.store.find(best) == nil {
		best = parent(best)
	}
	return &refusal{code: noSuchObject, matched: best, text: "0000208D: NameErr: DSID-0310028B, problem 2001 (NO_OBJECT), data 0, best match of:\n\t'" + best + "'\n\x00"}
}

// answer gives one page, or all that may be given without paging.
func (c *conn) answer(q *request, s *search, done func(error, []byte) error) error {
	from := 0
	if s.cookie != "" {
		at, ok := c.cookies[s.cookie]
		if !ok {
			return done(errControl, nil)
		}
		delete(c.cookies, s.cookie)
		from = at
	}
	if s.paging && s.pageSize == 0 { // the client gives the search up, RFC 2696 3
		return done(nil, pagingControl(""))
	}
	page, n, next := c.server.page(q.id, s, from)
	if c.drops(page) {
		return errHangUp
	}
	if _, err := c.out.Write(page); err != nil {
		return err
	}
	c.server.Entries.Add(int64(n))
	if next < 0 {
		if err := c.references(q, s); err != nil {
			return err
		}
	}
	return c.endPage(s, next, done)
}

// drops closes the connection with half of a page on the wire, when that fault is on.
func (c *conn) drops(page []byte) bool {
	f := c.server.faults.Load()
	if f.DropAfterPages == 0 || c.server.pages.Load() < int64(max(f.DropAfterPages, 0)) {
		return false
	}
	c.out.Write(page[:len(page)/2])
	c.out.Flush()
	return true
}

func (c *conn) endPage(s *search, next int, done func(error, []byte) error) error {
	pages := c.server.pages.Add(1)
	f := c.server.faults.Load()
	switch {
	case !s.paging && next >= 0:
		return done(&refusal{code: sizeLimitExceeded}, nil)
	case f.SizeLimit:
		return done(&refusal{code: sizeLimitExceeded}, nil)
	case !s.paging || f.OmitPaging:
		return done(nil, nil)
	case next < 0:
		return done(nil, pagingControl(""))
	}
	c.cookie++
	cookie := fmt.Sprintf("%08x%s", c.cookie, c.raw.RemoteAddr())
	if f.LoseCookieAfterPages == 0 || pages < int64(f.LoseCookieAfterPages) {
		c.cookies[cookie] = next
	}
	return done(nil, pagingControl(cookie))
}

func pagingControl(cookie string) []byte {
	value := appendInteger(nil, tagInteger, 0)
	value = appendTLV(nil, tagSequence, appendString(value, tagOctets, cookie))
	body := appendString(nil, tagOctets, oidPaging)
	return appendTLV(nil, tagSequence, appendTLV(body, tagOctets, value))
}

// references are the other partitions below the domain, as a search of the whole domain gets them.
func (c *conn) references(q *request, s *search) error {
	if s.base != normal(c.server.base) || s.scope != scopeSubtree || s.domainScope {
		return nil
	}
	dns := c.server.cfg.Directory.DNS()
	urls := []string{
		"ldap://ForestDnsZones." + dns + "/DC=ForestDnsZones," + c.server.base,
		"ldap://DomainDnsZones." + dns + "/DC=DomainDnsZones," + c.server.base,
		"ldap://" + dns + "/" + c.server.config,
	}
	if child := c.server.faults.Load().ChildDomain; child != "" {
		urls = append(urls, "ldap://"+child+"."+dns+"/DC="+child+","+c.server.base)
	}
	for _, url := range urls {
		if err := c.reply(q, opSearchReference, appendString(nil, tagOctets, url), nil); err != nil {
			return err
		}
	}
	return nil
}

// page encodes entries while the store is locked; they are written afterwards.
func (s *Server) page(id int64, q *search, from int) (encoded []byte, n, next int) {
	limit := s.cfg.MaxPageSize
	if q.paging {
		limit = min(limit, q.pageSize)
	}
	if q.sizeLimit > 0 {
		limit = min(limit, q.sizeLimit)
	}
	if s.faults.Load().IgnorePageSize {
		limit = math.MaxInt
	}
	configuration := normal(s.config)
	ofConfig := below(q.base, configuration)
	next = s.store.scan(from, q.base, func(e *Entry) bool {
		dn := normal(e.DN)
		if !q.inScope(dn) || below(dn, configuration) != ofConfig {
			return true
		}
		v := &view{s.store, e}
		if !q.match(v) {
			return true
		}
		if n == limit {
			return false
		}
		n++
		encoded = append(encoded, entryMessage(id, e.DN, s.choose(v, q))...)
		return true
	})
	return encoded, n, next
}

func (q *search) inScope(dn string) bool {
	switch q.scope {
	case scopeBase:
		return dn == q.base
	case scopeOne:
		return parent(dn) == q.base
	}
	return below(dn, q.base)
}

// entryMessage is a SearchResultEntry.
func entryMessage(id int64, dn string, attrs []Attribute) []byte {
	var list []byte
	for _, a := range attrs {
		var values []byte
		for _, v := range a.Values {
			values = appendString(values, tagOctets, v)
		}
		one := appendString(nil, tagOctets, a.Name)
		list = appendTLV(list, tagSequence, appendTLV(one, tagSet, values))
	}
	content := appendString(nil, tagOctets, dn)
	return message(id, opSearchEntry, appendTLV(content, tagSequence, list), nil)
}

var errRange = errors.New("no range")

// parseRange reads range=0-499 or range=1500-*; last is -1 for all.
func parseRange(option string) (first, last int, err error) {
	var from, to string
	for i := range option {
		if option[i] == '-' {
			from, to = option[:i], option[i+1:]
		}
	}
	if first, err = strconv.Atoi(from); err != nil || first < 0 {
		return 0, 0, errRange
	}
	if to == "*" {
		return first, -1, nil
	}
	if last, err = strconv.Atoi(to); err != nil || last < first {
		return 0, 0, errRange
	}
	return first, last, nil
}

// rootDSE is [MS-ADTS] 3.1.1.3.2.
func (s *Server) rootDSE(attrs []string) []Attribute {
	mechanisms := []string{"GSSAPI", "GSS-SPNEGO", "EXTERNAL", "DIGEST-MD5"}
	e := Entry{Attributes: []Attribute{
		{"defaultNamingContext", []string{s.base}},
		{"rootDomainNamingContext", []string{s.base}},
		{"configurationNamingContext", []string{s.config}},
		{"schemaNamingContext", []string{"CN=Schema," + s.config}},
		{"namingContexts", []string{s.base, s.config, "CN=Schema," + s.config}},
		{"dnsHostName", []string{s.cfg.Host}},
		{"serverName", []string{s.serverDN()}},
		{"ldapServiceName", []string{s.cfg.Directory.DNS() + ":" + s.host.NetBIOSName + "$@" + s.cfg.Directory.Realm()}},
		{"supportedLDAPVersion", []string{"3", "2"}},
		{"supportedSASLMechanisms", mechanisms},
		{"supportedControl", []string{oidPaging, oidSDFlags, oidDomainScope, oidShowDeleted, oidSearchOption}},
		{"supportedExtension", []string{oidStartTLS, oidWhoAmI}},
		{"supportedCapabilities", []string{"1.2.840.113556.1.4.800", "1.2.840.113556.1.4.1670", "1.2.840.113556.1.4.1791"}},
		{"domainFunctionality", []string{"7"}},
		{"forestFunctionality", []string{"7"}},
		{"currentTime", []string{time.Now().Add(s.faults.Load().ClockAhead).UTC().Format("20060102150405.0Z")}},
		{"isGlobalCatalogReady", []string{"FALSE"}},
		{"isSynchronized", []string{"TRUE"}},
	}}
	var chosen []Attribute
	for _, a := range e.Attributes {
		if wanted(attrs, a.Name) {
			chosen = append(chosen, a)
		}
	}
	return chosen
}
