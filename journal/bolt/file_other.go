//go:build !unix || solaris || aix

package bolt

import (
	"errors"
	"os"
	"time"
)

// lockFile leaves the locking to bbolt, which has its own way here.
func lockFile(*os.File, time.Duration) error { return nil }

// unlockFile leaves the unlocking to the system, which does it with the close.
func unlockFile(*os.File) {}

// mapFile is left to bbolt.
func mapFile(*os.File, int64) ([]byte, error) { return nil, errors.ErrUnsupported }

func unmapFile([]byte) {}

// syncDir does nothing: directories cannot be synced here.
func syncDir(string) error { return nil }
