package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
)

// Own makes this process the one that coordinates, until release is called or the
// process ends, however it ends. A second owner gets *BusyError. Reading, a person's
// word, and in a shared database a zone's work need no ownership.
func (j *Journal) Own(ctx context.Context) (release func(), err error) {
	j.owning.Lock()
	defer j.owning.Unlock()
	let, err := j.db.own(ctx)
	if err != nil {
		return nil, err
	}
	j.owned = true
	return sync.OnceFunc(func() {
		j.owning.Lock()
		defer j.owning.Unlock()
		let()
		j.owned = false
	}), nil
}

// borrow owns the database unless this journal owns it already, or others may work on it.
func (j *Journal) borrow(ctx context.Context) (release func(), err error) {
	if j.db.shared() {
		return func() {}, nil
	}
	j.owning.Lock()
	owned := j.owned
	j.owning.Unlock()
	if owned {
		return func() {}, nil
	}
	return j.Own(ctx)
}

// lockFile takes the lock beside the database and writes into it who has it. The
// file stays when the lock is released: removing it would let two processes lock
// two files of the same name.
func lockFile(database string) (*os.File, error) {
	path := database + ".lock"
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, &WriteError{Op: "open the lock file " + path, Err: err}
	}
	if !tryLock(f) {
		holder, _ := io.ReadAll(io.LimitReader(f, 200)) // who it is matters less than that there is one
		f.Close()
		return nil, &BusyError{Path: database, Holder: strings.TrimSpace(string(holder))}
	}
	host, _ := os.Hostname()
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteAt(fmt.Appendf(nil, "pid %d on %s\n", os.Getpid(), host), 0)
	}
	if err != nil {
		f.Close()
		return nil, &WriteError{Op: "write the lock file " + path, Err: err}
	}
	return f, nil
}

func unlockFile(f *os.File) {
	_ = f.Truncate(0) // nobody's name is in a lock that nobody has
	f.Close()
}

// lockPatience is how long an opener waits for another one that migrates.
const lockPatience = 10 * time.Second

// awaitLock takes the lock, or answers nil once ready says that it is not needed
// any more.
func awaitLock(ctx context.Context, database string, ready func() (bool, error)) (*os.File, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, lockPatience, errLockHeld)
	defer cancel()
	for {
		if done, err := ready(); done || err != nil {
			return nil, err
		}
		f, err := lockFile(database)
		var busy *BusyError
		if !errors.As(err, &busy) {
			return f, err
		}
		select {
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), errLockHeld) {
				return nil, busy
			}
			return nil, context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

var errLockHeld = errors.New("the lock is held")
