package pki

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

var usageNames = map[string]string{
	usageServerAuth: "server authentication", usageClientAuth: "client authentication", usageSmartCard: "smart card logon", usagePKINIT: "PKINIT client",
	usageAny: "any purpose", usageEnrollmentAgt: "enrollment agent", "1.3.6.1.5.2.3.5": "KDC authentication", "1.3.6.1.5.5.7.3.3": "code signing",
	"1.3.6.1.5.5.7.3.4": "e-mail", "1.3.6.1.5.5.7.3.8": "time stamping", "1.3.6.1.5.5.7.3.9": "OCSP signing", "1.3.6.1.5.5.8.2.2": "IPsec IKE",
	"1.3.6.1.4.1.311.10.3.4": "EFS", "1.3.6.1.4.1.311.10.3.4.1": "EFS recovery", "1.3.6.1.4.1.311.21.5": "CA exchange", "1.3.6.1.4.1.311.21.19": "directory e-mail replication",
	"1.3.6.1.4.1.311.54.1.2": "remote desktop",
}

// Usages are what a certificate of the template will be for, in words.
func (t Template) Usages() []string {
	if len(t.usages()) == 0 {
		return []string{usageNames[usageAny]}
	}
	var words []string
	for _, oid := range t.usages() {
		words = append(words, cmp.Or(usageNames[oid], oid))
	}
	return words
}

// Key is the least key that the template asks for: RSA 2048.
func (t Template) Key() string {
	kind := "RSA"
	if t.elliptic() {
		kind = "EC"
	}
	if t.MinimalKeySize == 0 {
		return kind
	}
	return fmt.Sprintf("%s %d", kind, t.MinimalKeySize)
}

// Subject says who names the holder.
func (t Template) Subject() string {
	var from []string
	if t.suppliesSubject() {
		return "from the request"
	}
	if t.NameFlags&nameDNSAsCN != 0 {
		from = append(from, "DNS name as CN")
	}
	if t.NameFlags&nameDNSInAlt != 0 {
		from = append(from, "DNS name")
	}
	if len(from) == 0 {
		return "other, from the directory"
	}
	return strings.Join(from, ", ")
}

// Enrollees are those who may enroll, by name where it is known.
func (t Template) Enrollees(names map[string]string) []string {
	sd, err := ParseSecurityDescriptor(t.SecurityDescriptor)
	if err != nil {
		return []string{"unknown"}
	}
	var who []string
	for _, sid := range sd.enrollees() {
		name, _ := crowd(sid)
		who = append(who, cmp.Or(names[sid], name, administrators[sid[strings.LastIndexByte(sid, '-')+1:]], sid))
	}
	return who
}

// administrators are groups that every forest has, by their relative ids ([MS-DTYP] 2.4.2.4): those of the root domain are
// not in another one's directory.
var administrators = map[string]string{"512": "Domain Admins", "516": "Domain Controllers", "517": "Cert Publishers", "518": "Schema Admins", "519": "Enterprise Admins", "521": "Read-only Domain Controllers", "498": "Enterprise Read-only Domain Controllers"}

// Trustees are all SIDs that the descriptors name, each once, for whoever can look their names up.
func Trustees(descriptors ...[]byte) []string {
	seen := map[string]bool{}
	var all []string
	for _, raw := range descriptors {
		sd, err := ParseSecurityDescriptor(raw)
		if err != nil {
			continue
		}
		for _, sid := range append(sd.sids(), sd.Owner) {
			if sid != "" && !seen[sid] {
				seen[sid] = true
				all = append(all, sid)
			}
		}
	}
	return all
}

// Days writes a validity as people do.
func Days(d time.Duration) string {
	if d < 48*time.Hour {
		return d.Round(time.Minute).String()
	}
	return fmt.Sprintf("%.4g days", d.Hours()/24)
}
