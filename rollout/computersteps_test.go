package rollout

import (
	"cmp"
	"slices"
	"time"

	"wavelock/pki"
)

// slack is how long a step may take from the decision to its effect.
const slack = 10 // seconds

func (c *computer) effect(s Step) (Result, *Failure) {
	switch s.Kind {
	case StepSaveImage:
		return c.saveImage(s)
	case StepEnroll:
		return c.enroll(s)
	case StepRequest:
		c.requested = true
		return Result{Request: &CertRequest{Template: s.Template, CSR: []byte("csr"), Made: c.now}}, nil
	case StepAccept:
		if !c.requested || s.Request == nil || len(s.Request.Certificate) == 0 {
			c.t.Fatalf("the host shall accept %+v, it made a request %v", s.Request, c.requested)
		}
		c.requested = false
		return c.hasNew()
	case StepListen:
		if c.cutOff {
			return Result{}, c.fail(s.Kind, ReasonTimeout, false, true)
		}
		if !slices.ContainsFunc(c.certs, func(x pki.Certificate) bool { return x.Thumbprint == s.Thumbprint }) {
			return Result{}, c.fail(s.Kind, ReasonListenerFailed, false, false)
		}
		if (c.action == ActRenew || c.https && c.thumb != s.Thumbprint && (!c.http || c.shut)) && !(c.armed && c.task) {
			c.t.Fatalf("the only door is touched and no undo is armed")
		}
		if c.expels && c.bound != s.Thumbprint {
			c.certs = slices.DeleteFunc(c.certs, func(x pki.Certificate) bool { return x.Thumbprint == c.bound })
		}
		c.https, c.thumb, c.bound = true, s.Thumbprint, s.Thumbprint
		return Result{Seen: &Observation{Listeners: Saw(c.listeners()), Bindings: Saw(c.bindings())}}, nil
	case StepAllow:
		c.rule = true
		return Result{Seen: &Observation{Firewall: Saw(c.firewall())}}, nil
	case StepProve, StepProveClosed, StepProveNarrow:
		return c.prove(s)
	case StepArm:
		if kept := c.image != nil && slices.ContainsFunc(c.image.Listeners, isDoor(HTTP)); c.action == ActRenew && (s.Kept != (kept && !c.http) || s.Back != cmp.Or(c.bound, c.thumb)) {
			c.t.Fatalf("the undo has no listener to bring back: kept %v, HTTP %v, step %+v", kept, c.http, s)
		}
		if s.Was != c.marked() {
			return Result{}, c.fail(s.Kind, ReasonUndoNotArmed, false, true)
		}
		if s.Mark == "" || s.Mark == c.mark || MarkedBy(s.Mark) != "drill" {
			c.t.Fatalf("an undo is armed with the mark %q, the one before had %q", s.Mark, c.mark)
		}
		c.back, c.last, c.by, c.mark = s.Back, s.Kept, "", s.Mark
		c.armed, c.task, c.armedAt, c.fires = true, true, c.now, c.now.Add(s.UndoAfter)
		return Result{Seen: &Observation{Undo: Saw(Undo{Armed: true, Task: true, Campaign: "drill", Mark: s.Mark})}}, nil
	case StepRemoveHTTP:
		return c.removeHTTP(s)
	case StepNarrow:
		return c.narrow(s)
	case StepWiden:
		if c.http {
			c.t.Fatalf("the block rule is taken away while HTTP is there")
		}
		c.narrowed = time.Time{}
		return Result{Seen: &Observation{Firewall: Saw(c.firewall())}}, nil
	case StepDisarm:
		return c.disarm(s)
	case StepRestore:
		return c.putBack(s)
	}
	c.t.Fatalf("no computer can do %q", s.Kind)
	return Result{}, nil
}

