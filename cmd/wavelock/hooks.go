package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"wavelock/rollout"
	"wavelock/rollout/engine"
	"wavelock/rollout/hook"
)

// Hook tells another program what a campaign does, or asks it whether it may.
type Hook struct {
	On         []string         `yaml:"on"`          // campaign-start, wave-start, confirm-removal (gates), wave-done, wave-failed, rollback, campaign-done, event, drift
	Command    []string         `yaml:"command"`     // program and arguments; the message is its standard input, exit 0 its yes
	URL        string           `yaml:"url"`         // or an address that it is posted to, signed; 2xx is a yes
	SecretFile string           `yaml:"secret_file"` // of the signature
	SecretEnv  string           `yaml:"secret_env"`
	CAFile     string           `yaml:"ca_file"` // PEM roots of the server
	Timeout    rollout.Duration `yaml:"timeout"` // of one try; 30s
	Retries    *int             `yaml:"retries"` // of a post that was not answered; 3
}

func (h Hook) config(cfg Config, secret []byte) hook.Config {
	c := hook.Config{On: h.On, Command: h.Command, URL: h.URL, Secret: secret, Timeout: h.Timeout.D(), CAFile: cfg.path(h.CAFile)}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	if h.Retries != nil {
		c.Retries = *h.Retries
	} else if h.URL != "" {
		c.Retries = 3
	}
	return c
}

func (h Hook) validate(cfg Config) error {
	var any []byte
	if h.SecretFile+h.SecretEnv != "" {
		any = []byte("read when it is needed")
	}
	if h.SecretFile != "" && h.SecretEnv != "" {
		return errors.New("secret_file and secret_env are two answers to one question")
	}
	return h.config(cfg, any).Validate()
}

func (a *app) hooks(cfg Config) (*hook.Hooks, error) {
	if len(cfg.Hooks) == 0 {
		return nil, nil
	}
	var all []hook.Config
	for i, h := range cfg.Hooks {
		secret, err := a.hookSecret(cfg, h)
		if err != nil {
			return nil, failWith(exitUsage, "see hooks in the configuration", "hooks, entry %d: %w", i+1, err)
		}
		all = append(all, h.config(cfg, secret))
	}
	hooks, err := hook.New(all)
	if err != nil {
		return nil, failWith(exitUsage, "see hooks in the configuration", "hooks: %w", err)
	}
	return hooks, nil
}

func (a *app) hookSecret(cfg Config, h Hook) ([]byte, error) {
	switch {
	case h.SecretFile != "":
		b, err := os.ReadFile(cfg.path(h.SecretFile))
		if err != nil {
			return nil, fmt.Errorf("read the secret: %w", err)
		}
		a.warnOpen(cfg.path(h.SecretFile))
		if b = []byte(strings.TrimRight(string(b), "\r\n")); len(b) == 0 {
			return nil, fmt.Errorf("%s is empty", h.SecretFile)
		}
		return b, nil
	case h.SecretEnv != "":
		if v := os.Getenv(h.SecretEnv); v != "" {
			return []byte(v), nil
		}
		return nil, fmt.Errorf("the environment variable %s with the secret is not set", h.SecretEnv)
	}
	return nil, nil
}

// gate asks the hooks what the engine wants to know.
type gate struct {
	hooks *hook.Hooks
	plan  *rollout.Plan
	hash  string
	now   func() time.Time
}

var occasionOf = map[engine.QuestionKind]string{engine.AskCampaign: hook.CampaignStart, engine.AskWave: hook.WaveStart, engine.AskRemoval: hook.ConfirmRemoval}

func (g gate) Ask(ctx context.Context, q engine.Question) error {
	on, now := occasionOf[q.Kind], g.now()
	return g.hooks.Ask(ctx, hook.Message{ID: fmt.Sprintf("%s-%s-%d-%d", g.plan.ID, on, q.Wave, now.UnixNano()), On: on, Campaign: g.plan.ID, Plan: g.hash,
		At: now.UTC(), Wave: q.Wave, Hosts: q.Hosts})
}

// tell lets hooks hear of what happens after a Seq, beside another observer. The answer ends it, and waits a while for
// hooks that are behind.
func (a *app) tell(hooks *hook.Hooks, plan *rollout.Plan, after int64, observe func(rollout.Event)) (observer func(rollout.Event), end func()) {
	if hooks == nil {
		return observe, func() {}
	}
	t := hook.NewTeller(hooks, plan.Hash(), a.logger())
	return func(e rollout.Event) {
		observe(e)
		if e.Seq > after {
			t.Event(e)
		}
	}, func() { t.Close(15 * time.Second) }
}
