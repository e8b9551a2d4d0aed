//go:build unix && !linux

package bench

import "syscall"

// childAttr keeps a terminal's interrupt from the server, which is told by us.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
