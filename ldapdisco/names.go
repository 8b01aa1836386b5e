package ldapdisco

import (
	"context"
	"encoding/binary"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-ldap/ldap/v3"
)

// Names gives the names of accounts and groups by their SIDs, as far as the domain has them.
func (d *Directory) Names(ctx context.Context, sids []string) (map[string]string, error) {
	const atOnce = 50 // in one filter
	names := map[string]string{}
	for len(sids) > 0 {
		n := min(atOnce, len(sids))
		var any []string
		for _, sid := range sids[:n] {
			if raw, err := packSID(sid); err == nil {
				any = append(any, "(objectSid="+escapeBytes(raw)+")")
			}
		}
		sids = sids[n:]
		if len(any) == 0 {
			continue
		}
		found, err := d.all(ctx, query{op: "look up the names of SIDs", base: d.root.base, scope: ldap.ScopeWholeSubtree, filter: oneOf(any), attrs: []string{"objectSid", "sAMAccountName"}})
		if err != nil {
			return nil, err
		}
		for _, e := range found {
			if sid, err := parseSID(e.bytes("objectSid")); err == nil {
				names[sid] = e.text("sAMAccountName")
			}
		}
	}
	return names, nil
}

// packSID is the binary form of a SID, [MS-DTYP] 2.4.2.2.
func packSID(sid string) ([]byte, error) {
	parts := strings.Split(sid, "-")
	if len(parts) < 3 || len(parts) > 3+maxSubAuthorities || parts[0] != "S" || parts[1] != "1" {
		return nil, fmt.Errorf("%q is no SID", sid)
	}
	authority, err := strconv.ParseUint(parts[2], 0, 48)
	if err != nil {
		return nil, fmt.Errorf("%q is no SID: %w", sid, err)
	}
	b := binary.BigEndian.AppendUint64(nil, authority)
	b[0], b[1] = 1, byte(len(parts)-3)
	for _, p := range parts[3:] {
		n, err := strconv.ParseUint(p, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%q is no SID: %w", sid, err)
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(n))
	}
	return b, nil
}

// escapeBytes writes every byte as a filter wants it, RFC 4515 3.
func escapeBytes(raw []byte) string {
	var b strings.Builder
	for _, c := range raw {
		fmt.Fprintf(&b, `\%02x`, c)
	}
	return b.String()
}

// LinkedPolicies are the issuance policies whose holders are taken for members of a group (msDS-OIDToGroupLink), with
// the distinguished name of the group.
func (d *Directory) LinkedPolicies(ctx context.Context) (map[string]string, error) {
	found, err := d.all(ctx, query{op: "list the issuance policies", base: d.underServices("CN=OID"), scope: ldap.ScopeSingleLevel,
		filter: "(&(objectClass=msPKI-Enterprise-Oid)(msDS-OIDToGroupLink=*))", attrs: []string{"msPKI-Cert-Template-OID", "msDS-OIDToGroupLink"}})
	if err != nil {
		return nil, err
	}
	linked := map[string]string{}
	for _, e := range found {
		if oid := e.text("msPKI-Cert-Template-OID"); oid != "" {
			linked[oid] = e.text("msDS-OIDToGroupLink")
		}
	}
	return linked, nil
}

// keyNumber is what a CA adds to its name for the lists of its second and later keys: CRLNameSuffix, %8 in its addresses.
var keyNumber = regexp.MustCompile(`\([0-9]+\)$`)

// RevocationLists are the lists that lie in the directory, DER, by the common name of their CA, those of all its keys.
func (d *Directory) RevocationLists(ctx context.Context) (map[string][][]byte, error) {
	found, err := d.all(ctx, query{op: "read the lists of revoked certificates", base: d.underServices("CN=CDP"), scope: ldap.ScopeWholeSubtree,
		filter: "(objectClass=cRLDistributionPoint)", attrs: []string{"cn", "certificateRevocationList"}})
	if err != nil {
		return nil, err
	}
	lists := map[string][][]byte{}
	for _, e := range found {
		name := firstName(e.DN)
		ca := keyNumber.ReplaceAllString(name, "")
		for _, der := range e.allBytes("certificateRevocationList") {
			if len(der) > 1 { // an object that waits for its first list holds a single zero byte
				lists[name] = append(lists[name], der)
				if ca != name {
					lists[ca] = append(lists[ca], der)
				}
			}
		}
	}
	return lists, nil
}

// Token are the SIDs of an account as a logon has them: its own, and all its groups; none if the domain has no such
// account. The name is a sAMAccountName.
func (d *Directory) Token(ctx context.Context, account string) ([]string, error) {
	found, err := d.all(ctx, query{op: "find the account " + account, base: d.root.base, scope: ldap.ScopeWholeSubtree,
		filter: "(sAMAccountName=" + ldap.EscapeFilter(account) + ")", attrs: []string{"objectSid"}})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	own, err := parseSID(found[0].bytes("objectSid"))
	if err != nil {
		return nil, d.fail("find the account "+account, err)
	}
	groups, err := d.GroupSIDs(ctx, found[0].DN)
	return append([]string{own}, groups...), err
}
