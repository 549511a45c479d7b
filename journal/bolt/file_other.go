//go:build !unix || solaris || aix

package bolt

import (
	"os"
	"time"
)

// lockFile leaves the locking to bbolt, which has its own way here.
func lockFile(*os.File, time.Duration) error { return nil }

// unlockFile leaves the unlocking to the system, which does it with the close.
func unlockFile(*os.File) {}

// syncDir does nothing: directories cannot be synced here.
func syncDir(string) error { return nil }
