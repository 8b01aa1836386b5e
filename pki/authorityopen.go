package pki

import "fmt"

// Trial is what came of trying something that a CA should refuse.
type Trial string

// The ends of a trial.
const (
	NotTried Trial = ""
	Refused  Trial = "refused"
	Taken    Trial = "taken"
)

// Open is a question about a CA that was not answered, and how a person can answer it: what was not looked at is never
// the same as what is good.
type Open struct {
	Code   string `json:"code"`
	Detail string `json:"detail"`
	Hint   string `json:"hint"`
}

// registryHint is how a person reads what only the CA's own registry has.
func (a Authority) registryHint(value, expect string) string {
	return fmt.Sprintf(`certutil -config "%s\%s" -getreg %s %s`, a.Host, a.Name, value, expect)
}

// OpenQuestions are the dangerous shapes of a CA that nothing was found out about. Its flags and its own permissions lie
// in its registry: the directory has no copy.
func OpenQuestions(a Authority) []Open {
	all := []Open{
		{"esc6", "not judged: the CA's EditFlags are in its registry, not in the directory",
			a.registryHint(`policy\EditFlags`, "must not list EDITF_ATTRIBUTESUBJECTALTNAME2")},
		{"esc7", "not judged: who may manage the CA and its certificates is in its registry; the directory tells only who may change its object there",
			"certsrv.msc, Properties of the CA, Security: Manage CA and Issue and Manage Certificates are for administrators of the CA alone"},
	}
	if a.WebDoubt != "" {
		all = append(all, Open{"esc8", "not judged: " + a.WebDoubt, fmt.Sprintf("open http://%s/certsrv/ from a place that reaches the CA; nothing should answer", a.Host)})
	}
	if a.Unsealed == NotTried {
		detail := "not judged: whether it takes requests without packet privacy was not tried; that takes a Kerberos credential for the CA (relay.credential)"
		if a.UnsealedDoubt != "" {
			detail = "not judged: " + a.UnsealedDoubt
		}
		all = append(all, Open{"esc11", detail, a.registryHint(`CA\InterfaceFlags`, "must list IF_ENFORCEENCRYPTICERTREQUEST")})
	}
	if _, err := ParseSecurityDescriptor(a.SecurityDescriptor); err != nil {
		detail := err.Error()
		if len(a.SecurityDescriptor) == 0 {
			detail = "this account may not read its permissions"
		}
		all = append(all, Open{"ca-object-writable", "not judged: " + detail, "let the account read the permissions of the CA's object in Enrollment Services, or look at them with ADSI Edit"})
	}
	return append(all, Open{"esc16", "not judged: the CA's list of extensions that it leaves out is in its registry, not in the directory",
		a.registryHint(`policy\DisableExtensionList`, "must not list 1.3.6.1.4.1.311.25.2")})
}
