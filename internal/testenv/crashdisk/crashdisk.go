//go:build linux

package crashdisk

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"unsafe"
)

// Disk is a mounted file system that goes away with its test.
type Disk struct {
	Dir string // where it is mounted

	t     testing.TB
	image string
	cuts  int
}

// New makes a disk of so many MiB. A small one is also a disk that fills up.
// The test is skipped where there can be none.
func New(t testing.TB, sizeMiB int64) *Disk {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("a crash disk takes root, to mount a loop device")
	}
	for _, tool := range []string{"mkfs.ext4", "mount", "umount", "cp"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("a crash disk takes %s: %v", tool, err)
		}
	}
	base := t.TempDir()
	d := &Disk{Dir: filepath.Join(base, "disk"), t: t, image: filepath.Join(base, "image")}
	if err := os.Mkdir(d.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, sizeMiB<<20); err != nil {
		t.Fatal(err)
	}
	d.run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1", d.image)
	if out, err := d.mount(); err != nil {
		t.Skipf("a crash disk takes loop devices: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", d.Dir).Run() })
	return d
}

// Cut cuts the power: what was not synced is gone for ever, and every process
// with a file open on the disk gets errors. [Disk.Restore] brings the disk
// back as it then is.
func (d *Disk) Cut() {
	d.t.Helper()
	const (
		ext4Shutdown = 0x8004587d // EXT4_IOC_SHUTDOWN
		noLogFlush   = 2          // EXT4_GOING_FLAGS_NOLOGFLUSH
	)
	dir, err := os.Open(d.Dir)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = dir.Close() }() // the file system is gone by then
	how := uint32(noLogFlush)
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, dir.Fd(), ext4Shutdown, uintptr(unsafe.Pointer(&how))); errno != 0 {
		d.t.Fatalf("shut the file system down: %v", errno)
	}
}

// Restore mounts the disk again after a cut. End the processes that had files
// open on it first, or soon after.
//
// A process that lingers keeps the dead file system alive, and the kernel would
// mount that one again for the same image. So the image is copied: the copy is
// what the platter holds.
func (d *Disk) Restore() {
	d.t.Helper()
	d.run("umount", "-l", d.Dir)
	d.cuts++
	next := fmt.Sprintf("%s-%d", d.image, d.cuts)
	d.run("cp", "--sparse=always", d.image, next)
	_ = os.Remove(d.image)
	d.image = next
	if out, err := d.mount(); err != nil {
		d.t.Fatalf("mount after a power cut: %v: %s", err, out)
	}
}

func (d *Disk) mount() (string, error) {
	out, err := exec.Command("mount", "-o", "loop", d.image, d.Dir).CombinedOutput()
	return string(out), err
}

func (d *Disk) run(name string, args ...string) {
	d.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		d.t.Fatalf("%s %v: %v: %s", name, args, err, out)
	}
}
