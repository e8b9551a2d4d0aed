package loop

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// What accept can fail with.
type acceptFailure uint8

const (
	acceptBroken acceptFailure = iota // the listener itself, or the system: wait and try again
	acceptNone                        // nobody waits
	acceptDied                        // the connection died in the backlog
	acceptNoFile                      // descriptors or memory for them ran out
)

// listener is a listening descriptor watched by one loop, which accepts for all of them.
type listener struct {
	loop    *Loop
	fd      int
	layer   *Layer
	orig    net.Listener // kept alive and open: collected, it would close the descriptor it shares a file with
	watched bool
	early   bool          // what is accepted may have come before the listener was tuned, and inherited nothing
	stops   bool          // reads of its connections may stop short
	resting bool          // descriptors ran out: nothing is accepted for a while
	said    time.Duration // when complain last logged, by the loop's clock; 0: never
	once    sync.Once
	ended   chan struct{} // closed with err set
	err     error
}

const (
	// acceptBatch bounds the connections taken in one event; the poller reports the rest again.
	acceptBatch = 128
	// refuseBatch bounds the clients refused in one go when descriptors ran out.
	refuseBatch = 64
	// acceptBackoff is how long a listener rests when descriptors ran out, so that it does not spin.
	acceptBackoff = 50 * time.Millisecond
	// complainEvery is the least time between two lines of the log about accept: who keeps a listener at its limit must
	// not fill the disk too.
	complainEvery = 10 * time.Second
	// closedPoll is how often Serve looks whether its listener was closed by its owner. Nothing announces that: the
	// duplicate that the loop watches goes on listening.
	closedPoll = 200 * time.Millisecond
)

// Layer is what the connections of a listener have between them and their descriptors.
type Layer struct {
	Stream  func() Stream // makes the stream of a connection; called on a loop
	Refusal []byte        // written to a peer that is refused, in place of the group's, unless it is nil
}

// Serve accepts connections of ln, which must have a descriptor (TCP or unix), until the group or the listener is
// closed; it returns ErrClosed then. stop, when closed, ends it too. layer may be nil. Serve takes ln over and closes it.
func (g *Group) Serve(ln net.Listener, stop <-chan struct{}, layer *Layer) error {
	var sc syscall.Conn
	switch ln := ln.(type) {
	case *net.TCPListener:
		sc = ln
	case *net.UnixListener:
		sc = ln
	default: // one that wraps these has an Accept of its own, which would be passed over
		ln.Close()
		return fmt.Errorf("loop: cannot accept from a %T: a *net.TCPListener or *net.UnixListener is needed", ln)
	}
	fd, err := dupConn(sc)
	if err != nil {
		ln.Close()
		return err
	}
	if ln.Addr().Network() == "tcp" {
		if err := tuneTCP(fd, g.cfg.NoDelay, g.cfg.KeepAlive, g.cfg.UserTimeout); err != nil {
			closeFD(fd)
			ln.Close()
			return err
		}
	}
	l := g.quietest()
	e := &listener{loop: l, fd: fd, layer: layer, orig: ln, ended: make(chan struct{})}
	e.early, e.stops = ln.Addr().Network() == "tcp", readsStop(fd)
	if !l.Do(func() {
		if l.stopping {
			e.close(nil)
			return
		}
		l.listeners[fd] = e
		if err := l.poll.add(fd); err != nil {
			e.close(err)
			return
		}
		e.watched = true
		e.accept()
	}) {
		closeFD(fd)
		ln.Close()
		return ErrClosed
	}
	e.watch(sc, stop)
	if e.err != nil {
		return e.err
	}
	return ErrClosed
}

// watch returns when the listener has ended, and ends it when stop or the original listener is closed.
func (e *listener) watch(sc syscall.Conn, stop <-chan struct{}) {
	look := time.NewTicker(closedPoll)
	defer look.Stop()
	raw, err := sc.SyscallConn() // once: each is an object
	for {
		select {
		case <-e.ended:
			return
		case <-look.C:
			if err == nil && raw.Control(func(uintptr) {}) == nil {
				continue
			}
		case <-stop:
		}
		e.loop.Do(func() { e.close(nil) }) // refused when the group has ended, and the listener with it
		<-e.ended
		return
	}
}

// close ends the listener. Loop only.
func (e *listener) close(err error) {
	e.once.Do(func() {
		delete(e.loop.listeners, e.fd)
		if e.watched {
			e.loop.poll.remove(e.fd)
		}
		closeFD(e.fd)
		if closed := e.orig.Close(); closed != nil && !errors.Is(closed, net.ErrClosed) {
			err = errors.Join(err, closed)
		}
		e.err = err
		close(e.ended)
	})
}

