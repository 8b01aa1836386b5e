package pki

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// revoked is an answer about revocation, as the driver gives it.
type revoked bool

func (r revoked) Error() string { return "nobody knows" }
func (r revoked) Revoked() bool { return bool(r) }

// goodForest is a root with an issuing CA beneath it that publishes a template.
func goodForest(t testing.TB) (Inventory, *signer, *signer) {
	t.Helper()
	root := make509(t, nil, func(c *x509.Certificate) {
		authority("CORP Root CA")(c)
		c.NotAfter, c.KeyUsage = noon.AddDate(9, 0, 0), x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	})
	issuing := make509(t, root, func(c *x509.Certificate) {
		authority("CORP-CA01-CA")(c)
		c.NotAfter, c.KeyUsage = noon.AddDate(5, 0, 0), x509.KeyUsageCertSign|x509.KeyUsageCRLSign
	})
	ca := Authority{Name: "CORP-CA01-CA", Host: "ca01.corp.example", Certificates: [][]byte{issuing.cert.Raw}, Templates: []string{"WinRMHTTPS"},
		SecurityDescriptor: sddl(t, templateHead+templateAdmins+templateRead)}
	return Inventory{Forest: Forest{Roots: [][]byte{root.cert.Raw}, NTAuth: [][]byte{issuing.cert.Raw}, Intermediates: [][]byte{issuing.cert.Raw}},
		Authorities: []Authority{ca}, Templates: []Template{goodTemplate(t)},
		Wanted: []Wanted{{Template: "WinRMHTTPS", Hosts: 3, Use: Use{Route: Self, MinLeft: 14 * day, Tokens: []Token{{SIDs: []string{domainComputers}, Hosts: 3, Example: "web01"}}}}}}, root, issuing
}

