package adcstest

import (
	"fmt"
	"slices"
	"strings"
)

// Fault is the name of a way to be unkind.
type Fault string

// The faults. Each has a sentence in Faults.
const (
	Pend         Fault = "pend"
	Deny         Fault = "deny"
	Slow         Fault = "slow"
	Garbage      Fault = "garbage"
	WrongName    Fault = "wrong-name"
	WrongKey     Fault = "wrong-key"
	WrongSID     Fault = "wrong-sid"
	NoSID        Fault = "no-sid"
	OtherCA      Fault = "other-ca"
	ShortLived   Fault = "short-lived"
	Expired      Fault = "expired"
	NotYetValid  Fault = "not-yet-valid"
	NoServerAuth Fault = "no-server-auth"
	NoCommonName Fault = "no-common-name"
	NoDNSName    Fault = "no-dns-name"
	Busy         Fault = "busy"
	Mute         Fault = "mute"
	Drop         Fault = "drop"
	Tamper       Fault = "tamper"
	NoPrivacy    Fault = "no-privacy"
	Bomb         Fault = "bomb"

	WebDown       Fault = "web-down"
	WebMute       Fault = "web-mute"
	CRLMissing    Fault = "crl-missing"
	CRLHuge       Fault = "crl-huge"
	CRLGarbage    Fault = "crl-garbage"
	CRLOther      Fault = "crl-other"
	CRLForged     Fault = "crl-forged"
	CRLStale      Fault = "crl-stale"
	CRLFuture     Fault = "crl-future"
	CRLPartial    Fault = "crl-partial"
	DeltaMismatch Fault = "delta-mismatch"
	OCSPGarbage   Fault = "ocsp-garbage"
	OCSPTryLater  Fault = "ocsp-try-later"
	OCSPForged    Fault = "ocsp-forged"
	OCSPOther     Fault = "ocsp-other"
	OCSPStale     Fault = "ocsp-stale"
	OCSPFuture    Fault = "ocsp-future"
	OCSPReplay    Fault = "ocsp-replay"
	OCSPUnknown   Fault = "ocsp-unknown"
)

// Faults documents every switch.
var Faults = []struct {
	Name Fault
	Doc  string
}{
	{Pend, "every request is taken under submission"},
	{Deny, "every request is denied, as to an account without the right to enroll"},
	{Slow, "every answer takes two seconds longer"},
	{Garbage, "what comes back is a certificate cut in half"},
	{WrongName, "the certificate names another computer"},
	{WrongKey, "the certificate is for another key than the request's"},
	{WrongSID, "the certificate carries another computer's SID"},
	{NoSID, "the certificate carries no SID, as before KB5014754 or with the extension switched off (ESC16)"},
	{OtherCA, "the certificate chains to a root that the directory does not know"},
	{ShortLived, "the certificate is valid for one hour"},
	{Expired, "the certificate expired yesterday"},
	{NotYetValid, "the certificate is valid from tomorrow, as from a CA whose clock is wrong"},
	{NoServerAuth, "the certificate is for client authentication only"},
	{NoCommonName, "the subject is empty, the name is in the subject alternative name alone"},
	{NoDNSName, "the name is in the common name alone"},
	{Busy, "over RPC: the service answers that it is too busy"},
	{Mute, "over RPC: the request is taken and never answered"},
	{Drop, "over RPC: the request is worked on, and the connection ends before the answer"},
	{Tamper, "over RPC: one bit of every sealed answer is flipped on the way"},
	{NoPrivacy, "over RPC: requests without packet privacy are taken, as with IF_ENFORCEENCRYPTICERTREQUEST switched off (ESC11)"},
	{Bomb, "over RPC: the chain that comes with a certificate has eight megabytes, of sequences in sequences"},
	{WebDown, "the web server breaks every connection"},
	{WebMute, "the web server takes requests and never answers"},
	{CRLMissing, "the lists are not there: 404"},
	{CRLHuge, "the list does not end"},
	{CRLGarbage, "a page lies where the list should be"},
	{CRLOther, "another CA's list lies at the address"},
	{CRLForged, "the list has the CA's name and somebody else's signature"},
	{CRLStale, "the list should have been replaced yesterday"},
	{CRLFuture, "the list was made tomorrow"},
	{CRLPartial, "the list is for CA certificates alone"},
	{DeltaMismatch, "the delta list is to a base list that is not published"},
	{OCSPGarbage, "the responder answers with a page"},
	{OCSPTryLater, "the responder answers tryLater"},
	{OCSPForged, "the responder's answer is signed by somebody whom the CA does not know"},
	{OCSPOther, "the responder answers about another certificate"},
	{OCSPStale, "the responder's answer is of last week"},
	{OCSPFuture, "the responder's answer is of tomorrow"},
	{OCSPReplay, "the responder repeats an answer to another question"},
	{OCSPUnknown, "the responder does not know the certificate"},
}

// ParseFault finds a fault by its name.
func ParseFault(name string) (Fault, error) {
	for _, f := range Faults {
		if string(f.Name) == name {
			return f.Name, nil
		}
	}
	return "", fmt.Errorf("%q is no fault of a CA", name)
}

// Set switches a fault on or off: for these computers, or for all if none is named.
func (ca *CA) Set(f Fault, on bool, fqdns ...string) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	if len(fqdns) == 0 {
		fqdns = []string{""}
	}
	for _, fqdn := range fqdns {
		if on {
			ca.faults[faultOf{f, strings.ToLower(fqdn)}] = true
		} else {
			delete(ca.faults, faultOf{f, strings.ToLower(fqdn)})
		}
	}
}

// faultOf is a switch; fqdn is empty for all computers.
type faultOf struct {
	fault Fault
	fqdn  string
}

// has reports whether a request of fqdn meets the fault. A fault for all cannot
// be switched off for one.
func (ca *CA) has(f Fault, fqdn string) bool {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	return ca.faults[faultOf{f, ""}] || ca.faults[faultOf{f, strings.ToLower(fqdn)}]
}

// spoilt is the set of faults that change the certificate of this request.
func (ca *CA) spoilt(fqdn string) (on []Fault) {
	for _, f := range Faults {
		if ca.has(f.Name, fqdn) {
			on = append(on, f.Name)
		}
	}
	return slices.Clip(on)
}
