package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"wavelock/rollout"
)

// planFile is a plan as it lies on disk: with the hash that people compare.
type planFile struct {
	Hash string       `json:"hash"`
	Plan rollout.Plan `json:"plan"`
}

// writePlan writes the plan beside its final name and renames it: a plan file is
// whole or not there.
func writePlan(path string, p rollout.Plan) error {
	b, err := json.MarshalIndent(planFile{Hash: p.Hash(), Plan: p}, "", "  ")
	if err != nil {
		return fmt.Errorf("write the plan: %w", err)
	}
	return writeWhole(path, append(b, '\n'), 0o600)
}

func writeWhole(path string, b []byte, mode os.FileMode) error {
	return writeStream(path, mode, func(w io.Writer) error {
		_, err := w.Write(b)
		return err
	})
}

func writeStream(path string, mode os.FileMode, write func(io.Writer) error) error {
	if there, err := os.Stat(path); err == nil && !there.Mode().IsRegular() { // what is put there takes its place
		return failWith(exitUsage, "name a new file, or one that may be replaced", "write %s: it is no ordinary file", path)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return failWith(exitError, "name a file in a folder that is there and that this user may write to", "write %s: %w", path, unwrapPath(err))
	}
	defer os.Remove(tmp.Name()) // gone already when all went well
	if err = write(tmp); err == nil {
		err = tmp.Sync()
	}
	if cerr := tmp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Chmod(tmp.Name(), mode)
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		var full *fs.PathError
		if !errors.As(err, &full) {
			return err
		}
		return failWith(exitError, "the file is as it was before; see that there is room and that this user may write there", "write %s: %w", path, full.Err)
	}
	return nil
}

// readPlan reads a plan and refuses one that was edited.
func readPlan(path string) (rollout.Plan, error) {
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return rollout.Plan{}, failWith(exitUsage, "make one with wavelock plan --out "+path, "read the plan %s: %w", path, unwrapPath(err))
	case err != nil:
		return rollout.Plan{}, failWith(exitUsage, "name the file that wavelock plan wrote", "read the plan %s: %w", path, unwrapPath(err))
	}
	var f planFile
	if err := json.Unmarshal(b, &f); err != nil || f.Hash == "" {
		return rollout.Plan{}, failWith(exitPlan, "name the file that wavelock plan wrote, or make a new one", "the file %s is no plan: %s", path, notJSON(b, err))
	}
	if got := f.Plan.Hash(); got != f.Hash {
		return rollout.Plan{}, failWith(exitPlan, "a plan is never edited by hand: change the configuration and plan again",
			"the plan %s was edited: it says its hash is %.12s, but it is %.12s", path, f.Hash, got)
	}
	if err := f.Plan.Validate(); err != nil {
		return rollout.Plan{}, failWith(exitPlan, "make a new one with wavelock plan", "the plan %s cannot be run: %w", path, err)
	}
	return f.Plan, nil
}

// notJSON says why a file is not what was written, without the words of the decoder.
func notJSON(b []byte, err error) string {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case len(bytes.TrimSpace(b)) == 0:
		return "it is empty"
	case errors.As(err, &syntax) && int(syntax.Offset) >= len(b):
		return "it ends in the middle, as if it had been cut off"
	case errors.As(err, &syntax):
		return fmt.Sprintf("it is not JSON at byte %d", syntax.Offset)
	case errors.As(err, &kind):
		return fmt.Sprintf("it has another content at byte %d", kind.Offset)
	}
	return "it is JSON of another kind"
}

// exists reports whether there is a file.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
