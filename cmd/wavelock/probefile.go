package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"wavelock/rollout"
	"wavelock/rollout/journal"
)

// probeFormat begins every file that probe --report writes.
const probeFormat = "wavelock-probe/1"

// probeFile is what a client's computer proved, to be handed in where the journal is.
type probeFile struct {
	Format string            `json:"format"`
	Client string            `json:"client"`
	Proofs []rollout.Probing `json:"proofs"`
}

// probings are the proofs that were made: what failed is nothing that could be handed in.
func probings(rows []probed, client string) probeFile {
	f := probeFile{Format: probeFormat, Client: client, Proofs: []rollout.Probing{}}
	for _, r := range rows {
		if r.OK && r.Proof.From != "" {
			f.Proofs = append(f.Proofs, rollout.Probing{Host: r.Host, At: r.Proof.At, From: r.Proof.From, Client: client, Wire: r.Proof.Wire})
		}
	}
	return f
}

// writeProbes keeps the proofs in a new file.
func writeProbes(name string, rows []probed) error {
	client, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("the name of this computer: %w", err)
	}
	body, err := json.MarshalIndent(probings(rows, strings.ToLower(client)), "", "  ")
	if err != nil {
		return err
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return failWith(exitError, "name a new file in a folder that is there", "write %s: %w", name, unwrapPath(err))
	}
	_, err = file.Write(append(body, '\n'))
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, unwrapPath(err))
	}
	return nil
}

func readProbes(name string) (probeFile, error) {
	const most = 8 << 20
	var f probeFile
	hint := "it has to be a file that wavelock probe --report wrote"
	info, err := os.Stat(name)
	if err != nil {
		return f, failWith(exitUsage, hint, "read the proofs %s: %w", name, unwrapPath(err))
	}
	if info.Size() > most {
		return f, failWith(exitUsage, hint, "%s has %d bytes", name, info.Size())
	}
	body, err := os.ReadFile(name)
	if err != nil {
		return f, failWith(exitUsage, hint, "read the proofs %s: %w", name, unwrapPath(err))
	}
	if err := json.Unmarshal(body, &f); err != nil || f.Format != probeFormat {
		return f, failWith(exitUsage, hint, "%s is no file of proofs", name)
	}
	return f, nil
}

// acceptProbes takes proofs that were made elsewhere into the censuses of their hosts.
// What is refused is said, and does not keep the others from being taken.
func (a *app) acceptProbes(ctx context.Context, name, why string) error {
	f, err := readProbes(name)
	if err != nil {
		return err
	}
	cfg, err := loadConfig(a.config)
	if err != nil {
		return err
	}
	j, err := a.openJournal(ctx, cfg)
	if err != nil {
		return err
	}
	defer j.Close()
	t := table{head: []string{"HOST", "CLIENT", "ADDRESS", "VERDICT", "DETAIL"}}
	refused := 0
	for _, pr := range f.Proofs {
		pr.By, pr.Why = person(), why
		err := a.takeProof(ctx, cfg, j, pr)
		var no *rollout.ProbingError
		switch {
		case errors.As(err, &no):
			refused++
			t.add(pr.Host, printable(pr.Client), printable(pr.From), "refused", printable(no.Why)+"; "+no.Hint())
		case err != nil:
			return err
		default:
			t.add(pr.Host, printable(pr.Client), pr.From, "taken", "made at "+pr.At.UTC().Format(time.RFC3339))
		}
	}
	if err := t.write(a.out, a.output, t.rows); err != nil {
		return err
	}
	if refused > 0 || len(f.Proofs) == 0 {
		return failWith(exitFindings, "a proof is taken for a client that the census has seen on HTTP, with --why", "%d of %s were not taken", refused, plural(len(f.Proofs), "proof"))
	}
	return nil
}

func (a *app) takeProof(ctx context.Context, cfg Config, j *journal.Journal, pr rollout.Probing) error {
	r, known, err := j.Host(ctx, pr.Host)
	if err != nil {
		return err
	}
	if !known || r.Observation == nil {
		r.Observation = &rollout.Observation{Host: pr.Host} // of which nothing is known: no proof is of its certificate
	}
	return j.TakeProbing(ctx, pr, a.now(), func(c rollout.Census) (rollout.Census, error) {
		return c.WithProbing(pr, *r.Observation, cfg.Policy, a.now())
	})
}
