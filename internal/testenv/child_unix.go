//go:build unix

package testenv

import "syscall"

// Freeze stops the process with SIGSTOP; Thaw lets it go on. One that has ended
// does neither.
func (c *Child) Freeze() { _ = c.cmd.Process.Signal(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (c *Child) Thaw() { _ = c.cmd.Process.Signal(syscall.SIGCONT) }
