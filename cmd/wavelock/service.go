package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/kardianos/service"
	"github.com/spf13/cobra"
)

func newService(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "service", GroupID: "look", Args: knownCommand,
		Short: "Run the dashboard as a systemd or Windows service",
		Long: `Install, start, stop and remove the service that does what wavelock serve does,
from the configuration given with --config. On Windows the account may be a
group managed service account, written CORP\svc-wavelock$; it has no password.`,
		Example: "  wavelock service install --config C:\\wavelock.yaml --user 'CORP\\svc$'",
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newServiceInstall(a), newServiceRun(a))
	for _, s := range []struct{ verb, short string }{
		{"start", "Start the service"}, {"stop", "Stop the service"}, {"uninstall", "Remove the service; the configuration and the database stay"}, {"status", "Tell whether the service runs"},
	} {
		c.AddCommand(newServiceVerb(a, s.verb, s.short))
	}
	return c
}

const serviceName = "wavelock"

// definition is the service as the system is told of it.
func (a *app) definition(user string) (*service.Config, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	file, err := filepath.Abs(a.config)
	if err != nil {
		return nil, err
	}
	d := &service.Config{Name: serviceName, DisplayName: "wavelock", Description: "wavelock: compliance dashboard of WinRM over HTTPS",
		UserName: user, Executable: exe, Arguments: []string{"service", "run", "--quiet", "--config", file}, WorkingDirectory: filepath.Dir(file)}
	d.Option = service.KeyValue{"SystemdScript": unit(d), "DelayedAutoStart": true, "OnFailure": "restart", "OnFailureDelayDuration": "60s"}
	return d, nil
}

// unit is the systemd unit. It may write beside the configuration and nowhere else.
func unit(d *service.Config) string {
	words := []string{strconv.Quote(d.Executable)}
	for _, arg := range d.Arguments {
		words = append(words, strconv.Quote(strings.ReplaceAll(arg, "%", "%%")))
	}
	user := ""
	if d.UserName != "" {
		user = "User=" + d.UserName + "\n"
	}
	return `[Unit]
Description=` + d.Description + `
Documentation=man:wavelock(1)
Wants=network-online.target
After=network-online.target

[Service]
` + user + `ExecStart=` + strings.Join(words, " ") + `
Restart=on-failure
RestartSec=60
UMask=0077
NoNewPrivileges=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectSystem=strict
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK
RestrictSUIDSGID=yes
LockPersonality=yes
CapabilityBoundingSet=
ReadWritePaths=` + strconv.Quote(d.WorkingDirectory) + `

[Install]
WantedBy=multi-user.target
`
}

func newServiceInstall(a *app) *cobra.Command {
	var user string
	show := false
	c := &cobra.Command{
		Use: "install", Args: exactly(),
		Short:   "Install the service; it starts with the system",
		Example: "  wavelock service install --user wavelock\n  wavelock service install --print > wavelock.service",
		RunE: func(*cobra.Command, []string) error {
			if _, err := loadConfig(a.config); err != nil {
				return err
			}
			d, err := a.definition(user)
			if err != nil {
				return err
			}
			if show {
				_, err := fmt.Fprint(a.out, unit(d))
				return err
			}
			return a.manage(d, "install")
		},
	}
	c.Flags().StringVar(&user, "user", "", "`ACCOUNT` that it runs as (default: the system's, which has more rights than needed)")
	c.Flags().BoolVar(&show, "print", false, "print the systemd unit, install nothing")
	completes(c, map[string]completion{"user": completeNothing})
	return c
}

func newServiceVerb(a *app, verb, short string) *cobra.Command {
	return &cobra.Command{
		Use: verb, Args: exactly(), Short: short, Example: "  wavelock service " + verb,
		RunE: func(*cobra.Command, []string) error {
			d, err := a.definition("")
			if err != nil {
				return err
			}
			return a.manage(d, verb)
		},
	}
}

func (a *app) manage(d *service.Config, verb string) error {
	s, err := service.New(nil, d)
	if err != nil {
		return failWith(exitError, "print the unit with wavelock service install --print and install it by hand", "this system's services are not known: %w", err)
	}
	if verb == "status" {
		return a.serviceStatus(s)
	}
	if err := service.Control(s, verb); err != nil {
		hint := "root may do this"
		if runtime.GOOS == "windows" {
			hint = "an administrator may do this, in an elevated window"
		}
		return failWith(exitError, hint, "%s the service %s: %w", verb, d.Name, err)
	}
	a.progress("%s: done", verb)
	return nil
}

func (a *app) serviceStatus(s service.Service) error {
	state, err := s.Status()
	word := map[service.Status]string{service.StatusRunning: "running", service.StatusStopped: "stopped"}[state]
	switch {
	case errors.Is(err, service.ErrNotInstalled):
		word = "not installed"
	case err != nil:
		return failWith(exitError, "is it installed? wavelock service install", "ask for the service's state: %w", err)
	}
	_, err = fmt.Fprintln(a.out, word)
	return err
}

// newServiceRun is what the system starts.
func newServiceRun(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "run", Args: exactly(), Hidden: true,
		Short: "Serve, as the system's service manager wants it", Example: "  wavelock service run --config /etc/wavelock/wavelock.yaml",
		RunE: func(c *cobra.Command, _ []string) error {
			cfg, err := loadConfig(a.config)
			if err != nil {
				return err
			}
			d, err := a.definition("")
			if err != nil {
				return err
			}
			if runtime.GOOS != "windows" || service.Interactive() {
				return a.serve(c.Context(), cfg) // systemd speaks in signals, which main hears
			}
			p := &daemon{serve: func(ctx context.Context) error { return a.serve(ctx, cfg) }}
			s, err := service.New(p, d)
			if err != nil {
				return fmt.Errorf("meet the service manager: %w", err)
			}
			return errors.Join(s.Run(), p.err)
		},
	}
}

// daemon is the service to kardianos/service: Start must not block, Stop waits.
type daemon struct {
	serve func(context.Context) error
	stop  context.CancelFunc
	done  chan struct{}
	err   error // of serve, once done is closed
}

var _ service.Interface = (*daemon)(nil)

func (p *daemon) Start(s service.Service) error {
	ctx, cancel := context.WithCancel(context.Background()) // a service has no caller
	p.stop, p.done = cancel, make(chan struct{})
	go func() {
		defer close(p.done)
		if p.err = p.serve(ctx); p.err != nil && ctx.Err() == nil {
			_ = s.Stop() // it cannot serve: the manager is to know, and to try again
		}
	}()
	return nil
}

func (p *daemon) Stop(service.Service) error {
	p.stop()
	<-p.done
	return nil
}
