package machine_test

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"wavelock/ldapdisco/logon"
	"wavelock/ldapdisco/logon/logontest"
	"wavelock/pki/adcstest"
	"wavelock/rollout"
	"wavelock/rollout/machine"
	"wavelock/rollout/machinetest"
)

// nextAddress gives every test a computer on an address of its own.
var nextAddress atomic.Int32

// claim is held so that another run of these tests, or a lab, takes other addresses.
var claim net.Listener

var addressBlock = sync.OnceValue(func() int {
	for i := range 60 {
		block := 20 + (os.Getpid()+i)%60 // a lab takes others
		l, err := net.Listen("tcp", fmt.Sprintf("127.%d.0.1:5985", block))
		if err == nil {
			claim = l
			return block
		}
	}
	panic("every block of addresses is taken")
})

// bench is one simulated computer, its CA, and a fleet that reaches it.
type bench struct {
	t      *testing.T
	ca     *adcstest.CA
	win    *machinetest.Host
	cfg    machine.Config
	fleet  *machine.Fleet
	host   rollout.Host
	policy rollout.Policy
	image  *rollout.BeforeImage
	// what the journal would have of the brown-out
	narrowed time.Time
	soaked   bool
	dies     rollout.StepKind // after which the controller is not there any more
}

func setup(t *testing.T) *bench {
	t.Helper()
	return setupWith(t, newCA(t), machine.Config{})
}

func newCA(t *testing.T) *adcstest.CA {
	t.Helper()
	ca, err := adcstest.New(adcstest.Config{Templates: []adcstest.Template{{Name: "WinRMHTTPS", OID: "1.3.6.1.4.1.311.21.8.1.2.3"}}})
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// setupWith takes the CA, and the part of the fleet's configuration that is not always the same.
func setupWith(t *testing.T, ca *adcstest.CA, cfg machine.Config, change ...func(*machinetest.Config)) *bench {
	t.Helper()
	dir := logontest.NewDirectory("CORP", "corp.example")
	dir.Add("admin", "Passw0rd.1")
	n := nextAddress.Add(1)
	address := fmt.Sprintf("127.%d.%d.%d", addressBlock(), n/250, n%250+2)
	computer := machinetest.Config{FQDN: "web01.corp.example", Address: address, Directory: dir, Admins: []string{"admin"}, Log: cfg.Log,
		Enroll: func(ctx context.Context, r machinetest.EnrollRequest) ([]byte, error) {
			return ca.Issue(ctx, adcstest.Request{Account: r.Account, FQDN: r.FQDN, Template: r.Template, CSR: r.CSR})
		}}
	for _, f := range change {
		f(&computer)
	}
	win := machinetest.New(computer)
	win.InstallCA(ca.Issuing())
	if err := win.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(win.Close)
	roots := x509.NewCertPool()
	root, err := x509.ParseCertificate(ca.Root())
	if err != nil {
		t.Fatal(err)
	}
	roots.AddCert(root)
	login := logon.NTLM("CORP", "admin", "Passw0rd.1")
	cfg.Login, cfg.Roots, cfg.HTTPPort, cfg.HTTPSPort = func(rollout.Host) logon.Login { return login }, roots, 5985, 5986
	cfg.Resolve = func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr(address)}, nil
	}
	cfg.Now = time.Now
	p := rollout.DefaultPolicy()
	p.UndoAfter = rollout.Duration(time.Minute)
	b := &bench{t: t, ca: ca, win: win, cfg: cfg, policy: p, host: rollout.Host{ID: "web01.corp.example", Domain: "corp.example"}}
	b.timeout(5 * time.Second)
	return b
}

// timeout is how long the fleet waits for an answer.
func (b *bench) timeout(d time.Duration) {
	b.t.Helper()
	b.cfg.Timeout = d
	var err error
	if b.fleet, err = machine.New(b.cfg); err != nil {
		b.t.Fatal(err)
	}
}

// open takes the computer up; whoever calls it closes the machine.
func (b *bench) open() *machine.Machine {
	b.t.Helper()
	m, err := b.fleet.Open(b.t.Context(), b.host)
	if err != nil {
		b.t.Fatal(err)
	}
	return m
}

