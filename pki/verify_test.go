package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"strings"
	"testing"
	"time"
)

// signer is a CA or a leaf of these tests.
type signer struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func make509(t testing.TB, parent *signer, change func(*x509.Certificate)) *signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(noon.UnixNano()), NotBefore: noon.AddDate(-1, 0, 0), NotAfter: noon.AddDate(1, 0, 0)}
	change(tmpl)
	by := &signer{tmpl, key}
	if parent != nil {
		by = parent
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, by.cert, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &signer{c, key}
}

func authority(name string) func(*x509.Certificate) {
	return func(c *x509.Certificate) {
		c.Subject, c.IsCA, c.BasicConstraintsValid = pkix.Name{CommonName: name}, true, true
		c.KeyUsage = x509.KeyUsageCertSign
	}
}

func leaf(c *x509.Certificate) {
	c.Subject, c.DNSNames = pkix.Name{CommonName: "web01.corp.example"}, []string{"web01.corp.example"}
	c.KeyUsage, c.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
}

// handshake is what one test presents, and what the verifier knows.
type handshake struct {
	presented []*x509.Certificate
	roots     *x509.CertPool
	issuing   []*x509.Certificate
	name      string
	now       time.Time
}

func TestVerifyPresentedTellsTheFaultsApart(t *testing.T) {
	root := make509(t, nil, authority("Root"))
	issuing := make509(t, root, authority("Issuing"))
	otherRoot := make509(t, nil, authority("Somebody Else"))
	other := make509(t, otherRoot, authority("Somebody Else Issuing"))
	twin := make509(t, nil, authority("Root"))
	good := make509(t, issuing, leaf)
	under := func(ca *signer, changes ...func(*x509.Certificate)) func(*handshake) {
		return func(h *handshake) {
			c := make509(t, ca, func(c *x509.Certificate) {
				leaf(c)
				for _, change := range changes {
					change(c)
				}
			})
			h.presented[0] = c.cert
		}
	}
	changed := func(changes ...func(*x509.Certificate)) func(*handshake) { return under(issuing, changes...) }
	throughCA := func(change func(*x509.Certificate)) func(*handshake) {
		return func(h *handshake) {
			ca := make509(t, root, func(c *x509.Certificate) { authority("Issuing")(c); change(c) })
			under(ca)(h)
			h.presented[1] = ca.cert
		}
	}
	for name, c := range map[string]struct {
		spoil  func(*handshake)
		code   string
		detail string // a part of it
	}{
		"all is well":                        {func(*handshake) {}, "", ""},
		"the name is asked in another case":  {func(h *handshake) { h.name = "WEB01.corp.example" }, "", ""},
		"the root is presented too":          {func(h *handshake) { h.presented = append(h.presented, root.cert) }, "", ""},
		"chain in a jumble, with strangers":  {func(h *handshake) { h.presented = append(h.presented[:1], other.cert, issuing.cert) }, "", ""},
		"a wildcard in the alternative name": {changed(func(c *x509.Certificate) { c.DNSNames = []string{"*.corp.example"} }), "", ""},
		"no usage extension at all":          {changed(func(c *x509.Certificate) { c.ExtKeyUsage, c.KeyUsage = nil, 0 }), "", ""},
		"nothing is presented":               {func(h *handshake) { h.presented = nil }, CodeNoCertificate, "no certificate"},
		"it signed itself":                   {func(h *handshake) { h.presented = []*x509.Certificate{make509(t, nil, leaf).cert} }, CodeSelfSigned, "signed itself"},
		"an expired one that signed itself": {func(h *handshake) {
			h.presented, h.now = []*x509.Certificate{make509(t, nil, leaf).cert}, noon.AddDate(9, 0, 0)
		}, CodeSelfSigned, ""},
		"it expired":                               {changed(func(c *x509.Certificate) { c.NotAfter = noon.Add(-time.Second) }), CodeExpired, "expired 2026-11-23"},
		"it is valid from tomorrow":                {changed(func(c *x509.Certificate) { c.NotBefore = noon.AddDate(0, 0, 1) }), CodeNotYetValid, "valid from 2026-11-24"},
		"it is for another host":                   {func(h *handshake) { h.name = "web02.corp.example" }, CodeWrongName, "not for web02.corp.example"},
		"the name is in the common name alone":     {changed(func(c *x509.Certificate) { c.DNSNames = nil }), CodeWrongName, "does not count"},
		"it has no name at all":                    {changed(func(c *x509.Certificate) { c.DNSNames, c.Subject = nil, pkix.Name{} }), CodeWrongName, "no name at all"},
		"an empty name is asked":                   {func(h *handshake) { h.name = "" }, CodeWrongName, ""},
		"it is for clients":                        {changed(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), CodeWrongUsage, "server authentication"},
		"its key is for encipherment only":         {changed(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), CodeWrongUsage, "digital signatures"},
		"the CA is for clients":                    {throughCA(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), CodeWrongUsage, "a CA of the chain"},
		"the CA expired":                           {throughCA(func(c *x509.Certificate) { c.NotAfter = noon.Add(-time.Hour) }), CodeExpired, "the CA CN=Issuing expired"},
		"the CA is valid from tomorrow":            {throughCA(func(c *x509.Certificate) { c.NotBefore = noon.AddDate(0, 0, 1) }), CodeNotYetValid, "the CA CN=Issuing"},
		"the CA may issue for another domain only": {throughCA(func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"lab.example"} }), CodeUntrusted, "name constraints"},
		"the CA is no CA":                          {throughCA(func(c *x509.Certificate) { c.IsCA, c.KeyUsage = false, 0 }), CodeUntrusted, ""},
		"somebody else's chain":                    {func(h *handshake) { under(other)(h); h.presented[1] = other.cert }, CodeUntrusted, "CN=Somebody Else, which is no enterprise root"},
		"somebody else's chain with its root":      {func(h *handshake) { under(other)(h); h.presented = append(h.presented[:1], other.cert, otherRoot.cert) }, CodeUntrusted, ""},
		"a root of the same name and another key":  {func(h *handshake) { under(twin)(h); h.presented = h.presented[:1] }, CodeUntrusted, "did not sign it"},
		"that other root is presented too":         {func(h *handshake) { under(twin)(h); h.presented[1] = twin.cert }, CodeUntrusted, "did not sign it"},
		"no roots are known":                       {func(h *handshake) { h.roots = nil }, CodeUntrusted, ""},
		"the leaf alone, nothing is known":         {func(h *handshake) { h.presented = h.presented[:1] }, CodeMissingIntermediate, "issued by CN=Issuing"},
		"the leaf alone, the directory knows the CA": {func(h *handshake) {
			h.presented, h.issuing = h.presented[:1], []*x509.Certificate{other.cert, issuing.cert}
		}, CodeMissingIntermediate, "does not present CN=Issuing"},
		"a stranger's leaf alone, CAs are known": {func(h *handshake) {
			under(other)(h)
			h.presented, h.issuing = h.presented[:1], []*x509.Certificate{issuing.cert}
		}, CodeUntrusted, "CN=Somebody Else Issuing"},
	} {
		t.Run(name, func(t *testing.T) {
			h := handshake{[]*x509.Certificate{good.cert, issuing.cert}, x509.NewCertPool(), nil, "web01.corp.example", noon}
			h.roots.AddCert(root.cert)
			c.spoil(&h)
			chain, err := VerifyPresented(h.presented, h.roots, h.name, h.now, h.issuing...)
			if c.code == "" {
				if err != nil || len(chain) != 3 || !chain[0].Equal(h.presented[0]) || !chain[2].Equal(root.cert) {
					t.Fatalf("%d certificates, %v", len(chain), err)
				}
				return
			}
			var p *Problem
			if !errors.As(err, &p) || p.Code != c.code || !strings.Contains(p.Detail, c.detail) || p.Hint() == "" {
				t.Fatalf("want %s with %q, got %v", c.code, c.detail, err)
			}
			if (chain != nil) != (p.Code == CodeMissingIntermediate && h.issuing != nil) {
				t.Fatalf("a chain of %d beside the problem %v", len(chain), err)
			}
		})
	}
}

