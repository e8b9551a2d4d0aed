package bench

import "syscall"

// ChildAttr keeps a terminal's interrupt from the server, which is told by us, and ends it when this process dies.
func ChildAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
