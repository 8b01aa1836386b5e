package machine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"wavelock/pki"
	"wavelock/rollout"
)

// caStores are the stores of a computer that have certificates of CAs, below SOFTWARE\Microsoft.
var caStores = []string{`SystemCertificates\CA`, `SystemCertificates\ROOT`, `EnterpriseCertificates\CA`, `EnterpriseCertificates\Root`, `EnterpriseCertificates\NTAuth`}

// Bounds of one look: the command line has 8191 characters.
const (
	mostIssuers = 3
	mostKeys    = 8
)

// readClientKeys reads who may use the private keys that event forwarding may log on with. It asks only a host that is
// told to forward with a certificate: no other service as NETWORK SERVICE needs a key that is ours to look at.
func (m *Machine) readClientKeys(ctx context.Context, d *door, o rollout.Observation) ([]rollout.ClientKey, error) {
	cas, needed := issuers(o.Uses.Value.Forwards)
	switch {
	case !o.Uses.Known:
		return nil, fmt.Errorf("where the host forwards events to was not read: %s", o.Uses.Why)
	case !needed:
		return nil, nil
	case !o.Certificates.Known:
		return nil, fmt.Errorf("the certificates were not read: %s", o.Certificates.Why)
	}
	certs := shown(o.Certificates.Value, m.cfg.Now())
	if len(certs) == 0 {
		return nil, nil
	}
	asked := certs[:min(len(certs), mostKeys)]
	var thumbs []pki.Thumbprint
	for _, c := range asked {
		thumbs = append(thumbs, c.Thumbprint)
	}
	res, err := d.run(ctx, keysLine(cas, thumbs))
	if err != nil {
		return nil, err
	}
	parts := strings.Split(string(res.Stdout), section)
	n := len(cas) * len(caStores)
	if len(parts) != 1+n+len(asked) {
		return nil, fmt.Errorf("the host answered %d of %d questions about keys", len(parts)-1, n+len(asked))
	}
	return clientKeys(certs, parts[1+n:], issuerNames(parts[1:1+n])), nil
}

// issuers are the CAs that the host's certificate has to be from, and whether it needs one at all.
func issuers(forwards []rollout.Forwarding) (cas []pki.Thumbprint, needed bool) {
	for _, f := range forwards {
		if !f.HTTPS || !f.ByCertificate {
			continue
		}
		needed = true
		if f.IssuerCA != "" && !slices.Contains(cas, f.IssuerCA) && len(cas) < mostIssuers {
			cas = append(cas, f.IssuerCA)
		}
	}
	return cas, needed
}

// shown are the certificates that a client may show, the newest first.
func shown(certs []pki.Certificate, now time.Time) []pki.Certificate {
	var out []pki.Certificate
	for _, c := range certs {
		if c.HasKey && !c.Archived && c.ClientAuth && c.Thumbprint != "" && !now.Before(c.NotBefore) && now.Before(c.NotAfter) {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(a, b pki.Certificate) int { return b.NotBefore.Compare(a.NotBefore) })
	return out
}

// issuerNames are the names of the CAs that were found in a store.
func issuerNames(parts []string) []string {
	var names []string
	for _, p := range parts {
		for _, k := range parseRegQuery(p) {
			v, _ := k.value("Blob")
			blob, err := v.binary()
			if err != nil {
				continue
			}
			if ca, _, err := storeEntry(blob); err == nil && !slices.Contains(names, ca.Subject) {
				names = append(names, ca.Subject)
			}
		}
	}
	return names
}

// clientKeys takes the SDDL from each answer of certutil -v -store My. Two of its answers have been published, of a key of
// the Microsoft Strong Cryptographic Provider, D:PAI(A;;GAGR;;;BA)(A;;GAGR;;;SY), and of one of nCipher's key storage
// provider, D:AI(A;ID;FA;;;SY)(A;ID;FA;;;BA)(A;ID;0x1200a9;;;BU); none of Microsoft's own key storage provider or of a TPM.
// Where there is no such line, it is not known who may use the key. A computer with several certificates shows the one
// that the CA of the policy issued; where that CA itself issued none of them, or is not found, each may be the one.
func clientKeys(certs []pki.Certificate, answers, cas []string) []rollout.ClientKey {
	fits := func(c pki.Certificate) bool { return slices.Contains(cas, c.Issuer) }
	narrow := slices.ContainsFunc(certs, fits)
	var keys []rollout.ClientKey
	for i, c := range certs {
		if narrow && !fits(c) {
			continue
		}
		k := rollout.ClientKey{Thumbprint: c.Thumbprint, Subject: c.Subject}
		if i < len(answers) {
			k.ACL, k.Why = sddlIn(answers[i])
		} else {
			k.Why = fmt.Sprintf("the computer has %d certificates, and only %d were looked at", len(certs), len(answers))
		}
		keys = append(keys, k)
	}
	return keys
}

// sddlIn finds the line with the DACL. Two that differ are none.
func sddlIn(answer string) (acl, why string) {
	for line := range strings.Lines(answer) {
		line = strings.TrimSpace(line)
		if _, err := pki.ParseSDDL(line); err != nil || !strings.Contains(line, "D:") {
			continue
		}
		if acl != "" && acl != line {
			return "", "certutil -v printed more than one list of rights"
		}
		acl = strings.Clone(line)
	}
	if acl == "" {
		return "", "certutil -v printed no list of rights for it"
	}
	return acl, ""
}
