package testenv

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// SmallDisk mounts a file system of its own that holds so many MiB, and returns
// where. Where that is not allowed the test is skipped.
func SmallDisk(t testing.TB, mib int) string {
	t.Helper()
	// Not t.TempDir: another user may have to reach it.
	dir, err := os.MkdirTemp("/tmp", "troupe-disk-") //nolint:usetesting // as said
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%dm,mode=0755", mib)); err != nil {
		_ = os.Remove(dir)
		t.Skipf("a file system cannot be mounted: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
		_ = os.Remove(dir)
	})
	return dir
}

// FillDisk leaves no room in dir's file system; the returned function gives it
// back.
func FillDisk(t testing.TB, dir string) (free func()) {
	t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	zeros := make([]byte, 64<<10)
	for size := len(zeros); size > 0; {
		_, err := f.Write(zeros[:size])
		switch {
		case errors.Is(err, syscall.ENOSPC):
			size /= 2
		case err != nil:
			t.Fatal(err)
		}
	}
	_ = f.Close() // nothing of it is read
	return func() {
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
}