// observe inspects the computer over a connection of its own.
func (b *bench) observe() *rollout.Observation {
	b.t.Helper()
	m := b.open()
	defer m.Close()
	res, err := m.Do(b.t.Context(), rollout.Step{Kind: rollout.StepInspect})
	if err != nil {
		b.t.Fatal(err)
	}
	return res.Seen
}

// secured is a computer that listens on HTTPS beside HTTP.
func secured(t *testing.T) *bench {
	t.Helper()
	b := setup(t)
	b.want(rollout.ActSecure, rollout.Passed)
	return b
}

// do takes the host through an action as the engine does, and answers its end,
// the steps and the requests.
func (b *bench) do(act rollout.ActionKind) (rollout.Step, []rollout.StepKind, int) {
	b.t.Helper()
	plan := &rollout.Plan{ID: "test", Policy: b.policy}
	run := rollout.NewRun(plan, rollout.Planned{Host: b.host}, rollout.HostState{Running: act, Narrowed: b.narrowed, Soaked: b.soaked}, b.image)
	m := b.open()
	defer m.Close()
	var steps []rollout.StepKind
	for range 40 {
		step := rollout.Next(run, time.Now())
		if step.Kind == rollout.StepFinish {
			if err := m.Close(); err != nil {
				b.t.Logf("close: %v", err)
			}
			b.image, b.narrowed = run.Image, run.NarrowedAt
			b.soaked = b.soaked || act == rollout.ActQuiesce && step.Outcome == rollout.Passed
			return step, steps, m.Requests()
		}
		steps = append(steps, step.Kind)
		res, err := m.Do(b.t.Context(), step)
		var f *rollout.Failure
		if err != nil && !errors.As(err, &f) {
			b.t.Fatalf("%s: %v is no failure", step.Kind, err)
		}
		if f != nil {
			b.t.Logf("%s: %v", step.Kind, f)
		}
		run = run.Advance(step, res, f)
		if step.Kind == b.dies {
			b.image, b.narrowed = run.Image, run.NarrowedAt
			return step, steps, 0
		}
	}
	b.t.Fatalf("%s does not end: %v", act, steps)
	return rollout.Step{}, nil, 0
}

func (b *bench) want(act rollout.ActionKind, o rollout.Outcome) int {
	b.t.Helper()
	end, steps, n := b.do(act)
	if end.Outcome != o {
		b.t.Fatalf("%s ended %s (%s: %s), want %s; steps %v", act, end.Outcome, end.Reason, end.Detail, o, steps)
	}
	return n
}

// doors compares the computer itself with what has to be.
func (b *bench) doors(http, https bool) {
	b.t.Helper()
	// A computer shuts a port after it has answered.
	for begun := time.Now(); b.win.HTTPOpen() != http || b.win.HTTPSOpen() != https; time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) < 10*time.Second {
			continue
		}
		b.t.Fatalf("doors: HTTP %v, HTTPS %v, want %v and %v", b.win.HTTPOpen(), b.win.HTTPSOpen(), http, https)
	}
}

func TestWholeWay(t *testing.T) {
	t.Parallel()
	b := setup(t)
	requests := b.want(rollout.ActSecure, rollout.Passed)
	b.doors(true, true)
	requests += b.want(rollout.ActClose, rollout.Passed)
	b.doors(false, true)
	if names := b.win.TaskNames(); len(names) > 0 {
		t.Errorf("tasks are left: %v", names)
	}
	t.Logf("%d HTTP requests from first contact to https-only, the computer counted %d", requests, b.win.Requests())
	if n := b.win.Requests(); n > 80 {
		t.Errorf("%d HTTP requests, the budget is 80", n)
	}
	b.want(rollout.ActSecure, rollout.Passed) // again is harmless
	b.want(rollout.ActClose, rollout.Passed)
	b.doors(false, true)
	b.want(rollout.ActRestore, rollout.Restored)
	b.doors(true, false)
	b.win.Registry(func(r *machinetest.Registry) {
		if r.Exists(`SOFTWARE\wavelock`) {
			t.Error("HKLM\\SOFTWARE\\wavelock is left after the restore")
		}
	})
	b.want(rollout.ActRestore, rollout.Restored)
}

func TestInspectWritesNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	before := b.win.Writes()
	b.want(rollout.ActObserve, rollout.Passed)
	if b.win.Writes() != before {
		t.Error("the inspection changed something")
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault   machinetest.Fault
		act     rollout.ActionKind
		outcome rollout.Outcome
		reason  rollout.Reason
	}{
		"a computer that is off is deferred":              {machinetest.Off, rollout.ActSecure, rollout.Deferred, rollout.ReasonUnreachable},
		"another computer under the name is refused":      {machinetest.WrongHost, rollout.ActSecure, rollout.Refused, rollout.ReasonWrongHost},
		"an account that is no administrator fails":       {machinetest.AccessDenied, rollout.ActSecure, rollout.Refused, ""},
		"a clock that is wrong is refused":                {machinetest.ClockSkew, rollout.ActSecure, rollout.Refused, rollout.ReasonClockSkew},
		"a CA that denies is a failure with its reason":   {machinetest.EnrollDenied, rollout.ActSecure, rollout.Failed, rollout.ReasonEnrollDenied},
		"a CA that does not decide is waited for":         {machinetest.EnrollPending, rollout.ActSecure, rollout.Pending, rollout.ReasonEnrollPending},
		"another certificate on the wire is found out":    {machinetest.WrongCertificate, rollout.ActSecure, rollout.Failed, rollout.ReasonSelfSigned},
		"a rule that was not added is found out":          {machinetest.RuleIgnored, rollout.ActSecure, rollout.Failed, rollout.ReasonFirewallFailed},
		"a quota that passes is tried again":              {machinetest.Quota, rollout.ActSecure, rollout.Passed, ""},
		"a listener of Group Policy waits for its policy": {machinetest.GPOListener, rollout.ActClose, rollout.AwaitPolicy, rollout.ReasonGPOListener},
		"a client that still uses HTTP keeps it":          {machinetest.HTTPClient, rollout.ActClose, rollout.Refused, rollout.ReasonHTTPClient},
		"a port that stays open is found out":             {machinetest.PortOpenLie, rollout.ActClose, rollout.Failed, rollout.ReasonHTTPStillOpen},
		"a port that another product shares has no WinRM": {machinetest.PortShared, rollout.ActClose, rollout.Passed, ""},
		"a reset after the delete is looked into":         {machinetest.ResetAfterDelete, rollout.ActClose, rollout.Passed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			if c.act == rollout.ActClose {
				b.want(rollout.ActSecure, rollout.Passed)
			}
			b.win.Set(c.fault)
			end, steps, _ := b.do(c.act)
			if end.Outcome != c.outcome || (c.reason != "" && end.Reason != c.reason) {
				t.Errorf("ended %s (%s: %s), want %s (%s); steps %v", end.Outcome, end.Reason, end.Detail, c.outcome, c.reason, steps)
			}
		})
	}
}

// A scheduler that takes tasks and starts none would not start the undo: nothing is taken away.
func TestNothingIsTakenAwayWhereTasksDoNotFire(t *testing.T) {
	t.Parallel()
	b := quiet(t, time.Hour)
	b.timeout(time.Second)
	b.win.Set(machinetest.TaskDead)
	for _, act := range []rollout.ActionKind{rollout.ActQuiesce, rollout.ActClose} {
		if act == rollout.ActClose {
			b.policy.Quiesce = 0
		}
		end, steps, _ := b.do(act)
		if end.Outcome != rollout.Failed || end.Reason != rollout.ReasonUndoNotArmed || !b.win.HTTPOpen() || len(b.blockRules()) > 0 {
			t.Errorf("%s ended %s (%s: %s) after %v; HTTP %v, rules %v", act, end.Outcome, end.Reason, end.Detail, steps, b.win.HTTPOpen(), b.blockRules())
		}
		if tasks := b.win.TaskNames(); len(tasks) > 0 {
			t.Errorf("%v stay", tasks)
		}
	}
}

func TestNoRequestWhereTasksDoNotFire(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.timeout(time.Second)
	b.win.Set(machinetest.TaskDead)
	end, steps, _ := b.do(rollout.ActSecure)
	if end.Outcome != rollout.Failed || end.Reason != rollout.ReasonSchedulerOff || !b.win.HTTPOpen() {
		t.Errorf("ended %s (%s: %s) after %v; HTTP %v", end.Outcome, end.Reason, end.Detail, steps, b.win.HTTPOpen())
	}
}