// accept takes what waits in the backlog and gives each connection to the loop with the fewest.
func (e *listener) accept() {
	if e.resting || e.loop.listeners[e.fd] != e {
		return // or it was asked for before the listener was closed
	}
	g := e.loop.group
	mayNotBlock(e.fd)
	for range acceptBatch {
		fd, remote, err := e.next()
		if err != nil {
			switch acceptFault(err) {
			case acceptNone:
				e.early = false
				return
			case acceptDied:
				continue
			case acceptNoFile:
				e.refuseSome(err)
			default:
				e.complain(slog.LevelError, "accept failed", err)
			}
			e.rest()
			return
		}
		if e.early {
			tuneTCP(fd, g.cfg.NoDelay, g.cfg.KeepAlive, g.cfg.UserTimeout) // fails only for one that has died
		}
		if g.cfg.MaxConns > 0 && g.Len() >= g.cfg.MaxConns {
			e.refuse(fd, RefusedMaxConns)
			continue
		}
		var release func()
		if g.cfg.Admit != nil {
			var ok bool
			if release, ok = g.admit(remote); !ok {
				e.refuse(fd, RefusedByHook)
				continue
			}
		}
		c := g.cfg.NewConn(release)
		c.fd = int32(fd)
		if e.stops {
			c.flags |= flagStops
		}
		if e.layer != nil {
			g.place(c, e.layer.Stream())
		}
		g.give(c)
	}
	e.loop.Do(e.accept) // no event announces what is left
}

// next takes one connection off the backlog. remote is set only where the hook wants to see it: the kernel's form of an
// address and ours are two objects of garbage.
func (e *listener) next() (fd int, remote netip.AddrPort, err error) {
	if e.loop.group.cfg.Admit == nil {
		fd, err = acceptUnnamed(e.fd)
		return fd, remote, err
	}
	fd, sa, err := accept(e.fd)
	return fd, addrPort(sa), err
}

// admit asks the hook; a panic in it refuses.
func (g *Group) admit(remote netip.AddrPort) (release func(), ok bool) {
	defer func() {
		if v := recover(); v != nil {
			g.cfg.Logger.Error("panic in the accept hook", slog.Any("panic", v))
		}
	}()
	return g.cfg.Admit(remote)
}

// refuse tells an accepted peer why it is not served, as far as its buffer takes it, and closes.
func (e *listener) refuse(fd int, cause Refusal) {
	g := e.loop.group
	refusal := g.cfg.Refusal
	if e.layer != nil && e.layer.Refusal != nil {
		refusal = e.layer.Refusal
	}
	refuse(fd, refusal, e.loop.buf)
	closeFD(fd)
	if g.cfg.Refused != nil {
		g.cfg.Refused(e.loop, cause)
	}
}

// refuse writes refusal to a peer, as far as its buffer takes it, before its descriptor is closed. scratch is for what it
// has sent.
func refuse(fd int, refusal, scratch []byte) {
	discardInput(fd, scratch)
	if refusal != nil {
		send(fd, refusal, sendMore)
	}
	shutdownWrite(fd)
	discardInput(fd, scratch)
}

// refuseSome frees the spare descriptor to accept the clients at the head of the backlog, one after another, and refuse
// them: those who came late need not wait for the rest of the listener to hear it.
func (e *listener) refuseSome(cause error) {
	g := e.loop.group
	e.complain(slog.LevelWarn, "out of descriptors: refusing connections", cause)
	g.mu.Lock()
	defer g.mu.Unlock()
	for range refuseBatch {
		g.spare.close()
		fd, err := acceptUnnamed(e.fd)
		if err == nil {
			e.refuse(fd, RefusedNoFile)
		}
		if !g.closed {
			g.spare.open()
		}
		if err != nil {
			return
		}
	}
}

// complain logs what keeps the listener from accepting, now and then.
func (e *listener) complain(level slog.Level, what string, err error) {
	if now := e.loop.now; e.said == 0 || now-e.said >= complainEvery {
		e.said = now
		e.loop.group.cfg.Logger.Log(context.Background(), level, what, slog.Any("error", err))
	}
}

// rest leaves the backlog alone for a while.
func (e *listener) rest() {
	l := e.loop
	e.resting = true
	l.after(acceptBackoff, func() {
		e.resting = false
		if l.listeners[e.fd] == e {
			e.accept()
		}
	})
}

// give hands a connection with its descriptor or stream to a loop.
func (g *Group) give(c *Conn) error {
	g.mu.Lock() // Close looks into the mailboxes for the last time after this, or ended is set
	defer g.mu.Unlock()
	if g.ended.Load() {
		if c.fd >= 0 {
			c.closeIO()
		}
		return ErrClosed
	}
	if c.loop == nil {
		c.loop = g.quietest()
	}
	c.loop.load.Add(1)
	g.conns.Add(1)
	c.post(mailRegister)
	return nil
}

// forget is give taken back.
func (g *Group) forget(c *Conn) {
	c.loop.load.Add(-1)
	g.conns.Add(-1)
}
