package hook

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"time"

	"wavelock/rollout"
)

// The occasions.
const (
	CampaignStart  = "campaign-start"  // before the first wave opens
	WaveStart      = "wave-start"      // before a wave opens
	ConfirmRemoval = "confirm-removal" // before HTTP is narrowed or removed on some hosts
	WaveDone       = "wave-done"
	WaveFailed     = "wave-failed" // its error budget is used up, and its hosts are put back
	Rollback       = "rollback"    // a person asked for everything to be put back
	CampaignDone   = "campaign-done"
	EveryEvent     = "event" // each event of the journal
	DriftFound     = "drift" // computers are not as campaigns left them, or are again; outside of campaigns
)

// Occasions lists all, the gates first.
func Occasions() []string {
	return []string{CampaignStart, WaveStart, ConfirmRemoval, WaveDone, WaveFailed, Rollback, CampaignDone, EveryEvent, DriftFound}
}

// Message is what a hook is told, as JSON: on standard input, or as the body of a POST.
type Message struct {
	ID       string             `json:"id"` // the same when it is sent again
	On       string             `json:"on"`
	Campaign rollout.CampaignID `json:"campaign,omitempty"`
	Plan     string             `json:"plan,omitempty"` // hash
	At       time.Time          `json:"at"`
	Wave     int                `json:"wave,omitempty"`
	Hosts    []rollout.HostID   `json:"hosts,omitempty"`
	Detail   string             `json:"detail,omitempty"`
	Event    *rollout.Event     `json:"event,omitempty"`
	Drifts   []rollout.Drift    `json:"drifts,omitempty"`
}

// Config is one hook.
type Config struct {
	On      []string         // occasions
	Command []string         // program and its arguments; no shell
	URL     string           // https, or http on this computer
	Secret  []byte           // signs what is posted
	Timeout time.Duration    // of one try
	Retries int              // of a post that was not answered
	CAFile  string           // PEM roots of the server; empty: the system's
	Now     func() time.Time // of the time stamp of a post; the wall clock when nil
}

// Validate names what is wrong with the hook.
func (c Config) Validate() error {
	var errs []error
	bad := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	bad(len(c.On) == 0, "on: no occasion is named; there are %v", Occasions())
	for _, on := range c.On {
		bad(!slices.Contains(Occasions(), on), "on: %q is none of %v", on, Occasions())
	}
	bad((len(c.Command) == 0) == (c.URL == ""), "a command or a url is needed, and not both")
	bad(c.Timeout <= 0 || c.Timeout > 10*time.Minute, "timeout: %v is not between 0 and 10m", c.Timeout)
	bad(c.Retries < 0 || c.Retries > 10, "retries: %d is not between 0 and 10", c.Retries)
	if c.URL != "" {
		u, err := url.Parse(c.URL)
		switch {
		case err != nil || u.Host == "":
			bad(true, "url: it is no web address")
		case u.Scheme == "http" && !loopback(u.Hostname()), u.Scheme != "http" && u.Scheme != "https":
			bad(true, "url: what is told describes the domain's weak spots, so it goes out over https only")
		}
		bad(len(c.Secret) == 0, "secret_file or secret_env: a post is signed, so that nobody else can pretend to be this program")
	}
	return errors.Join(errs...)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// RefusedError is the no of a gate, or its silence.
type RefusedError struct {
	Hook string // what was asked, without a secret
	On   string
	Why  string
}

func (e *RefusedError) Error() string { return fmt.Sprintf("%s: %s: %s", e.On, e.Hook, e.Why) }

// Hint is what to do about it.
func (e *RefusedError) Hint() string {
	return "find out why at the hook, then wavelock resume: it is asked again"
}

// sender carries a message to one hook. An error is *RefusedError, or one of a try that another may mend.
type sender interface {
	send(ctx context.Context, m Message) error
	name() string
}

// Hooks are all hooks of a configuration.
type Hooks struct {
	hooks []hooked
}

type hooked struct {
	Config
	sender
}

// hears reports whether the hook is for the occasion.
func (k hooked) hears(on string) bool { return slices.Contains(k.On, on) }

// New prepares the hooks. They were validated.
func New(configs []Config) (*Hooks, error) {
	h := &Hooks{}
	for _, c := range configs {
		if len(c.Command) > 0 {
			h.hooks = append(h.hooks, hooked{c, command{c}})
			continue
		}
		w, err := newWebhook(c)
		if err != nil {
			return nil, err
		}
		h.hooks = append(h.hooks, hooked{c, w})
	}
	return h, nil
}

// Wanted reports whether some hook is for the occasion.
func (h *Hooks) Wanted(on string) bool {
	return h != nil && slices.ContainsFunc(h.hooks, func(k hooked) bool { return k.hears(on) })
}

// Ask asks every hook of a gate, one after the other. The first that does not say yes in time is a *RefusedError.
func (h *Hooks) Ask(ctx context.Context, m Message) error {
	if h == nil {
		return nil
	}
	for _, k := range h.hooks {
		if !k.hears(m.On) {
			continue
		}
		if err := k.deliver(ctx, m); err != nil {
			var no *RefusedError
			if errors.As(err, &no) || ctx.Err() != nil {
				return err
			}
			return &RefusedError{Hook: k.name(), On: m.On, Why: "it did not answer: " + err.Error()}
		}
	}
	return nil
}

// Tell tells every hook that is for the occasion, and answers what went wrong with each.
func (h *Hooks) Tell(ctx context.Context, m Message) error {
	if h == nil {
		return nil
	}
	var errs []error
	for _, k := range h.hooks {
		if !k.hears(m.On) {
			continue
		}
		if err := k.deliver(ctx, m); err != nil {
			errs = append(errs, fmt.Errorf("tell %s of %s: %w", k.name(), m.On, err))
		}
	}
	return errors.Join(errs...)
}

// deliver tries until the hook has answered, or the retries are used up.
func (k hooked) deliver(ctx context.Context, m Message) (err error) {
	for try := 0; ; try++ {
		one, cancel := context.WithTimeout(ctx, k.Timeout)
		err = k.send(one, m)
		cancel()
		var no *RefusedError
		if err == nil || errors.As(err, &no) || try >= k.Retries || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(min(time.Second<<try, 30*time.Second)):
		}
	}
}
