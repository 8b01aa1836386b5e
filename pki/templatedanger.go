package pki

import (
	"fmt"
	"slices"
	"strings"
)

// dangerChecks are the shapes by which templates gave domains away; the names are
// those that the literature gave them. Each is asked of templates that a crowd may
// enroll for: what only administrators may do is no danger of the template's.
var dangerChecks = []templateCheck{
	{"esc1", Blocker, enrolledBy("the enrollee supplies the subject of a certificate that logs on", func(c templateCase) bool {
		return c.suppliesSubject() && c.logsOn() && c.unattended()
	})},
	{"esc2", Blocker, enrolledBy("its certificates are good for any purpose", func(c templateCase) bool { return c.forAnything() && c.unattended() })},
	{"esc3", Blocker, enrolledBy("its certificates make their holder an enrollment agent", func(c templateCase) bool {
		return slices.Contains(c.claims(), usageEnrollmentAgt) && c.unattended()
	})},
	{"esc4", Blocker, writable},
	{"esc9", Blocker, enrolledBy("its certificates log on and carry no SID", func(c templateCase) bool {
		return c.EnrollmentFlags&enrollNoSID != 0 && c.logsOn()
	})},
	{"esc13", Blocker, linkedPolicy},
	{"esc15", Blocker, enrolledBy("it is of version 1 and the enrollee supplies the subject: an unpatched CA takes any application policy from the request", func(c templateCase) bool {
		return c.SchemaVersion <= 1 && c.suppliesSubject() && c.unattended()
	})},
	{"esc17", Blocker, enrolledBy("the enrollee supplies the name of a TLS server", func(c templateCase) bool {
		return c.suppliesSubject() && c.serves() && c.unattended()
	})},
	{"template-writable", Warning, writableByOthers},
}

// enrolledBy objects when a shape is dangerous and a crowd may enroll for it.
func enrolledBy(detail string, shape func(templateCase) bool) func(templateCase) (string, bool) {
	return func(c templateCase) (string, bool) {
		if c.sd == nil || !shape(c) {
			return "", false
		}
		who := c.sd.enrollingCrowds()
		return fmt.Sprintf("%s, and %s may enroll", detail, strings.Join(who, ", ")), len(who) > 0
	}
}

func writable(c templateCase) (string, bool) {
	var who []string
	for _, sid := range c.writers {
		if name, is := crowd(sid); is {
			who = append(who, name)
		}
	}
	return strings.Join(who, ", ") + " may change the template", len(who) > 0
}

// writableByOthers names those who may change the template without being
// administrators of the directory, for a person to judge.
func writableByOthers(c templateCase) (string, bool) {
	var who []string
	for _, sid := range c.writers {
		if _, is := crowd(sid); !is && !administers(sid) {
			who = append(who, c.use.named(sid))
		}
	}
	return "these may change the template: " + strings.Join(who, ", "), len(who) > 0
}

func linkedPolicy(c templateCase) (string, bool) {
	for _, p := range c.IssuancePolicies {
		group, linked := c.use.LinkedPolicies[p]
		if !linked {
			continue
		}
		return enrolledBy("who logs on with its certificates is taken for a member of "+group, func(c templateCase) bool { return c.logsOn() && c.unattended() })(c)
	}
	return "", false
}

const duplicateIt = "duplicate the template, correct the copy and publish that; "

var templateHints = map[string]string{
	"template-not-published":        "publish it on an enterprise CA: Certification Authority console, Certificate Templates, New, Certificate Template to Issue",
	"template-not-for-machines":     duplicateIt + "start from Computer or Web Server",
	"template-no-server-auth":       "add Server Authentication to the application policies",
	"template-subject-supplied":     "choose 'Build from this Active Directory information' under Subject Name",
	"template-no-dns-common-name":   "choose 'DNS name' as the subject name format",
	"template-no-dns-name":          "tick 'DNS name' for the alternate subject name",
	"template-names-the-requester":  "relay needs 'Supply in the request', with the enroll right for the service account alone; else let the computers enroll themselves",
	"template-weak-key":             "set the minimum key size to 2048 or more under Cryptography",
	"template-no-digital-signature": "choose the purpose 'Signature and encryption' under Request Handling",
	"template-short-validity":       "raise the validity period, or lower the renewal period",
	"template-no-renewal-overlap":   "set a renewal period, six weeks say: autoenrollment renews that long before the end",
	"template-needs-a-person":       "choose 'Enroll subject without requiring any user input' under Request Handling",
	"template-smart-card":           "allow the Microsoft Software Key Storage Provider or the RSA SChannel provider",
	"template-ra-signature":         "set the number of authorized signatures to 0, or use another template",
	"template-rights-unknown":       "let the account read the template's permissions",
	"template-no-enroll-right":      "give the computers' group Read and Enroll on the template; a computer learns of a new group at its next restart",
	"template-pends":                "a CA manager has to issue each request; untick 'CA certificate manager approval' to do without",
	"template-attestation":          "make key attestation 'Required, if client is capable', or use another template",
	"template-exportable-key":       "untick 'Allow private key to be exported'",
	"template-archived-key":         "untick 'Archive subject's encryption private key': a server's key needs no second copy",
	"template-client-auth":          "use a template with Server Authentication alone where other software chooses certificates by itself",
	"template-no-autoenroll":        "give the computers Autoenroll too, or let wavelock renew",
	"relay-template-shared":         "leave Enroll to the one service account: who has it can pose as any server",
	"esc1":                          "untick 'Supply in the request', or take Enroll away from everybody but one service account, or demand a CA manager's approval",
	"esc2":                          "name the purposes under application policies, or restrict Enroll",
	"esc3":                          "restrict Enroll to the enrollment agents, and restrict these on the CA",
	"esc4":                          "take the write rights and the ownership away, and look at who changed the template since",
	"esc9":                          "clear CT_FLAG_NO_SECURITY_EXTENSION (0x80000) in msPKI-Enrollment-Flag",
	"esc13":                         "remove the issuance policy from the template, or the group from the policy (msDS-OIDToGroupLink), or restrict Enroll",
	"esc15":                         "install the update for CVE-2024-49019 on the CA, and replace the template by one of version 2 or later",
	"esc17":                         "leave Enroll to one service account, or demand a CA manager's approval: who has it can pose as any server",
	"template-writable":             "see that these are the administrators of your certificates, and nobody else",
}
