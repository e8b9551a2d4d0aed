//go:build darwin || dragonfly || freebsd || netbsd || openbsd || (linux && netpoll)

package loop

import (
	stderrors "errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2/pkg/errors"
	"github.com/panjf2000/gnet/v2/pkg/netpoll"
	"golang.org/x/sys/unix"
)

// poller stands on gnet's netpoll: kqueue on macOS and the BSDs, and epoll on Linux when built with -tags netpoll, so
// that CI can run this file too. It is the only file that imports netpoll.
//
// netpoll has no hook at the end of a batch, so turn runs when the wake pipe is read: every wake-up is a write, every
// event asks for one, since it may have armed a timer, and sleeping is left to a timer of the runtime. Its Trigger
// allocates, hence a pipe of our own. Connections are registered edge-triggered throughout: on kqueue netpoll cannot take
// a read filter out again, and a paused connection must not spin.
type poller struct {
	p       *netpoll.Poller
	wakeR   int
	wakeW   int
	woken   atomic.Bool
	closing sync.Mutex // held to write to wakeW and to close it: its number may be another's a moment later
	closed  bool
	timer   *time.Timer
}

func openPoller() (*poller, error) {
	np, err := netpoll.OpenPoller()
	if err != nil {
		return nil, err
	}
	var fds [2]int
	if err := unix.Pipe(fds[:]); err != nil {
		np.Close()
		return nil, os.NewSyscallError("pipe", err)
	}
	for _, fd := range fds {
		unix.CloseOnExec(fd)
		unix.SetNonblock(fd, true)
	}
	p := &poller{p: np, wakeR: fds[0], wakeW: fds[1]}
	p.timer = time.AfterFunc(time.Hour, p.wake)
	p.timer.Stop()
	if err := np.AddRead(&netpoll.PollAttachment{FD: p.wakeR}, false); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

func (p *poller) close() {
	p.timer.Stop()
	p.closing.Lock()
	defer p.closing.Unlock()
	p.closed = true
	unix.Close(p.wakeR)
	unix.Close(p.wakeW)
	p.p.Close()
}

func (p *poller) add(fd int) error {
	err := p.p.AddReadWrite(&netpoll.PollAttachment{FD: fd}, true)
	if stderrors.Is(err, unix.EEXIST) {
		return nil // taken up again after its interest was none
	}
	return err
}

// remove forgets a descriptor that will live on elsewhere. On kqueue a filter goes only with its descriptor: events
// that still come find no connection in the table.
func (p *poller) remove(fd int) error { return p.p.Delete(fd) }

// shortReadEmpties: netpoll does not always tell that the peer's end stands behind what is readable, so every read is
// followed by another, until one finds nothing.
const shortReadEmpties = false

func (p *poller) wake() {
	if p.woken.CompareAndSwap(false, true) {
		p.closing.Lock()
		defer p.closing.Unlock()
		if !p.closed {
			unix.Write(p.wakeW, []byte{1})
		}
	}
}

func (p *poller) run(l *Loop) error {
	p.wake() // the first turn arms the timer and drains what came before
	err := p.p.Polling(func(fd int, ev netpoll.IOEvent, flags netpoll.IOFlags) error {
		if fd != p.wakeR {
			var r readiness
			if netpoll.IsReadEvent(ev) {
				r |= isReadable
			}
			if netpoll.IsWriteEvent(ev) {
				r |= isWritable
			}
			if netpoll.IsErrorEvent(ev, flags) {
				r |= isReadable | isBroken
			}
			l.woke() // netpoll may have slept before this event
			l.event(fd, r)
			p.wake()
			return nil
		}
		var drain [16]byte
		unix.Read(p.wakeR, drain[:])
		p.woken.Store(false)
		runtime.Gosched() // goroutines made runnable by the last batch go first
		sleep, stop := l.turn(true)
		switch {
		case stop:
			return errors.ErrEngineShutdown
		case sleep == 0:
			p.wake()
		case sleep > 0:
			p.timer.Reset(sleep)
		}
		return nil
	})
	if err == errors.ErrEngineShutdown {
		return nil
	}
	return err
}
