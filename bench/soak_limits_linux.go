package bench

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// ReadSoakLimits asks the system. What it does not say is taken for unlimited.
func ReadSoakLimits() (SoakLimits, error) {
	const unlimited = 1 << 40
	l := SoakLimits{Files: unlimited}
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		return l, os.NewSyscallError("getrlimit", err)
	}
	l.Files = min(uint64(files.Max), unlimited)
	open, most := sysctl("fs/file-nr", 0, 0), sysctl("fs/file-max", 0, unlimited)
	l.SystemFiles = most - min(most, open)
	l.Watches = sysctl("fs/epoll/max_user_watches", 0, unlimited)
	l.FirstPort = int(sysctl("net/ipv4/ip_local_port_range", 0, 32768))
	l.LastPort = int(sysctl("net/ipv4/ip_local_port_range", 1, 60999))
	l.Backlog = sysctl("net/core/somaxconn", 0, unlimited)
	l.SocketMemory = sysctl("net/ipv4/tcp_mem", 2, unlimited>>12) * uint64(os.Getpagesize())
	l.Memory = kibibytes("/proc/meminfo", "MemAvailable")
	return l, nil
}

// sysctl returns a number of a setting, or another when it is not there.
func sysctl(name string, i int, otherwise uint64) uint64 {
	b, err := os.ReadFile("/proc/sys/" + name)
	if fields := strings.Fields(string(b)); err == nil && i < len(fields) {
		if n, err := strconv.ParseUint(fields[i], 10, 64); err == nil {
			return min(n, 1<<40)
		}
	}
	return otherwise
}

// slab returns the bytes of the kernel's own objects, sockets among them.
func slab() uint64 { return kibibytes("/proc/meminfo", "Slab") }

// bindLate lets a socket that is bound to an address without a port have that chosen by connect, which knows the
// destination, so that the same port can serve for others.
func bindLate(_, _ string, c syscall.RawConn) error {
	var set error
	err := c.Control(func(fd uintptr) {
		set = os.NewSyscallError("setsockopt IP_BIND_ADDRESS_NO_PORT", unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1))
	})
	if err != nil {
		return err
	}
	return set
}
