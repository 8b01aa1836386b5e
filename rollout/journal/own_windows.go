package journal

import (
	"os"

	"golang.org/x/sys/windows"
)

// tryLock takes the lock that the system drops with the process. It lies far
// behind the content, which others may read.
func tryLock(f *os.File) bool {
	at := &windows.Overlapped{Offset: 1 << 30}
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, at) == nil
}
