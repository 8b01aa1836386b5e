package ldapdisco_test

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"

	"wavelock/ldapdisco"
	"wavelock/ldapdisco/logon"
)

// BenchmarkBesideLdapsearch lists the computers of a Samba domain as ldapsearch does, in turns, and reports how much longer
// it takes: over LDAPS with a simple bind, with the same attributes.
//
//	samba-dc.sh seed DIR 5000; set -a; eval "$(samba-dc.sh env DIR)"; go test -run XXX -bench Ldapsearch -benchtime 5x ./ldapdisco
func BenchmarkBesideLdapsearch(b *testing.B) {
	if os.Getenv("SAMBA_DC_DIR") == "" {
		b.Skip("no Samba domain controller is named by SAMBA_DC_DIR and its like")
	}
	s := sambaDC(b)
	cfg := s.config("ldaps")
	cfg.Simple = &ldapdisco.Simple{User: s.domain + `\` + sambaUser, Password: logon.Secret(sambaPassword)}
	var ours, theirs time.Duration
	n := 0
	for b.Loop() {
		began := time.Now()
		theirs += run(b, s)
		_ = began
		began = time.Now()
		d, err := ldapdisco.Dial(b.Context(), cfg)
		if err != nil {
			b.Fatal(err)
		}
		n = 0
		for _, err := range d.Computers(b.Context(), ldapdisco.Query{}) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		d.Close()
		ours += time.Since(began)
	}
	b.ReportMetric(float64(n), "computers")
	b.ReportMetric(ours.Seconds()/float64(b.N), "s/list")
	b.ReportMetric(theirs.Seconds()/float64(b.N), "s/ldapsearch")
	b.ReportMetric(ours.Seconds()/theirs.Seconds(), "ratio")
}

// run is one ldapsearch of all computers.
func run(b *testing.B, s samba) time.Duration {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), time.Minute)
	defer cancel()
	args := append([]string{"-LLL", "-x", "-H", "ldaps://" + s.fqdn, "-D", s.domain + `\` + sambaUser, "-w", sambaPassword, "-E", "pr=1000/noprompt",
		"-b", os.Getenv("SAMBA_DC_BASEDN"), "(objectCategory=computer)"}, ldapdisco.ComputerAttributes()...)
	c := exec.CommandContext(ctx, "ldapsearch", args...)
	c.Env = append(os.Environ(), "LD_PRELOAD="+os.Getenv("SAMBA_DC_NSSW"), "NSS_WRAPPER_HOSTS="+os.Getenv("SAMBA_DC_HOSTS"))
	began := time.Now()
	if out, err := c.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%.500s", err, out)
	}
	return time.Since(began)
}