func (c *computer) saveImage(s Step) (Result, *Failure) {
	switch {
	case s.Image == nil:
		c.t.Fatalf("the image to be kept is empty")
	case c.image == nil:
		c.image = s.Image
	case !slices.EqualFunc(c.image.Listeners, s.Image.Listeners, sameListener):
		c.t.Fatalf("an image that is kept would be replaced by another")
	}
	if c.first == nil {
		now := c.doors()
		c.first = &now
	}
	had := slices.ContainsFunc(c.image.Listeners, isDoor(HTTP))
	if c.fired > 0 {
		c.first.http = had // an undo of somebody else brought it back after the look, or between the first change and the image
	}
	if had != c.first.http {
		c.t.Fatalf("the image says HTTP %v; before the first change it was %v", had, c.first.http)
	}
	return Result{Image: s.Image, Seen: &Observation{Image: Saw(c.image)}}, nil
}

func sameListener(a, b Listener) bool {
	return a.Transport == b.Transport && a.Port == b.Port && a.Thumbprint == b.Thumbprint
}

func (c *computer) enroll(s Step) (Result, *Failure) {
	switch c.ca {
	case "deny":
		return Result{}, c.fail(s.Kind, ReasonEnrollDenied, false, false)
	case "pend":
		c.ca = ""
		return Result{}, c.fail(s.Kind, ReasonEnrollPending, false, false)
	}
	return c.hasNew()
}

// submit is what the CA says to a request that is carried to it: nothing happens on the computer.
func (c *computer) submit(s Step) (Result, *Failure) {
	r := *s.Request
	switch c.ca {
	case "deny":
		return Result{}, c.fail(s.Kind, ReasonEnrollDenied, false, false)
	case "down":
		c.ca = ""
		return Result{}, c.fail(s.Kind, ReasonCAUnavailable, false, true)
	case "pend":
		c.ca = ""
		c.asked++
		r.CA, r.Number = "CA", c.asked
		return Result{Request: &r}, nil
	}
	if c.told > 0 && r.Number != c.told {
		c.t.Fatalf("request %d is submitted again as %+v", c.told, r)
	}
	r.Certificate = []byte("certificate")
	return Result{Request: &r}, nil
}

func (c *computer) hasNew() (Result, *Failure) {
	c.certs = append(c.certs, goodCert(c.host.ID, 10+len(c.certs), c.now))
	if c.spoils {
		c.rotten = c.certs[len(c.certs)-1].Thumbprint
	}
	return Result{Thumbprint: c.certs[len(c.certs)-1].Thumbprint, Seen: &Observation{Certificates: Saw(slices.Clone(c.certs))}}, nil
}

func (c *computer) prove(s Step) (Result, *Failure) {
	switch {
	case c.imposter || !c.usable() || c.thumb != s.Thumbprint:
		return Result{}, c.fail(s.Kind, ReasonTLSFailed, false, false)
	case !c.httpsUp():
		return Result{}, c.fail(s.Kind, ReasonTimeout, false, c.now.Before(c.off))
	case s.Kind == StepProveClosed && c.http && !s.Alone:
		return Result{}, c.fail(s.Kind, ReasonHTTPStillOpen, false, false)
	}
	p := &Proof{At: c.now, Wire: c.thumb, Listener: c.thumb, Bound: c.bound, Issued: s.Thumbprint, Closed: s.Kind == StepProveClosed, Narrowed: s.Kind == StepProveNarrow}
	if p.Closed || p.Narrowed {
		c.confirmed, c.closedAt = true, c.now
	} else {
		c.session, c.provedAt = true, c.now
	}
	return Result{Proof: p}, nil
}

