//go:build unix

package journal

import (
	"os"
	"syscall"
)

// tryLock takes the lock that the system drops with the process.
func tryLock(f *os.File) bool {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}