func TestUndoBringsHTTPBack(t *testing.T) {
	t.Parallel()
	for name, boot := range map[string]bool{"by its delay": false, "by a restart": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.policy.UndoAfter = rollout.Duration(2 * time.Second)
			b.want(rollout.ActSecure, rollout.Passed)
			if boot {
				b.win.Set(machinetest.RebootOnDelete)
			} else {
				b.win.Set(machinetest.CutHTTPS)
			}
			removed := time.Now()
			end, steps, _ := b.do(rollout.ActClose)
			t.Logf("close ended %s (%s: %s) after %v", end.Outcome, end.Reason, end.Detail, steps)
			for !b.win.HTTPOpen() {
				if time.Since(removed) > 10*time.Second {
					t.Fatal("5985 did not come back")
				}
				time.Sleep(10 * time.Millisecond)
			}
			t.Logf("5985 was back after %v", time.Since(removed).Round(10*time.Millisecond))
		})
	}
}

func TestDisarmNeedsTheProof(t *testing.T) {
	t.Parallel()
	b := secured(t)
	m := b.open()
	defer m.Close()
	for _, k := range []rollout.StepKind{rollout.StepInspect, rollout.StepDisarm, rollout.StepRemoveHTTP} {
		_, err := m.Do(t.Context(), rollout.Step{Kind: k})
		if (err == nil) != (k == rollout.StepInspect) {
			t.Errorf("%s over HTTP: %v", k, err)
		}
	}
	b.doors(true, true)
}

func TestObservationOfPoliciesAndAdministrators(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.win.Registry(func(r *machinetest.Registry) {
		r.SetShare("transcripts$", `D:\Transcripts`, machinetest.ShareEntry{SID: "S-1-5-32-546", Mask: machinetest.ShareFull, Deny: true},
			machinetest.ShareEntry{SID: "S-1-5-21-1-2-3-513", Mask: machinetest.ShareAppend})
	})
	b.win.Set(machinetest.GPOListener)
	o := b.observe()
	want := []rollout.Administrator{{Domain: "WEB01", Name: "Administrator"}, {Domain: "CORP", Name: "Domain Admins", Group: true}, {Domain: "CORP", Name: "admin"}}
	if !slices.Equal(o.Admins.Value, want) {
		t.Errorf("administrators: %+v %s", o.Admins.Value, o.Admins.Why)
	}
	if v := o.PolicyValues.Value; len(v) != 3 || v[0].Name != "AllowAutoConfig" || v[0].GPO != "WinRM for servers" {
		t.Errorf("policies: %+v %s", v, o.PolicyValues.Why)
	}
	if p := o.Posture.Value; !o.Posture.Known || p.PowerShell != "5.1.20348.1" || p.OldPowerShell != "2.0" || p.DCOM != "Y" || !p.RemoteUsers.Known || len(p.RemoteUsers.Value) != 0 {
		t.Errorf("posture: %+v", o.Posture)
	}
	grants := []rollout.Grant{{SID: "S-1-5-32-546", Mask: machinetest.ShareFull, Deny: true}, {SID: "S-1-5-21-1-2-3-513", Mask: machinetest.ShareAppend}}
	if s := o.Posture.Value.Shares; len(s) != 1 || s[0].Name != "transcripts$" || !slices.Equal(s[0].Grants, grants) {
		t.Errorf("shares: %+v", s)
	}
	if end, _, _ := b.do(rollout.ActClose); !strings.Contains(end.Detail, `"WinRM for servers"`) {
		t.Errorf("the policy's name is not told: %+v", end)
	}
}

// A WinRM service that was restarted has forgotten the shell of a session that lives on.
func TestAShellThatEndedIsOpenedAgain(t *testing.T) {
	t.Parallel()
	b := setup(t)
	m := b.open()
	defer m.Close()
	if _, err := m.Do(t.Context(), rollout.Step{Kind: rollout.StepInspect}); err != nil {
		t.Fatal(err)
	}
	b.win.RestartWinRM()
	if _, err := m.Do(t.Context(), rollout.Step{Kind: rollout.StepAllow}); err != nil {
		t.Fatal(err)
	}
}
