// Package crashdisk gives a test a disk of its own whose power it can cut.
//
// Killing a process loses nothing that it wrote: the page cache stays. Only a
// power cut shows whether what was acknowledged had reached the disk. The disk
// is an ext4 file system on a loop device, and the cut is the ioctl with which
// the file systems' own tests do it: from then on nothing goes to the device,
// not even the file system's log.
//
// It takes root and loop devices. Without them a test skips.
package crashdisk
