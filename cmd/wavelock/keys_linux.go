package main

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// singleKeys gives keys as they are pressed, without showing them. Ctrl-C stays a signal.
func singleKeys(f *os.File) (back func(), err error) {
	fd := int(f.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, err
	}
	now := *before
	now.Lflag &^= unix.ICANON | unix.ECHO
	now.Cc[unix.VMIN], now.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &now); err != nil {
		return nil, err
	}
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, before) }, nil // the terminal may be gone
}

// awaitKey waits for a key, but not for ever.
func awaitKey(f *os.File, wait time.Duration) (bool, error) {
	p := []unix.PollFd{{Fd: int32(f.Fd()), Events: unix.POLLIN}}
	n, err := unix.Poll(p, int(wait.Milliseconds()))
	switch {
	case errors.Is(err, unix.EINTR):
		return false, nil
	case err != nil:
		return false, err
	case n > 0 && p[0].Revents&unix.POLLIN == 0:
		return false, errors.New("the terminal is gone")
	}
	return n > 0, nil
}
