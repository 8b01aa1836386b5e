package machinetest

import (
	"fmt"
	"slices"
)

// Fault is the name of one way to misbehave.
type Fault string

// The faults. Each has a sentence in Faults.
const (
	Off              Fault = "off"
	Hang             Fault = "hang"
	Slow             Fault = "slow"
	AccessDenied     Fault = "access-denied"
	Quota            Fault = "quota"
	WrongHost        Fault = "wrong-host"
	ClockSkew        Fault = "clock-skew"
	GPOListener      Fault = "gpo-listener"
	HTTPClient       Fault = "http-client"
	WrongCertificate Fault = "wrong-certificate"
	CutHTTPS         Fault = "cut-https"
	ResetAfterDelete Fault = "reset-after-delete"
	RebootOnDelete   Fault = "reboot-after-delete"
	PortOpenLie      Fault = "port-open-lie"
	PortShared       Fault = "port-shared"
	PolicyRefresh    Fault = "policy-refresh"
	TaskDead         Fault = "task-dead"
	OnBattery        Fault = "on-battery"
	EnrollDenied     Fault = "enroll-denied"
	EnrollPending    Fault = "enroll-pending"
	EnrollFailed     Fault = "enroll-failed"
	RuleIgnored      Fault = "rule-ignored"
	DiskFull         Fault = "disk-full"
	FirewallStopped  Fault = "firewall-stopped"
	Localised        Fault = "localised"
	Japanese         Fault = "localised-japanese"
)

// Faults documents every switch.
var Faults = []struct {
	Name Fault
	Doc  string
}{
	{Off, "both ports refuse connections, as a computer that is switched off does"},
	{Hang, "connections are accepted and never answered"},
	{Slow, "every answer takes 300 ms longer"},
	{AccessDenied, "the account is known, but not an administrator: every operation is answered with fault 5"},
	{Quota, "the next shell is refused with the quota fault 0x803381A5, once"},
	{WrongHost, "another computer answers under this address, as after a stale DNS record"},
	{ClockSkew, "the clock is eleven minutes ahead"},
	{GPOListener, "the HTTP listener comes from Group Policy: it carries Source=GPO and cannot be deleted"},
	{HTTPClient, "somebody else keeps a connection to 5985 open"},
	{WrongCertificate, "http.sys presents another certificate than the one it is bound to"},
	{CutHTTPS, "as soon as HTTP is gone, the network drops everything to 5986, established connections too, until the fault is over or HTTP is back"},
	{ResetAfterDelete, "the connection is reset after a listener was deleted, before the answer"},
	{RebootOnDelete, "the computer restarts when the HTTP listener is deleted, before the answer"},
	{PortOpenLie, "after the HTTP listener is deleted, Enumerate says so, but 5985 still answers"},
	{PortShared, "another product has addresses of its own on 5985, through http.sys: the port listens without WinRM, and answers 404 for /wsman"},
	{PolicyRefresh, "a policy refresh brings the HTTP listener back one second after it was deleted"},
	{TaskDead, "the task scheduler takes tasks and never starts them"},
	{OnBattery, "the computer runs on a battery: a task that does not say otherwise is not started"},
	{EnrollDenied, "the CA denies the computer's request"},
	{EnrollPending, "the CA leaves the computer's request pending"},
	{EnrollFailed, "certreq cannot reach the CA"},
	{DiskFull, "nothing more can be written: to the registry by whatever door, to files, to task files or to the certificate store; what is there can be deleted"},
	{FirewallStopped, "the service mpssvc is stopped: no rule is in force, nothing is logged, and netsh fails"},
	{Localised, "programs speak German"},
	{Japanese, "programs speak Japanese"},
	{RuleIgnored, "netsh says that it added the rule, and did not"},
}

// ParseFault finds a fault by its name.
func ParseFault(name string) (Fault, error) {
	for _, f := range Faults {
		if string(f.Name) == name {
			return f.Name, nil
		}
	}
	return "", fmt.Errorf("%q is no fault", name)
}

// Set switches faults on.
func (h *Host) Set(faults ...Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, f := range faults {
		if !slices.Contains(h.faults, f) {
			h.faults = append(h.faults, f)
		}
		switch f {
		case GPOListener:
			h.linkPolicy()
		case FirewallStopped:
			h.services["mpssvc"] = "Stopped"
		case CutHTTPS:
			if h.doors["HTTP"] == nil && !h.has(Off) {
				h.cutOff()
			}
		case Off:
			h.shut()
		}
	}
}

// linkPolicy writes what the policy "Allow remote server management through WinRM" leaves in the registry.
func (h *Host) linkPolicy() {
	h.reg.SetNum(policyKey, "AllowAutoConfig", 1)
	h.reg.SetText(policyKey, "IPv4Filter", "*")
	h.reg.SetText(policyKey, "IPv6Filter", "*")
}

// Clear switches a fault off.
func (h *Host) Clear(f Fault) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.faults = slices.DeleteFunc(h.faults, func(o Fault) bool { return o == f })
	switch f {
	case GPOListener:
		// The administrator changed the policy: it applies, and HTTP is gone.
		h.reg.Delete(policyKey)
		h.reg.Delete(listenerKey + `\*+HTTP`)
		h.reload()
	case FirewallStopped:
		delete(h.services, "mpssvc")
	case CutHTTPS:
		h.cut = false
	case Off:
		h.reload()
	}
}

// has reports whether the fault is on. Callers hold mu.
func (h *Host) has(f Fault) bool { return slices.Contains(h.faults, f) }
