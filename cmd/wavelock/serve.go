package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/spf13/cobra"
)

func newServe(a *app) *cobra.Command {
	var listen string
	var hash bool
	c := &cobra.Command{
		Use: "serve", GroupID: "look", Args: exactly(),
		Short: "Serve the dashboard, beside a running campaign or without",
		Long: `Serve the dashboard: coverage, waves, every computer, findings, certificates,
the journal. With observe.every it also looks at the fleet on a schedule, finds
drift, and opens the campaigns of observe.open, which wait for their approval.

Without accounts (dashboard.users, dashboard.groups) it only reads, on loopback.
On any other address it wants accounts and TLS (dashboard.certificate and key).`,
		Example: "  wavelock serve --listen 127.0.0.1:8686\n  wavelock serve --hash-password",
		RunE: func(c *cobra.Command, _ []string) error {
			if hash {
				return a.hashPassword()
			}
			cfg, err := loadConfig(a.config)
			if err != nil {
				return err
			}
			if listen != "" {
				cfg.Listen = listen
			}
			return a.serve(c.Context(), cfg)
		},
	}
	c.Flags().StringVar(&listen, "listen", "", "`ADDRESS:PORT` (default: listen, from the configuration)")
	c.Flags().BoolVar(&hash, "hash-password", false, "ask for a password, and print the hash for dashboard.users")
	completes(c, map[string]completion{"listen": completeNothing})
	return c
}

func (a *app) serve(ctx context.Context, cfg Config) error {
	door, err := a.openDoorway(cfg)
	if err != nil {
		return err
	}
	j, err := a.openJournal(ctx, cfg)
	if err != nil {
		return err
	}
	defer j.Close()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return failWith(exitUsage, "choose another with --listen", "listen on %s: %w", cfg.Listen, err)
	}
	scheme := "http"
	if door.secure {
		scheme, l = "https", tls.NewListener(l, door.tls)
	}
	a.progress("the dashboard is on %s://%s/", scheme, l.Addr())
	if err := tellManager(ctx, "READY=1"); err != nil {
		a.serveLog().Warn("systemd could not be told", "err", err)
	}
	if cfg.Observe.Every > 0 {
		look, err := a.newStanding(cfg, j)
		if err != nil {
			return err
		}
		ended := make(chan struct{})
		ctx, cancel := context.WithCancel(ctx)
		defer func() { cancel(); <-ended }()
		go func() {
			defer close(ended)
			look.run(ctx)
		}()
	}
	return serveHTTP(ctx, l, a.dashboard(ctx, cfg, j, door))
}

// tellManager tells systemd how we are, if it started us (sd_notify(3)).
func tellManager(ctx context.Context, state string) error {
	address := os.Getenv("NOTIFY_SOCKET")
	if address == "" {
		return nil
	}
	c, err := (&net.Dialer{}).DialContext(ctx, "unixgram", address)
	if err != nil {
		return err
	}
	defer c.Close()
	_, err = io.WriteString(c, state)
	return err
}

// serveHTTP serves until ctx ends.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return ctx }}
	stopped := context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		if err := s.Shutdown(grace); err != nil {
			_ = s.Close() // viewers that do not let go
		}
	})
	defer stopped()
	if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the dashboard: %w", err)
	}
	return nil
}
