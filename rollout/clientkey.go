package rollout

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"wavelock/pki"
)

// networkService is what the token of the service that forwards events has: it runs as NETWORK SERVICE. The service's own
// SID (NT SERVICE\WinRM) is left out, since whether it is in the token depends on the service's settings.
var networkService = []string{"S-1-5-20", "S-1-1-0", "S-1-5-11", "S-1-5-6", "S-1-5-32-545"}

// keyReadable is for hosts that log on to an event collector with a certificate: WinRM's client runs as NETWORK SERVICE
// and needs the key. WinRM's listener does not: the kernel and LSASS make its handshakes, as SYSTEM.
func keyReadable(_ Host, o Observation, _ Policy, _ time.Time) (Finding, bool) {
	var to []string
	for _, f := range o.Uses.Value.Forwards {
		if f.HTTPS && f.ByCertificate && !slices.Contains(to, f.Server) {
			to = append(to, f.Server)
		}
	}
	if len(to) == 0 || o.ClientKeys.Why == NotAsked {
		return Finding{}, false
	}
	who := "it sends its events to " + strings.Join(to, ", ") + " with a certificate"
	switch {
	case !o.ClientKeys.Known:
		return warning(ReasonKeyNotReadable, "%s; whose key NETWORK SERVICE may read is not known: %s", who, o.ClientKeys.Why)
	case len(o.ClientKeys.Value) == 0:
		return warning(ReasonKeyNotReadable, "%s; the computer has none for client authentication, with a private key", who)
	}
	var refused, unknown []string
	for _, k := range o.ClientKeys.Value {
		sd, err := pki.ParseSDDL(k.ACL)
		name := fmt.Sprintf("%s (%s)", k.Thumbprint, k.Subject)
		switch {
		case k.Why != "":
			unknown = append(unknown, name+": "+k.Why)
		case err != nil:
			unknown = append(unknown, name+": "+err.Error())
		case !sd.MayRead(networkService):
			refused = append(refused, name)
		}
	}
	var what []string
	if len(refused) > 0 {
		what = append(what, "NETWORK SERVICE may not read the key of "+strings.Join(refused, ", "))
	}
	if len(unknown) > 0 {
		what = append(what, "whether NETWORK SERVICE may read a key is not known for "+strings.Join(unknown, ", "))
	}
	if len(what) == 0 {
		return Finding{}, false
	}
	return warning(ReasonKeyNotReadable, "%s; %s", who, strings.Join(what, "; "))
}
