package rollout

import (
	"slices"
	"strings"
	"time"

	"wavelock/pki"
)

// wayBack goes back to the before-image as far as that lets somebody in. The image may be old: meanwhile a certificate
// that it has may have ended, and a rule that let HTTPS in before ours may have gone. Where HTTP is in the image it is
// there before anything else goes; where it is not, HTTPS is the only door, and is left as it is.
func (run HostRun) wayBack(image BeforeImage, now time.Time) Step {
	alone := !slices.ContainsFunc(image.Listeners, isDoor(HTTP))
	if alone && !run.Seen.Listeners.Known {
		return notRestored(run, ReasonNotReadable, "HTTPS may be the only way in, and its listener was not read: "+run.Seen.Listeners.Why, now)
	}
	image = run.withLiveCertificate(image, alone, now)
	keepRule := alone && !run.Seen.letsHTTPSIn(run.Policy.Port)
	if run.Seen.clean(keepRule) && run.Seen.looksLike(image) {
		return finish(Restored, "", "")
	}
	return Step{Kind: StepRestore, Image: &image, KeepRule: keepRule, Campaign: string(run.Campaign)}
}

// withLiveCertificate is the image with the certificate that the HTTPS listener has, where the image's own would let
// nobody in, or nobody knows that it would and there is no other door.
func (run HostRun) withLiveCertificate(image BeforeImage, alone bool, now time.Time) BeforeImage {
	has, is := run.Seen.listener(HTTPS)
	i := slices.IndexFunc(image.Listeners, isDoor(HTTPS))
	if i < 0 || !is {
		return image
	}
	live := func(c pki.Certificate) bool {
		return c.Thumbprint == image.Listeners[i].Thumbprint && now.Before(c.NotAfter)
	}
	if certs := run.Seen.Certificates; !alone && (!certs.Known || slices.ContainsFunc(certs.Value, live)) {
		return image
	}
	image.Listeners = slices.Clone(image.Listeners)
	image.Listeners[i].Thumbprint, image.Listeners[i].Hostname = has.Thumbprint, has.Hostname
	return image
}

// letsHTTPSIn reports whether the host's firewall lets HTTPS in without our rule.
func (o Observation) letsHTTPSIn(port int) bool {
	f := o.Firewall.Value
	f.Rules = slices.DeleteFunc(slices.Clone(f.Rules), FirewallRule.ours)
	return o.Firewall.Known && allowsHTTPS(f, port)
}

// RuleNamePrefix begins the name of every firewall rule that this program adds.
const RuleNamePrefix = "wavelock-"

func (r FirewallRule) ours() bool { return strings.HasPrefix(r.Name, RuleNamePrefix) }

// readable reports whether everything was read that this program may have written.
func (o Observation) readable() bool { return o.Image.Known && o.Undo.Known && o.Firewall.Known }

// clean reports whether the host was seen to carry nothing that this program
// wrote, but for the rule for HTTPS where that stays. What could not be read is not clean.
func (o Observation) clean(keepRule bool) bool {
	return o.readable() && o.Image.Value == nil && !o.Undo.Value.Armed && !o.Undo.Value.Task &&
		!slices.ContainsFunc(o.Firewall.Value.Rules, func(r FirewallRule) bool { return r.ours() && !(keepRule && r.Allow) })
}

// looksLike reports whether the host has the listeners of the image again. HTTP that the image does not have came back
// by itself or by somebody: it is not ours to take away.
func (o Observation) looksLike(image BeforeImage) bool {
	if !o.Listeners.Known {
		return false
	}
	for _, t := range []Transport{HTTP, HTTPS} {
		now, is := o.listener(t)
		i := slices.IndexFunc(image.Listeners, isDoor(t))
		if is != (i >= 0) && !(t == HTTP && is) {
			return false
		}
		if is && i >= 0 && (now.Port != image.Listeners[i].Port || now.Thumbprint != image.Listeners[i].Thumbprint) {
			return false
		}
	}
	return true
}
