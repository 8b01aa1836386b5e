package pki

import (
	"slices"
	"strings"
	"testing"
	"time"
)

const day = 24 * time.Hour

// Descriptors of the templates, after the shape of those that Windows installs.
const (
	templateRead   = "(A;;LCRPLORC;;;AU)"
	templateAdmins = "(A;;CCDCLCSWRPWPDTLOSDRCWDWO;;;DA)(A;;CCDCLCSWRPWPDTLOSDRCWDWO;;;EA)"
	templateHead   = "O:EAG:EAD:PAI"
)

func enrollFor(who string) string {
	return "(OA;;CR;" + guidEnroll + ";;" + who + ")(OA;;CR;" + guidAutoEnroll + ";;" + who + ")"
}

func goodTemplate(t testing.TB) Template {
	return Template{Name: "WinRMHTTPS", SchemaVersion: 2, Flags: 0x20240, NameFlags: 0x18000000, EnrollmentFlags: 0x20, PrivateKeyFlags: 0x1010000,
		EKUs: []string{usageServerAuth}, KeyUsage: []byte{0xa0, 0}, MinimalKeySize: 2048, Validity: 365 * day, Overlap: 42 * day,
		CSPs:               []string{"1,Microsoft RSA SChannel Cryptographic Provider"},
		SecurityDescriptor: sddl(t, templateHead+enrollFor("DC")+templateAdmins+templateRead)}
}

func computerUse() Use {
	return Use{Route: Self, SIDs: []string{domainSID + "-1105", domainComputers}, PublishedBy: []string{"CORP-CA01-CA"}, MinLeft: 14 * day}
}

// verdict is the codes with a mark for their severity: ! blocks, ? warns.
func verdict(found Findings) []string {
	marks := map[Severity]string{Blocker: "!", Warning: "?", Info: ""}
	var out []string
	for _, f := range found {
		out = append(out, marks[f.Severity]+f.Code)
	}
	return out
}

// The same seven were put into a Samba directory and judged by Certipy: ESC1Web as
// ESC1 and ESC17, ESC4Web as ESC4, the others as harmless.
func TestSevenTemplatesAreJudgedAsByOthers(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Template)
		want   []string
	}{
		"WinRMHTTPS is fit": {func(*Template) {}, nil},
		"ESC1Web lets the enrollee supply the subject of a logon": {func(p *Template) {
			p.NameFlags, p.EnrollmentFlags, p.EKUs = 0x1, 0, []string{usageServerAuth, usageClientAuth}
		}, []string{"!template-subject-supplied", "?template-client-auth", "!esc1", "!esc17"}},
		"ESC4Web may be changed by every user": {func(p *Template) {
			p.SecurityDescriptor = sddl(t, templateHead+enrollFor("DC")+templateAdmins+"(A;;LCRPWPLORCWDWO;;;AU)")
		}, []string{"!esc4"}},
		"Pended waits for a manager":  {func(p *Template) { p.EnrollmentFlags = 0x22 }, []string{"?template-pends"}},
		"Exportable lets the key out": {func(p *Template) { p.PrivateKeyFlags = 0x1010010 }, []string{"?template-exportable-key"}},
		"NoComputers is for admins": {func(p *Template) {
			p.SecurityDescriptor = sddl(t, templateHead+enrollFor("DA")+templateAdmins+templateRead)
		}, []string{"!template-no-enroll-right"}},
		"Denied takes back what it gave": {func(p *Template) {
			p.SecurityDescriptor = sddl(t, templateHead+"(OD;;CR;"+guidEnroll+";;DC)"+enrollFor("DC")+templateAdmins+templateRead)
		}, []string{"!template-no-enroll-right"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := goodTemplate(t)
			c.change(&p)
			found := CheckTemplate(p, computerUse())
			if got := verdict(found); !slices.Equal(got, c.want) {
				t.Fatalf("got %q, want %q", got, c.want)
			}
			if found.Fit() != !slices.ContainsFunc(c.want, func(w string) bool { return w[0] == '!' }) {
				t.Fatal("fit in spite of a blocker, or unfit without")
			}
		})
	}
}

func TestEachUnfitTemplateIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Template, *Use)
		want   []string
	}{
		"no CA issues it":                       {func(_ *Template, u *Use) { u.PublishedBy = nil }, []string{"!template-not-published"}},
		"it is for users":                       {func(p *Template, _ *Use) { p.Flags = 0x20200 }, []string{"!template-not-for-machines"}},
		"it is for clients":                     {func(p *Template, _ *Use) { p.EKUs = []string{usageClientAuth} }, []string{"!template-no-server-auth", "?template-client-auth"}},
		"its policies say less than its usages": {func(p *Template, _ *Use) { p.ApplicationPolicies = []string{usageClientAuth} }, []string{"!template-no-server-auth", "?template-client-auth"}},
		"in version 1 the policies say nothing": {func(p *Template, _ *Use) { p.ApplicationPolicies, p.SchemaVersion = []string{usageClientAuth}, 1 }, nil},
		"the common name is the short name":     {func(p *Template, _ *Use) { p.NameFlags = 0x48000000 }, []string{"!template-no-dns-common-name"}},
		"there is no alternative name":          {func(p *Template, _ *Use) { p.NameFlags = 0x10000000 }, []string{"!template-no-dns-name"}},
		"a domain controller's, without CN":     {func(p *Template, _ *Use) { p.NameFlags = 0x08400000 }, []string{"!template-no-dns-common-name"}},
		"keys of 1024 bits":                     {func(p *Template, _ *Use) { p.MinimalKeySize = 1024 }, []string{"!template-weak-key"}},
		"keys of 2048 bits where 3072 are due":  {func(_ *Template, u *Use) { u.MinKeyBits = 3072 }, []string{"!template-weak-key"}},
		"keys of a curve": {func(p *Template, _ *Use) {
			p.SchemaVersion, p.MinimalKeySize, p.RAPolicies = 4, 256, []string{"msPKI-Asymmetric-Algorithm`PZPWSTR`ECDSA_P256`msPKI-Hash-Algorithm`PZPWSTR`SHA256`"}
		}, nil},
		"keys of 256 bits that are RSA": {func(p *Template, _ *Use) {
			p.SchemaVersion, p.MinimalKeySize, p.RAPolicies = 4, 256, []string{"msPKI-Asymmetric-Algorithm`PZPWSTR`RSA`"}
		}, []string{"!template-weak-key"}},
		"version 1 without a key size":     {func(p *Template, _ *Use) { p.SchemaVersion, p.MinimalKeySize = 1, 0 }, nil},
		"version 2 without a key size":     {func(p *Template, _ *Use) { p.MinimalKeySize = 0 }, []string{"!template-weak-key"}},
		"keys for encipherment only":       {func(p *Template, _ *Use) { p.KeyUsage = []byte{0x20} }, []string{"!template-no-digital-signature"}},
		"renewed before it is valid":       {func(p *Template, _ *Use) { p.Overlap = p.Validity }, []string{"!template-short-validity"}},
		"valid for a week":                 {func(p *Template, _ *Use) { p.Validity, p.Overlap = 7*day, day }, []string{"!template-short-validity"}},
		"without validity":                 {func(p *Template, _ *Use) { p.Validity = 0 }, []string{"!template-short-validity"}},
		"without a renewal period":         {func(p *Template, _ *Use) { p.Overlap = 0 }, []string{"?template-no-renewal-overlap"}},
		"somebody has to type":             {func(p *Template, _ *Use) { p.EnrollmentFlags |= 0x100 }, []string{"!template-needs-a-person"}},
		"the key is behind a prompt":       {func(p *Template, _ *Use) { p.PrivateKeyFlags |= 0x20 }, []string{"!template-needs-a-person"}},
		"smart cards only":                 {func(p *Template, _ *Use) { p.CSPs = []string{"1,Microsoft Base Smart Card Crypto Provider"} }, []string{"!template-smart-card"}},
		"smart cards among others":         {func(p *Template, _ *Use) { p.CSPs = append(p.CSPs, "2,Microsoft Smart Card Key Storage Provider") }, nil},
		"an agent has to sign":             {func(p *Template, _ *Use) { p.RASignatures = 1 }, []string{"!template-ra-signature"}},
		"the descriptor could not be read": {func(p *Template, _ *Use) { p.SecurityDescriptor = nil }, []string{"!template-rights-unknown"}},
		"the descriptor is broken":         {func(p *Template, _ *Use) { p.SecurityDescriptor = p.SecurityDescriptor[:40] }, []string{"!template-rights-unknown"}},
		"nobody's SIDs are known":          {func(_ *Template, u *Use) { u.SIDs = nil }, nil},
		"a domain controller's token":      {func(_ *Template, u *Use) { u.SIDs = []string{domainSID + "-1000", domainSID + "-516"} }, []string{"!template-no-enroll-right"}},
		"the TPM has to vouch":             {func(p *Template, _ *Use) { p.PrivateKeyFlags |= 0x2000 }, []string{"?template-attestation"}},
		"the CA keeps the key":             {func(p *Template, _ *Use) { p.PrivateKeyFlags |= 0x1 }, []string{"?template-archived-key"}},
		"enroll without autoenroll": {func(p *Template, _ *Use) {
			p.SecurityDescriptor = sddl(t, templateHead+"(OA;;CR;"+guidEnroll+";;DC)"+templateAdmins+templateRead)
		}, []string{"template-no-autoenroll"}},
		"authenticated users may enroll too": {func(p *Template, _ *Use) {
			p.SecurityDescriptor = sddl(t, templateHead+enrollFor("AU")+templateAdmins+templateRead)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p, u := goodTemplate(t), computerUse()
			c.change(&p, &u)
			if got := verdict(CheckTemplate(p, u)); !slices.Equal(got, c.want) {
				t.Fatalf("got %q, want %q", got, c.want)
			}
		})
	}
}