func TestVerifyPresentedNamesWeakSignatures(t *testing.T) {
	roots := x509.NewCertPool()
	roots.AddCert(written(t, "root"))
	issuing, sha1ca := written(t, "issuing"), written(t, "sha1ca")
	for name, c := range map[string]struct {
		presented []*x509.Certificate
		issuing   []*x509.Certificate
		code      string
		detail    string
	}{
		"SHA-256 throughout":                     {[]*x509.Certificate{written(t, "v2"), issuing}, nil, "", ""},
		"the leaf has SHA-1":                     {[]*x509.Certificate{written(t, "sha1leaf"), issuing}, nil, CodeWeakChain, "CN=web01.corp.example is signed with ECDSA-SHA1"},
		"the CA has SHA-1":                       {[]*x509.Certificate{written(t, "below-sha1"), sha1ca}, nil, CodeWeakChain, "CN=CORP-OLD-CA,DC=corp,DC=example is signed"},
		"the CA that is not presented has SHA-1": {[]*x509.Certificate{written(t, "below-sha1")}, []*x509.Certificate{sha1ca}, CodeWeakChain, "CN=CORP-OLD-CA"},
	} {
		t.Run(name, func(t *testing.T) {
			now := c.presented[0].NotBefore.Add(time.Hour)
			_, err := VerifyPresented(c.presented, roots, "web01.corp.example", now, c.issuing...)
			var p *Problem
			if c.code == "" && err == nil {
				return
			}
			if !errors.As(err, &p) || p.Code != c.code || !strings.Contains(p.Detail, c.detail) {
				t.Fatalf("want %q, got %v", c.code, err)
			}
		})
	}
}

