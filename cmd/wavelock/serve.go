package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/spf13/cobra"
)

func newServe(a *app) *cobra.Command {
	var listen string
	c := &cobra.Command{
		Use: "serve", GroupID: "look", Args: exactly(),
		Short: "Show the dashboard, live, beside or without a running campaign",
		Long: `Show the compliance dashboard: coverage by class and OU, the waves of each
campaign, hosts with their reasons and proofs. It only reads. Without
authentication it listens on loopback addresses only.`,
		Example: "  wavelock serve --listen 127.0.0.1:8686",
		RunE: func(c *cobra.Command, _ []string) error {
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
	c.Flags().StringVar(&listen, "listen", "", "address and port (default: from the configuration)")
	return c
}

func (a *app) serve(ctx context.Context, cfg Config) error {
	if err := onlyLoopback(cfg.Listen); err != nil {
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
	a.progress("the dashboard is on http://%s/", l.Addr())
	return serveHTTP(ctx, l, a.dashboard(j))
}

// onlyLoopback refuses to show the fleet to a network that was not asked who it is.
func onlyLoopback(listen string) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return failWith(exitUsage, "use 127.0.0.1:8686", "--listen %q is no address and port", listen)
	}
	ip, err := netip.ParseAddr(host)
	if host == "localhost" || (err == nil && ip.IsLoopback()) {
		return nil
	}
	return failWith(exitUsage, "listen on 127.0.0.1 and reach it through your own TLS proxy or an SSH tunnel",
		"the dashboard does not listen on %s: it has no authentication", listen)
}

// serveHTTP serves until ctx ends.
func serveHTTP(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 64 << 10,
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