// Whatever else is wrong with them: the dangerous shapes are found, and not more.
func TestDangerousShapes(t *testing.T) {
	const policy = "1.3.6.1.4.1.311.21.8.99.1"
	logon := []string{usageServerAuth, usageClientAuth}
	for name, c := range map[string]struct {
		change func(*Template, *Use)
		want   []string // of the dangers
	}{
		"a logon from the directory's names": {func(p *Template, _ *Use) { p.EKUs = logon }, nil},
		"ESC1 by the alternative name alone": {func(p *Template, _ *Use) { p.NameFlags, p.EKUs = 0x10000, logon }, []string{"esc1", "esc17"}},
		"ESC1 by a smart card logon":         {func(p *Template, _ *Use) { p.NameFlags, p.EKUs = 1, []string{usageSmartCard} }, []string{"esc1"}},
		"ESC1 by PKINIT in the policies":     {func(p *Template, _ *Use) { p.NameFlags, p.EKUs, p.ApplicationPolicies = 1, nil, []string{usagePKINIT} }, []string{"esc1"}},
		"ESC1 that a manager approves":       {func(p *Template, _ *Use) { p.NameFlags, p.EKUs, p.EnrollmentFlags = 1, logon, 2 }, nil},
		"ESC1 that an agent signs":           {func(p *Template, _ *Use) { p.NameFlags, p.EKUs, p.RASignatures = 1, logon, 1 }, nil},
		"ESC1 for administrators": {func(p *Template, _ *Use) {
			p.NameFlags, p.EKUs = 1, logon
			p.SecurityDescriptor = sddl(t, templateHead+enrollFor("DA")+templateAdmins)
		}, nil},
		"ESC1 for one service account": {func(p *Template, _ *Use) {
			p.NameFlags, p.EKUs = 1, logon
			p.SecurityDescriptor = sddl(t, templateHead+enrollFor(domainSID+"-1601")+templateAdmins)
		}, nil},
		"ESC1 that everybody is denied": {func(p *Template, _ *Use) {
			p.NameFlags, p.EKUs = 1, logon
			p.SecurityDescriptor = sddl(t, templateHead+"(D;;CR;;;WD)"+enrollFor("DC"))
		}, nil},
		"ESC1 by a hand-made full control": {func(p *Template, _ *Use) {
			p.NameFlags, p.EKUs = 1, logon
			p.SecurityDescriptor = sddl(t, templateHead+"(A;;GA;;;DU)")
		}, []string{"esc1", "esc4", "esc17"}},
		"ESC2 by any purpose":                     {func(p *Template, _ *Use) { p.EKUs = []string{usageAny} }, []string{"esc2"}},
		"ESC2 by no purpose":                      {func(p *Template, _ *Use) { p.EKUs = nil }, []string{"esc2"}},
		"ESC3, an enrollment agent for computers": {func(p *Template, _ *Use) { p.EKUs = []string{usageServerAuth, usageEnrollmentAgt} }, []string{"esc3"}},
		"ESC4 by ownership":                       {func(p *Template, _ *Use) { p.SecurityDescriptor = sddl(t, "O:DUG:EAD:PAI"+enrollFor("DC")) }, []string{"esc4"}},
		"the write beside Windows' own enroll rights gives nothing": {func(p *Template, _ *Use) {
			p.SecurityDescriptor = sddl(t, templateHead+"(OA;;RPWPCR;"+guidEnroll+";;DC)(OA;;RPWPCR;"+guidAutoEnroll+";;DC)")
		}, nil},
		"a general write beside the enroll right does": {func(p *Template, _ *Use) {
			p.SecurityDescriptor = sddl(t, templateHead+"(OA;;RPWPCR;"+guidEnroll+";;DC)(A;;WP;;;DC)")
		}, []string{"esc4"}},
		"ESC4 by one attribute":                  {func(p *Template, _ *Use) { p.SecurityDescriptor = descriptors(t)["one-attribute"].bytes }, []string{"esc4"}},
		"ESC4 by no DACL":                        {func(p *Template, _ *Use) { p.SecurityDescriptor = descriptors(t)["no-dacl"].bytes }, []string{"esc4"}},
		"a delegated administrator is a warning": {func(p *Template, _ *Use) { p.SecurityDescriptor = descriptors(t)["delegated"].bytes }, []string{"template-writable"}},
		"ESC9 on a logon":                        {func(p *Template, _ *Use) { p.EnrollmentFlags, p.EKUs = 0x80020, logon }, []string{"esc9"}},
		"no SID on a server's certificate":       {func(p *Template, _ *Use) { p.EnrollmentFlags = 0x80020 }, nil},
		"ESC13 by a linked policy": {func(p *Template, u *Use) {
			p.EKUs, p.IssuancePolicies, u.LinkedPolicies = logon, []string{"1.2", policy}, map[string]string{policy: "CN=Tier 0"}
		}, []string{"esc13"}},
		"a linked policy on a server's certificate": {func(p *Template, u *Use) {
			p.IssuancePolicies, u.LinkedPolicies = []string{policy}, map[string]string{policy: "CN=Tier 0"}
		}, nil},
		"a policy that is linked to nothing":          {func(p *Template, _ *Use) { p.EKUs, p.IssuancePolicies = logon, []string{policy} }, nil},
		"ESC15, version 1 and the subject":            {func(p *Template, _ *Use) { p.SchemaVersion, p.NameFlags = 1, 1 }, []string{"esc15", "esc17"}},
		"ESC17, the relay template for everybody":     {func(p *Template, u *Use) { p.NameFlags, u.Route = 1, Relay }, []string{"esc17"}},
		"ESC17 for machines of any name, by no usage": {func(p *Template, _ *Use) { p.NameFlags, p.EKUs = 1, nil }, []string{"esc1", "esc2", "esc17"}},
	} {
		t.Run(name, func(t *testing.T) {
			p, u := goodTemplate(t), computerUse()
			c.change(&p, &u)
			var got []string
			for _, f := range CheckTemplate(p, u) {
				if !strings.HasPrefix(f.Code, "esc") && f.Code != "template-writable" {
					continue
				}
				got = append(got, f.Code)
				if (f.Severity == Blocker) != strings.HasPrefix(f.Code, "esc") || f.Detail == "" {
					t.Errorf("%+v", f)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Fatalf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestTheRelayTemplate(t *testing.T) {
	account := domainSID + "-1601"
	relay := func(name string) (Template, Use) {
		p := goodTemplate(t)
		p.Flags, p.NameFlags, p.SecurityDescriptor = 0x20200, 1, descriptors(t)[name].bytes
		return p, Use{Route: Relay, SIDs: []string{account, domainUsers}, Account: account, PublishedBy: []string{"CORP-CA01-CA"}}
	}
	t.Run("for one service account", func(t *testing.T) {
		if got := CheckTemplate(relay("service-account")); len(got) != 0 {
			t.Fatal(got)
		}
	})
	t.Run("for a second account", func(t *testing.T) {
		got := CheckTemplate(relay("shared-relay"))
		if !got.Fit() || !got.Has("relay-template-shared") || !strings.Contains(got[0].Detail, "-1700") || strings.Contains(got[0].Detail, account) {
			t.Fatal(got)
		}
	})
	t.Run("that names the requester", func(t *testing.T) {
		p, u := relay("service-account")
		p.NameFlags = 0x18000000
		if got := verdict(CheckTemplate(p, u)); !slices.Equal(got, []string{"!template-names-the-requester"}) {
			t.Fatal(got)
		}
	})
}

func TestEveryFindingHasAHint(t *testing.T) {
	codes := map[string]bool{}
	for _, c := range slices.Concat(fitChecks, dangerChecks) {
		if codes[c.code] {
			t.Errorf("%s is there twice", c.code)
		}
		codes[c.code] = true
		if (Finding{Code: c.code}).Hint() == "" {
			t.Errorf("%s has no hint", c.code)
		}
	}
	if len(codes) != len(templateHints) {
		t.Errorf("%d checks, %d hints", len(codes), len(templateHints))
	}
}
