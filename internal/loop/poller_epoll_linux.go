//go:build linux && !netpoll

package loop

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// poller is an epoll instance of our own. It stands in place of netpoll on Linux because it knows where a batch of
// events ends: the mailbox is drained and timers fire there without a system call, a wake-up is written only while the
// loop sleeps, and the wheel's next deadline is the timeout of the wait. Build with -tags netpoll for the other one.
type poller struct {
	epfd     int
	wakefd   int
	sleeping atomic.Bool // the loop is, or is about to be, blocked in epoll_wait
	closing  sync.Mutex  // held to write to wakefd and to close it: its number may be another's a moment later
	closed   bool
	quiet    bool // the last sleep was a long one, and so the next will be
	events   [256]unix.EpollEvent
}

func openPoller() (*poller, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	wakefd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		unix.Close(epfd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	p := &poller{epfd: epfd, wakefd: wakefd}
	if err := p.watch(wakefd, unix.EPOLLIN|unix.EPOLLET); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *poller) close() {
	p.closing.Lock()
	defer p.closing.Unlock()
	p.closed = true
	unix.Close(p.wakefd)
	unix.Close(p.epfd)
}

// shortReadEmpties: a descriptor that gave less than was asked for has nothing more until the next event.
const shortReadEmpties = true

// add watches fd for everything, edge-triggered: no system call when a connection pauses or has a backlog, and the kernel
// need not look again at each descriptor that was ready, to find that it is not.
func (p *poller) add(fd int) error {
	return p.watch(fd, unix.EPOLLIN|unix.EPOLLPRI|unix.EPOLLOUT|unix.EPOLLRDHUP|unix.EPOLLET)
}

func (p *poller) watch(fd int, events uint32) error {
	ev := unix.EpollEvent{Fd: int32(fd), Events: events}
	return os.NewSyscallError("epoll_ctl add", unix.EpollCtl(p.epfd, unix.EPOLL_CTL_ADD, fd, &ev))
}

// remove forgets a descriptor that will live on elsewhere; closing one needs no remove.
func (p *poller) remove(fd int) error {
	return os.NewSyscallError("epoll_ctl del", unix.EpollCtl(p.epfd, unix.EPOLL_CTL_DEL, fd, nil))
}

// wake makes run call turn soon. Any goroutine may call it; it costs a system call only while the loop sleeps.
func (p *poller) wake() {
	if p.sleeping.CompareAndSwap(true, false) {
		p.closing.Lock()
		defer p.closing.Unlock()
		if !p.closed {
			one := [8]byte{1} // any non-zero counter, in either byte order
			unix.Write(p.wakefd, one[:])
		}
	}
}

// run waits for events and hands each to l.event, and calls l.turn after every batch, until that says stop. It returns how
// long the poller may sleep: 0 not at all, negative for ever. l.woke is called after a sleep, before its events.
func (p *poller) run(l *Loop) error {
	for {
		sleep, stop := l.turn(false)
		if stop {
			return nil
		}
		var n int
		var err error
		if !p.quiet || sleep == 0 {
			n, err = p.poll()
			l.stats.Waits++
		}
		if n == 0 && err == nil && sleep != 0 {
			// Goroutines made runnable by this batch go first: a thread blocked in epoll_wait keeps its P until the
			// runtime's monitor takes it away, which can last 10 ms.
			runtime.Gosched()
			p.sleeping.Store(true)
			if sleep, stop = l.turn(true); !stop && sleep != 0 {
				began := l.now
				n, err = p.block(sleep)
				l.stats.Waits++
				l.woke()
				p.quiet = l.now-began > quietFrom
			}
			p.sleeping.Store(false)
			if stop {
				return nil
			}
		}
		if err != nil {
			if err == unix.EINTR {
				continue
			}
			return os.NewSyscallError("epoll_wait", err)
		}
		for i := range n {
			ev := &p.events[i]
			if int(ev.Fd) == p.wakefd {
				continue // each write is an edge, read or not
			}
			var r readiness
			if ev.Events&(unix.EPOLLIN|unix.EPOLLPRI|unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
				r |= isReadable
			}
			if ev.Events&unix.EPOLLOUT != 0 {
				r |= isWritable
			}
			if ev.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR|unix.EPOLLPRI) != 0 {
				r |= isEnding // or urgent data, at which a read stops short (tcp(7))
				if ev.Events&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
					r |= isBroken
				}
			}
			l.event(int(ev.Fd), r)
		}
	}
}

// quietFrom is how long a sleep must last for the loop to expect another when the events behind it are served, and to sleep
// without looking first: one system call for each, where messages come a few at a time.
const quietFrom = 20 * time.Microsecond

// poll takes what is ready without waiting. It cannot block, so the runtime need not hear of it.
func (p *poller) poll() (int, error) {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(p.epfd),
		uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), 0, 0, 0)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func (p *poller) block(sleep time.Duration) (int, error) {
	ms := -1
	if sleep > 0 {
		ms = int(min((sleep+time.Millisecond-1)/time.Millisecond, 1<<30))
	}
	return unix.EpollWait(p.epfd, p.events[:], ms)
}
