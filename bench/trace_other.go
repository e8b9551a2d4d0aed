//go:build !linux

package bench

import "context"

// countSyscalls is not available here.
func countSyscalls(context.Context, int, func() (uint64, error)) (*Syscalls, string, error) {
	return nil, "system calls are counted on Linux only", nil
}
