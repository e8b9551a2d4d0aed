//go:build !386

package peers

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"zeroframe/frame"
	"zeroframe/internal/handshake"
	"zeroframe/mask"
)

// floors do what no server can do without: they encode a message and write it to one socket after the other, with
// RawSyscall, from one goroutine that looks at no member but to read what it sends.
var floors = []*Server{
	{Name: "writes", topic: listening(serveFloor(false)), Publishing: "the bound without batches: send(2) of each message on each socket, and nothing else"},
	{Name: "batched writes", topic: listening(serveFloor(true)), Publishing: "the bound with batches: one send(2) on each socket for all messages that came with one read"},
}

// floor is such a server.
type floor struct {
	epoll   int
	batched bool
	mu      sync.Mutex // guards what follows, before the load begins
	fds     []int
	input   map[int][]byte // the beginning of a frame
	buf     []byte
	out     []byte
}

func serveFloor(batched bool) func(net.Listener, Options) error {
	return func(ln net.Listener, _ Options) error {
		epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			return err
		}
		f := &floor{epoll: epoll, batched: batched, input: make(map[int][]byte), buf: make([]byte, 256<<10)}
		go f.run()
		for {
			c, err := ln.Accept()
			if err != nil {
				return err
			}
			go f.open(c.(*net.TCPConn))
		}
	}
}

// open answers a handshake, and takes the descriptor.
func (f *floor) open(c *net.TCPConn) {
	defer c.Close()
	r, err := http.ReadRequest(bufio.NewReader(c))
	if err != nil {
		return
	}
	if _, err := c.Write(handshake.AppendSwitching(nil, []byte(r.Header.Get("Sec-WebSocket-Key")), "", "", nil)); err != nil {
		return
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	raw.Control(func(original uintptr) {
		fd, err := unix.FcntlInt(original, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.fds = append(f.fds, fd)
		unix.EpollCtl(f.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Fd: int32(fd), Events: unix.EPOLLIN})
	})
}

func (f *floor) run() {
	events := make([]unix.EpollEvent, 256)
	for {
		r, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(f.epoll), uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
		n := int(r)
		if errno != 0 || n == 0 {
			if n, _ = unix.EpollWait(f.epoll, events, -1); n < 0 {
				continue
			}
		}
		for i := range n {
			if err := f.readable(int(events[i].Fd)); err != nil {
				fmt.Fprintln(os.Stderr, "writes:", err)
				os.Exit(1)
			}
		}
	}
}

func (f *floor) readable(fd int) error {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(&f.buf[0])), uintptr(len(f.buf)), unix.MSG_DONTWAIT, 0, 0)
	f.mu.Lock()
	defer f.mu.Unlock()
	if errno == syscall.EAGAIN || errno == syscall.EINTR {
		return nil
	}
	if errno != 0 || n == 0 {
		f.close(fd)
		return nil
	}
	b := f.buf[:n]
	if kept := f.input[fd]; len(kept) > 0 {
		b = append(kept, b...)
	}
	f.out = f.out[:0]
	for {
		op, payload, size := parse(b)
		if size == 0 {
			break
		}
		b = b[size:]
		if op == frame.Close {
			f.close(fd)
			return nil
		}
		f.out = frame.AppendFrame(f.out, frame.Header{Fin: true, OpCode: op, Length: int64(len(payload))}, payload)
		if !f.batched {
			if err := f.writeAll(); err != nil {
				return err
			}
		}
	}
	f.input[fd] = append(f.input[fd][:0], b...)
	return f.writeAll()
}

// writeAll writes what is in out to each socket.
func (f *floor) writeAll() error {
	if len(f.out) == 0 {
		return nil
	}
	for _, fd := range f.fds {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&f.out[0])), uintptr(len(f.out)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
		if errno == syscall.EAGAIN || errno == 0 && int(n) != len(f.out) {
			return errors.New("a socket is full: this server is for members that read")
		}
	}
	f.out = f.out[:0]
	return nil
}

func (f *floor) close(fd int) {
	if i := slices.Index(f.fds, fd); i >= 0 {
		f.fds = slices.Delete(f.fds, i, i+1)
	}
	delete(f.input, fd)
	unix.Close(fd)
}

// parse unmasks the frame at the beginning of b; size is 0 if it is not all there.
func parse(b []byte) (op frame.OpCode, payload []byte, size int) {
	if len(b) < 2 {
		return 0, nil, 0
	}
	head, n := 2, int(b[1]&0x7F)
	switch {
	case n == 126 && len(b) >= 4:
		head, n = 4, int(binary.BigEndian.Uint16(b[2:]))
	case n == 127 && len(b) >= 10:
		head, n = 10, int(binary.BigEndian.Uint64(b[2:]))
	case n >= 126:
		return 0, nil, 0
	}
	if len(b) < head+4+n {
		return 0, nil, 0
	}
	key := binary.LittleEndian.Uint32(b[head:])
	payload = b[head+4:][:n]
	mask.XOR(payload, key, 0)
	return frame.OpCode(b[0] & 0x0F), payload, head + 4 + n
}
