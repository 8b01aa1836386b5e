package main

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"wavelock/rollout/lab"
	"wavelock/rollout/machinetest"
)

func newLab(a *app) *cobra.Command {
	c := &cobra.Command{
		Use: "lab", GroupID: "begin",
		Short: "Run a simulated domain to rehearse on",
		Long: `A simulated domain on this computer, to rehearse on: a directory, a CA, DNS and
Windows computers that answer WS-Management.`,
		Example: "  wavelock lab up --hosts 40 --dir lab",
		Args:    knownCommand,
		RunE:    func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newLabUp(a), newLabFaults(a))
	return c
}

func newLabFaults(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "faults", Args: exactly(),
		Short:   "List what can be wrong with a simulated computer",
		Long:    "List the faults that wavelock lab up --fault gives to simulated computers.",
		Example: "  wavelock lab faults",
		RunE: func(*cobra.Command, []string) error {
			t := table{head: []string{"FAULT", "THE COMPUTER"}}
			docs := map[string]string{}
			for _, f := range machinetest.Faults {
				t.add(f.Name, f.Doc)
				docs[string(f.Name)] = f.Doc
			}
			return t.write(a.out, a.output, docs)
		},
	}
}

type labOptions struct {
	Hosts   int
	Seed    uint64
	Latency time.Duration
	Dir     string
	Network string
	Faults  []string
}

func newLabUp(a *app) *cobra.Command {
	o := labOptions{Hosts: 40, Seed: 1, Dir: "lab"}
	c := &cobra.Command{
		Use: "up", Args: exactly(),
		Short: "Start a simulated domain, and run it until Ctrl-C",
		Long: `Start a directory, a CA, a DNS server and Windows computers on loopback, and
write wavelock.yaml, ca.pem and hosts.csv for them. Nothing is wrong with them
unless --fault says so; wavelock lab faults lists what can be.`,
		Example: "  wavelock lab up --hosts 100 --dir lab --fault wrong-certificate:2 &\n  cd lab && wavelock assess",
		RunE:    func(c *cobra.Command, _ []string) error { return a.labUp(c.Context(), o) },
	}
	f := c.Flags()
	f.IntVar(&o.Hosts, "hosts", o.Hosts, "`NUMBER` of simulated computers")
	f.Uint64Var(&o.Seed, "seed", o.Seed, "`NUMBER` that decides who meets a fault")
	f.DurationVar(&o.Latency, "latency", 0, "delay every answer of a computer by that `TIME`")
	f.StringVar(&o.Network, "network", "", "`NETWORK` of the computers' addresses, such as 10.66.0.0/20, routed to this system (default: loopback)")
	f.StringVar(&o.Dir, "dir", o.Dir, "`FOLDER` for the files")
	f.StringArrayVar(&o.Faults, "fault", nil, "fault `NAME:COUNT`; again for more")
	var choices []string
	for _, fault := range machinetest.Faults {
		choices = append(choices, string(fault.Name)+":1\t"+fault.Doc)
	}
	completes(c, map[string]completion{"fault": completeFrom(choices...), "dir": completeFolders, "hosts": completeNothing, "seed": completeNothing, "latency": completeNothing, "network": completeNothing})
	return c
}

func (a *app) labUp(ctx context.Context, o labOptions) error {
	if o.Hosts < 1 || o.Hosts > 20000 {
		return failWith(exitUsage, "use --hosts 40", "a lab has 1 to 20000 computers, not %d", o.Hosts)
	}
	cfg := lab.Config{Hosts: o.Hosts, Seed: o.Seed, Latency: o.Latency, Faults: map[string]int{}, Log: a.logger()}
	if o.Network != "" {
		network, err := netip.ParsePrefix(o.Network)
		if err != nil {
			return failWith(exitUsage, "write it as 10.66.0.0/20, and see that it is local: ip route add local 10.66.0.0/20 dev lo", "--network %q is no network", o.Network)
		}
		cfg.Network = network
	}
	faulty := 0
	for _, s := range o.Faults {
		name, count, _ := strings.Cut(s, ":")
		n, err := strconv.Atoi(count)
		if err != nil || n < 1 {
			return failWith(exitUsage, "write it as wrong-certificate:2", "--fault %q has no count", s)
		}
		if _, err := machinetest.ParseFault(name); err != nil {
			return failWith(exitUsage, "wavelock lab faults lists them", "--fault %q: %w", s, err)
		}
		cfg.Faults[name] = n
		if faulty += n; faulty > o.Hosts {
			return failWith(exitUsage, "a computer has one fault at most: raise --hosts", "%d faults are more than the lab's %s", faulty, plural(o.Hosts, "computer"))
		}
	}
	l, err := lab.Start(ctx, cfg)
	if err != nil {
		return notStarted(err, o.Network)
	}
	defer l.Close()
	if err := l.WriteFiles(o.Dir); err != nil {
		return failWith(exitError, "name another folder with --dir", "%w", err)
	}
	a.progress("%s are up; use --config %s; Ctrl-C ends the lab", plural(o.Hosts, "computer"), filepath.Join(o.Dir, "wavelock.yaml"))
	<-ctx.Done()
	return nil
}

// notStarted says what to do about a lab that could not be started.
func notStarted(err error, network string) error {
	hint := ""
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL) && network != "":
		hint = "route the network to this system first: ip route add local " + network + " dev lo"
	case errors.Is(err, syscall.EADDRINUSE):
		hint = "end what has the port, another lab for instance"
	case errors.Is(err, syscall.EMFILE):
		hint = "each computer takes some open files: raise the limit with ulimit -n, or lower --hosts"
	}
	return failWith(exitError, hint, "start the lab: %w", err)
}