func (c *computer) removeHTTP(s Step) (Result, *Failure) {
	if !c.session {
		return Result{}, c.fail(s.Kind, ReasonTimeout, false, true)
	}
	switch age := c.now.Sub(c.provedAt).Seconds(); {
	case age > c.policy.ProofFresh.D().Seconds()+slack:
		c.t.Fatalf("HTTP is removed %v seconds after the proof", age)
	case !c.usable():
		c.t.Fatalf("HTTP is removed and HTTPS does not work")
	case !c.armed || !c.task || s.Mark != c.mark:
		c.t.Fatalf("HTTP is removed with the undo armed %v and its task %v; it is %q, and %q is counted on", c.armed, c.task, c.mark, s.Mark)
	case c.armedAt.Before(c.begun):
		c.t.Fatalf("HTTP is removed with an undo that somebody armed before")
	case c.policy.Quiesce > 0 && (c.narrowed.IsZero() || c.now.Sub(c.narrowed) < c.policy.Quiesce.D()):
		c.t.Fatalf("HTTP is removed after it was narrowed for %v", c.now.Sub(c.narrowed))
	case slices.ContainsFunc(c.drops, func(d Drop) bool { return d.At.Before(c.soakEnd()) && d.At.Before(c.begun) }):
		c.t.Fatalf("HTTP is removed although somebody was turned away in the brown-out")
	}
	c.http = false
	return Result{Seen: &Observation{Listeners: Saw(c.listeners())}}, nil
}

// soakEnd is when the brown-out is over.
func (c *computer) soakEnd() time.Time { return c.narrowed.Add(c.policy.Quiesce.D()) }

func (c *computer) narrow(s Step) (Result, *Failure) {
	if !c.session {
		return Result{}, c.fail(s.Kind, ReasonTimeout, false, true)
	}
	switch age := c.now.Sub(c.provedAt).Seconds(); {
	case !slices.Contains(s.Keep, "192.0.2.1"):
		c.t.Fatalf("HTTP is narrowed to %v, and we are 192.0.2.1 to the host", s.Keep)
	case age > c.policy.ProofFresh.D().Seconds()+slack:
		c.t.Fatalf("HTTP is narrowed %v seconds after the proof", age)
	case !c.armed || !c.task || c.armedAt.Before(c.begun) || s.Mark != c.mark:
		c.t.Fatalf("HTTP is narrowed with the undo armed %v and its task %v at %v, the action began %v", c.armed, c.task, c.armedAt, c.begun)
	}
	c.narrowed, c.drops = c.now, nil
	return Result{Seen: &Observation{Firewall: Saw(c.firewall())}}, nil
}

func (c *computer) disarm(s Step) (Result, *Failure) {
	if !c.confirmed {
		return Result{}, c.fail(s.Kind, ReasonTimeout, false, true)
	}
	if age := c.now.Sub(c.closedAt).Seconds(); age > c.policy.ProofFresh.D().Seconds()+slack {
		c.t.Fatalf("the undo is disarmed %v seconds after the proof that HTTP is gone", age)
	}
	switch {
	case c.armed && s.Mark != "" && s.Mark != c.mark:
		c.t.Fatalf("the undo %q is taken away for %q", c.mark, s.Mark)
	case c.armed && c.task && s.Mark == "": // who takes it away asks the host itself, and leaves it
		return Result{}, c.fail(s.Kind, ReasonOtherCampaign, false, true)
	case c.armed && !c.task && s.Mark != "": // it fired since it was seen, and its mark stays to say so
		return Result{}, c.fail(s.Kind, ReasonUndoFired, false, true)
	}
	c.armed, c.task = false, false
	return Result{Seen: &Observation{Undo: Saw(Undo{})}}, nil
}

func (c *computer) putBack(s Step) (Result, *Failure) {
	if s.Image == nil || s.Image.Host != c.host.ID {
		c.t.Fatalf("put-back without an image of this host")
	}
	c.http = c.http || slices.ContainsFunc(s.Image.Listeners, isDoor(HTTP)) // one that is there is not taken away
	if i := slices.IndexFunc(s.Image.Listeners, isDoor(HTTPS)); i >= 0 {
		c.https, c.thumb, c.bound = true, s.Image.Listeners[i].Thumbprint, s.Image.Listeners[i].Thumbprint
	} else {
		c.https, c.thumb, c.bound = false, "", ""
	}
	c.rule, c.armed, c.task, c.image, c.narrowed = c.rule && s.KeepRule, false, false, nil, time.Time{}
	return Result{}, nil
}
