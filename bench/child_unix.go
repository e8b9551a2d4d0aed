//go:build unix && !linux

package bench

import "syscall"

// ChildAttr keeps a terminal's interrupt from the server, which is told by us.
func ChildAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