// list makes a CRL of the CA that should be replaced then.
func list(t *testing.T, by *signer, next time.Time) []byte {
	t.Helper()
	der, err := x509.CreateRevocationList(nil, &x509.RevocationList{Number: by.cert.SerialNumber, ThisUpdate: next.AddDate(0, 0, -7), NextUpdate: next}, by.cert, by.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestAGoodForestHasNoFindings(t *testing.T) {
	inv, _, issuing := goodForest(t)
	inv.Authorities[0].Lists = [][]byte{list(t, issuing, noon.AddDate(0, 0, 3))}
	all := Audit(inv, noon)
	if len(all) != 3 || all[0].Kind != KindAuthority || all[1].Kind != KindRoot || all[2].Kind != KindTemplate {
		t.Fatalf("%+v", all)
	}
	for _, j := range all {
		if len(j.Findings) != 0 {
			t.Errorf("%s %s: %+v", j.Kind, j.Name, j.Findings)
		}
	}
	if Worst(all) != "" || all[2].Hosts != 3 || all[2].Route != Self || !slices.Equal(all[2].Issuers, []string{"CORP-CA01-CA"}) {
		t.Errorf("%+v", all[2])
	}
	if chain := inv.ChainOf(inv.Authorities[0], noon); len(chain) != 2 {
		t.Errorf("a chain of %d", len(chain))
	}
}

func TestEachFaultOfACAIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		change func(t *testing.T, inv *Inventory, a *Authority, root, issuing *signer)
		at     time.Time
		want   []string
	}{
		"no certificate":             {func(_ *testing.T, _ *Inventory, a *Authority, _, _ *signer) { a.Certificates = nil }, noon, []string{"!ca-no-certificate"}},
		"a broken certificate":       {func(_ *testing.T, _ *Inventory, a *Authority, _, _ *signer) { a.Certificates = [][]byte{{0x30, 1}} }, noon, []string{"!ca-no-certificate"}},
		"expired":                    {nil, noon.AddDate(6, 0, 0), []string{"!ca-expired"}},
		"ends soon":                  {nil, noon.AddDate(4, 10, 0), []string{"?ca-expires-soon", "ca-cuts-validity"}},
		"ends before what it issues": {nil, noon.AddDate(4, 3, 0), []string{"ca-cuts-validity"}},
		"no root":                    {func(_ *testing.T, inv *Inventory, _ *Authority, _, _ *signer) { inv.Roots = nil }, noon, []string{"!ca-untrusted"}},
		"not in NTAuth":              {func(_ *testing.T, inv *Inventory, _ *Authority, _, _ *signer) { inv.NTAuth = nil }, noon, []string{"?ca-not-in-ntauth"}},
		"revoked":                    {func(_ *testing.T, _ *Inventory, a *Authority, _, _ *signer) { a.Doubt = revoked(true) }, noon, []string{"!ca-revoked"}},
		"nobody knows":               {func(_ *testing.T, _ *Inventory, a *Authority, _, _ *signer) { a.Doubt = revoked(false) }, noon, []string{"?ca-revocation-unknown"}},
		"another error":              {func(_ *testing.T, _ *Inventory, a *Authority, _, _ *signer) { a.Doubt = errors.New("x") }, noon, []string{"?ca-revocation-unknown"}},
		"a stale list": {func(t *testing.T, _ *Inventory, a *Authority, _, issuing *signer) {
			a.Lists = [][]byte{list(t, issuing, noon.Add(-time.Hour))}
		}, noon, []string{"?ca-list-stale"}},
		"a broken list": {func(_ *testing.T, _ *Inventory, a *Authority, _, _ *signer) { a.Lists = [][]byte{{1, 2, 3}} }, noon, []string{"?ca-list-stale"}},
		"a list of an older key": {func(t *testing.T, _ *Inventory, a *Authority, root, _ *signer) {
			a.Lists = [][]byte{list(t, root, noon.Add(-time.Hour))}
		}, noon, nil},
		"web enrollment": {func(_ *testing.T, _ *Inventory, a *Authority, _, _ *signer) {
			a.Web = []string{"https://ca01/certsrv/"}
		}, noon, []string{"?ca-web-enrollment"}},
		"takes unsealed requests": {func(_ *testing.T, _ *Inventory, a *Authority, _, _ *signer) { a.Unsealed = Taken }, noon, []string{"!esc11"}},
		"web enrollment in clear": {func(_ *testing.T, _ *Inventory, a *Authority, _, _ *signer) { a.Web = []string{"http://ca01/certsrv/"} }, noon, []string{"!esc8"}},
		"enrollment services": {func(_ *testing.T, _ *Inventory, a *Authority, _, _ *signer) {
			a.EnrollmentServers = []string{"1\n2\n0\nhttps://ca01.corp.example/CORP-CA01-CA_CES_Kerberos/service.svc/CES\n0"}
		}, noon, []string{"ca-enrollment-service"}},
		"its object is open": {func(t *testing.T, _ *Inventory, a *Authority, _, _ *signer) {
			a.SecurityDescriptor = sddl(t, templateHead+templateAdmins+"(A;;LCRPWPLORCWDWO;;;AU)")
		}, noon, []string{"!ca-object-writable"}},
		"a template that is gone": {func(_ *testing.T, _ *Inventory, a *Authority, _, _ *signer) {
			a.Templates = append(a.Templates, "Gone")
		}, noon, []string{"ca-template-missing"}},
	} {
		t.Run(name, func(t *testing.T) {
			inv, root, issuing := goodForest(t)
			if c.change != nil {
				c.change(t, &inv, &inv.Authorities[0], root, issuing)
			}
			if got := verdict(CheckAuthority(inv.Authorities[0], inv.Forest, inv.Templates, c.at)); !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestRootsAreWatched(t *testing.T) {
	inv, _, _ := goodForest(t)
	for at, want := range map[time.Time][]string{noon: nil, noon.AddDate(8, 3, 0): {"?root-expires-soon"}, noon.AddDate(10, 0, 0): {"?root-expired"}} {
		if got := verdict(judgeRoot(inv.Roots[0], at).Findings); !slices.Equal(got, want) {
			t.Errorf("at %s: %q, want %q", at, got, want)
		}
	}
	if got := verdict(judgeRoot([]byte{1}, noon).Findings); !slices.Equal(got, []string{"?root-unreadable"}) {
		t.Error(got)
	}
}

func TestOtherTemplatesAreAskedForDangerAlone(t *testing.T) {
	inv, _, _ := goodForest(t)
	careless := goodTemplate(t)
	careless.Name, careless.NameFlags, careless.Flags, careless.MinimalKeySize = "Careless", 1, 0, 512 // unfit for WinRM in every way, which nobody asked
	inv.Templates = append(inv.Templates, careless)
	find := func() Findings {
		all := Audit(inv, noon)
		return all[slices.IndexFunc(all, func(j Judgement) bool { return j.Name == "Careless" })].Findings
	}
	if got := verdict(find()); !slices.Equal(got, []string{"esc17"}) {
		t.Errorf("not published: %q", got)
	}
	inv.Authorities[0].Templates = append(inv.Authorities[0].Templates, "careless")
	if got := verdict(find()); !slices.Equal(got, []string{"!esc17"}) {
		t.Errorf("published: %q", got)
	}
}

// A template or CA whose descriptor cannot be read is not taken for a harmless one.
func TestADescriptorThatCannotBeReadIsNotClean(t *testing.T) {
	for what, spoil := range map[string]func([]byte) []byte{"none": func([]byte) []byte { return nil }, "broken off": func(b []byte) []byte { return b[:30] }} {
		inv, _, _ := goodForest(t)
		other := goodTemplate(t)
		other.Name, other.NameFlags = "Other", 1 // anybody may pose as any server, if anybody may enroll
		other.SecurityDescriptor = spoil(other.SecurityDescriptor)
		inv.Templates = append(inv.Templates, other)
		inv.Authorities[0].SecurityDescriptor = spoil(inv.Authorities[0].SecurityDescriptor)
		find := func() (template, ca Judgement) {
			all := Audit(inv, noon)
			return all[slices.IndexFunc(all, func(j Judgement) bool { return j.Name == "Other" })], all[0]
		}
		template, ca := find()
		if got := verdict(template.Findings); !slices.Equal(got, []string{"template-rights-unknown"}) {
			t.Errorf("%s, not published: %q", what, got)
		}
		if !slices.ContainsFunc(ca.Open, func(o Open) bool { return o.Code == "ca-object-writable" && o.Hint != "" }) {
			t.Errorf("%s: %+v", what, ca.Open)
		}
		inv.Authorities[0].Templates = append(inv.Authorities[0].Templates, "Other")
		if template, _ = find(); !slices.Equal(verdict(template.Findings), []string{"?template-rights-unknown"}) {
			t.Errorf("%s, published: %q", what, verdict(template.Findings))
		}
	}
}

func TestWantedTemplates(t *testing.T) {
	inv, _, _ := goodForest(t)
	inv.Wanted[0].Use.Tokens = append(inv.Wanted[0].Use.Tokens, Token{SIDs: []string{domainSID + "-4711"}, Hosts: 2, Example: "odd01"})
	inv.Wanted = append(inv.Wanted, Wanted{Template: "Ghost", Hosts: 1, Use: Use{Route: Self}})
	all := Audit(inv, noon)
	got := map[string]Findings{}
	for _, j := range all {
		got[j.Name] = j.Findings
	}
	if f := got["WinRMHTTPS"]; !f.Has("template-no-enroll-right") || !strings.Contains(f[0].Detail, "2 of 5 hosts may not enroll, such as odd01") {
		t.Errorf("%+v", f)
	}
	if !got["Ghost"].Has("template-not-found") || got["Ghost"].Fit() || Worst(all) != Blocker {
		t.Errorf("%+v", got["Ghost"])
	}
}

func TestAWaiverIsForOneFindingOfOneThing(t *testing.T) {
	j := Judgement{Kind: KindTemplate, Name: "Careless", Findings: Findings{{Code: "esc17", Severity: Blocker}, {Code: "template-pends", Severity: Warning}}}
	for name, w := range map[string]Waiver{
		"of another template": {Code: "esc17", Subject: "Other", By: "ann", Why: "x"}, "of another finding": {Code: "esc1", Subject: "Careless", By: "ann", Why: "x"},
		"by nobody": {Code: "esc17", Subject: "Careless", Why: "x"}, "for nothing": {Code: "esc17", Subject: "Careless", By: "ann"}, "of everything": {Code: "esc17", By: "ann", Why: "x"},
	} {
		if got := j.Waive([]Waiver{w}); got.Findings.Fit() {
			t.Errorf("a waiver %s lets it pass", name)
		}
	}
	got := j.Waive([]Waiver{{Code: "esc17", Subject: "careless", By: "ann", Why: "gone on Friday"}})
	if !got.Findings.Fit() || got.Findings[0].Waived != "ann: gone on Friday" || j.Findings[0].Waived != "" {
		t.Errorf("%+v, before %+v", got, j)
	}
	if Worst([]Judgement{got}) != Warning || Worst([]Judgement{j}) != Blocker || !Blocker.AtLeast(Warning) || Info.AtLeast(Warning) {
		t.Error("the gravest is another")
	}
}

func TestEveryFindingOfACAHasAHint(t *testing.T) {
	codes := map[string]bool{"root-expired": true, "root-expires-soon": true, "root-unreadable": true, "template-not-found": true}
	for _, c := range authorityChecks {
		codes[c.code] = true
	}
	for code := range codes {
		if !KnownFinding(code) {
			t.Errorf("%s has no hint", code)
		}
	}
	if len(codes) != len(authorityHints) || KnownFinding("http-client-active") {
		t.Errorf("%d codes, %d hints", len(codes), len(authorityHints))
	}
}

func TestTemplatesInWords(t *testing.T) {
	p := goodTemplate(t)
	if got := fmt.Sprint(p.Usages(), p.Key(), ", ", p.Subject(), p.Enrollees(map[string]string{domainSID + "-512": "Domänen-Admins"}), Days(p.Validity), Days(4*time.Hour)); got !=
		"[server authentication]RSA 2048, DNS name as CN, DNS name[Domain Computers]365 days4h0m0s" {
		t.Error(got)
	}
	p.EKUs, p.SecurityDescriptor, p.NameFlags, p.MinimalKeySize = nil, nil, 1, 0
	if got := fmt.Sprint(p.Usages(), p.Key(), p.Subject(), p.Enrollees(nil)); got != "[any purpose]RSAfrom the request[unknown]" {
		t.Error(got)
	}
}

// What nobody looked at is said to be so, and is no finding.
func TestWhatCannotBeKnownOfACAIsSaid(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*Authority)
		want   []string
	}{
		"nothing was tried":        {func(*Authority) {}, []string{"esc6", "esc7", "esc11", "esc16"}},
		"its web server is mute":   {func(a *Authority) { a.WebDoubt = "it timed out" }, []string{"esc6", "esc7", "esc8", "esc11", "esc16"}},
		"it refused the trial":     {func(a *Authority) { a.Unsealed = Refused }, []string{"esc6", "esc7", "esc16"}},
		"it took the trial":        {func(a *Authority) { a.Unsealed = Taken }, []string{"esc6", "esc7", "esc16"}},
		"the trial came to no end": {func(a *Authority) { a.UnsealedDoubt = "nobody answers" }, []string{"esc6", "esc7", "esc11", "esc16"}},
	} {
		inv, _, _ := goodForest(t)
		tc.change(&inv.Authorities[0])
		j := Audit(inv, noon)[0]
		var codes []string
		for _, o := range j.Open {
			codes = append(codes, o.Code)
			if !strings.HasPrefix(o.Detail, "not judged: ") || o.Hint == "" {
				t.Errorf("%s: %+v", name, o)
			}
			if o.Code == "esc11" && inv.Authorities[0].UnsealedDoubt != "" && !strings.Contains(o.Detail, "nobody answers") {
				t.Errorf("%s: %s", name, o.Detail)
			}
		}
		if !slices.Equal(codes, tc.want) {
			t.Errorf("%s: %v, want %v", name, codes, tc.want)
		}
		if j.Findings.Fit() != (inv.Authorities[0].Unsealed != Taken) {
			t.Errorf("%s: %+v", name, j.Findings)
		}
	}
}
