package logontest

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/subtle"
	"strings"
	"sync"
	"unicode/utf16"

	"golang.org/x/crypto/md4" //nolint:staticcheck // [MS-NLMP] 3.3.1 wants it
)

// Directory is the accounts of one domain. It is safe for concurrent use.
type Directory struct {
	netBIOS, dns string

	mu       sync.RWMutex       // guards accounts
	accounts map[string]account // by lower-case user name
}

type account struct {
	name, password string
	groups         []string
}

// NewDirectory makes the empty directory of a domain, for example CORP and corp.example.
func NewDirectory(netBIOS, dns string) *Directory {
	return &Directory{netBIOS: strings.ToUpper(netBIOS), dns: strings.ToLower(dns), accounts: map[string]account{}}
}

// NetBIOS is the short name of the domain, such as CORP.
func (d *Directory) NetBIOS() string { return d.netBIOS }

// DNS is the DNS name of the domain, such as corp.example.
func (d *Directory) DNS() string { return d.dns }

// Realm is the Kerberos realm of the domain, such as CORP.EXAMPLE.
func (d *Directory) Realm() string { return strings.ToUpper(d.dns) }

// Add creates an account or gives it a new password, and makes it a member of the groups.
func (d *Directory) Add(user, password string, groups ...string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.accounts[strings.ToLower(user)] = account{name: user, password: password, groups: groups}
}

// Check answers a simple bind or Basic: name may be user, CORP\user or user@corp.example.
func (d *Directory) Check(name, password string) bool {
	a, ok := d.find(split(name))
	return ok && subtle.ConstantTimeCompare([]byte(a.password), []byte(password)) == 1
}

// MemberOf tells if the account, named as for Check, is a member of the group.
func (d *Directory) MemberOf(name, group string) bool {
	a, _ := d.find(split(name))
	for _, g := range a.groups {
		if strings.EqualFold(g, group) {
			return true
		}
	}
	return false
}

// split takes CORP\user or user@corp.example apart.
func split(name string) (domain, user string) {
	if domain, user, ok := strings.Cut(name, `\`); ok {
		return domain, user
	}
	if i := strings.LastIndexByte(name, '@'); i >= 0 {
		return name[i+1:], name[:i]
	}
	return "", name
}

// find accepts the short and the DNS name of the domain, no domain at all, and a UPN as user name.
func (d *Directory) find(domain, user string) (account, bool) {
	if domain == "" {
		domain, user = split(user)
	}
	if domain != "" && !strings.EqualFold(domain, d.netBIOS) && !strings.EqualFold(domain, d.dns) {
		return account{}, false
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	a, ok := d.accounts[strings.ToLower(user)]
	return a, ok
}

// ntowfv2 is NTOWFv2 of [MS-NLMP] 3.3.2: domain and user count as the client wrote them.
func (a account) ntowfv2(domain, user string) []byte {
	h := md4.New()
	h.Write(utf16le(a.password))
	return hmacMD5(h.Sum(nil), utf16le(strings.ToUpper(user)+domain))
}

func hmacMD5(key []byte, parts ...[]byte) []byte {
	m := hmac.New(md5.New, key)
	for _, p := range parts {
		m.Write(p)
	}
	return m.Sum(nil)
}

func utf16le(s string) []byte {
	units := utf16.Encode([]rune(s))
	b := make([]byte, 0, 2*len(units))
	for _, u := range units {
		b = append(b, byte(u), byte(u>>8))
	}
	return b
}

func fromUTF16LE(b []byte) string {
	units := make([]uint16, len(b)/2)
	for i := range units {
		units[i] = uint16(b[2*i]) | uint16(b[2*i+1])<<8
	}
	return string(utf16.Decode(units))
}
