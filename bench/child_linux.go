package bench

import "syscall"

// childAttr keeps a terminal's interrupt from the server, which is told by us, and ends it when this process dies.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