// A handshake may carry certificates that issue one another in a circle.
func TestVerifyPresentedEndsInACircle(t *testing.T) {
	a := make509(t, nil, authority("A"))
	b := make509(t, a, authority("B"))
	again := make509(t, b, authority("A"))
	presented := []*x509.Certificate{make509(t, b, leaf).cert, b.cert, again.cert}
	for range 100 {
		presented = append(presented, b.cert, again.cert, nil)
	}
	_, err := VerifyPresented(presented, x509.NewCertPool(), "web01.corp.example", noon)
	var p *Problem
	if !errors.As(err, &p) || p.Code != CodeUntrusted {
		t.Fatal(err)
	}
}

func TestEveryCodeHasAHint(t *testing.T) {
	for code, hint := range problemHints {
		if p := (&Problem{Code: code}); hint == "" || p.Error() != code || p.Hint() != hint {
			t.Errorf("%s: %q", code, p.Error())
		}
	}
}

func TestUntrusted(t *testing.T) {
	t.Parallel()
	root := make509(t, nil, authority("Root"))
	issuing := make509(t, root, authority("Issuing"))
	stranger := make509(t, nil, authority("Somebody Else"))
	pool := x509.NewCertPool()
	pool.AddCert(root.cert)
	between := []*x509.Certificate{issuing.cert}
	of := func(ca *signer, changes ...func(*x509.Certificate)) []byte {
		return make509(t, ca, func(c *x509.Certificate) {
			leaf(c)
			for _, change := range changes {
				change(c)
			}
		}).cert.Raw
	}
	for name, c := range map[string]struct {
		der     []byte
		roots   *x509.CertPool
		between []*x509.Certificate
		want    string // a part of it; empty: trusted
	}{
		"the forest's":            {of(issuing), pool, between, ""},
		"of the root itself":      {of(root), pool, nil, ""},
		"for clients only":        {of(issuing, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }), pool, between, ""},
		"it ended":                {of(issuing, func(c *x509.Certificate) { c.NotAfter = noon.Add(-time.Hour) }), pool, between, ""},
		"it begins tomorrow":      {of(issuing, func(c *x509.Certificate) { c.NotBefore = noon.Add(24 * time.Hour) }), pool, between, ""},
		"the CA is not published": {of(issuing), pool, nil, "issued by CN=Issuing, from where no chain leads"},
		"an agent's own":          {of(nil), pool, between, "no chain leads"},
		"another CA's":            {of(stranger), pool, between, "issued by CN=Somebody Else"},
		"another CA's, published": {of(stranger), pool, []*x509.Certificate{stranger.cert}, "issued by CN=Somebody Else"},
		"no roots":                {of(issuing), nil, between, "no chain leads"},
		"no certificate":          {[]byte("MZ"), pool, between, "x509"},
	} {
		if got := Untrusted(c.der, c.roots, c.between, noon); (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
	if got := Untrusted(of(issuing), pool, between, noon.AddDate(2, 0, 0)); got != "" {
		t.Errorf("two years later: %q", got) // who asks later asks what the certificate was worth while it was valid
	}
}
