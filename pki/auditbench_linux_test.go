package pki

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// BenchmarkAudit judges 200 templates with descriptors of the size that large forests have: 60 entries, 3 KB. The processor's time counts: what
// else runs on the machine makes it take longer and cost no more.
func BenchmarkAudit(b *testing.B) {
	inv, _, _ := goodForest(b)
	aces := enrollFor("DC") + templateAdmins + templateRead
	for i := range 55 {
		aces += fmt.Sprintf("(OA;;CR;%s;;%s-%d)", guidEnroll, domainSID, 5000+i)
	}
	raw := sddl(b, templateHead+aces)
	inv.Templates, inv.Wanted = nil, nil
	for i := range 200 {
		t := goodTemplate(b)
		t.Name, t.SecurityDescriptor = fmt.Sprintf("Template%03d", i), raw
		inv.Templates = append(inv.Templates, t)
		inv.Authorities[0].Templates = append(inv.Authorities[0].Templates, t.Name)
		var tokens []Token
		for k := range 20 { // different sets of groups among the hosts
			tokens = append(tokens, Token{SIDs: []string{domainSID + "-9000", domainComputers, fmt.Sprintf("%s-%d", domainSID, 7000+k)}, Hosts: 10, Example: "web01"})
		}
		inv.Wanted = append(inv.Wanted, Wanted{Template: t.Name, Hosts: 200, Use: Use{Route: Self, MinLeft: day, Tokens: tokens}})
	}
	begun := spent(b)
	for b.Loop() {
		if all := Audit(inv, noon); len(all) < 200 {
			b.Fatal(len(all))
		}
	}
	b.ReportMetric(float64(len(raw)), "B/descriptor")
	b.ReportMetric(float64((spent(b)-begun).Microseconds())/1000/float64(b.N), "cpu-ms/audit")
}

// spent is the processor time of this process, garbage collection included.
func spent(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
