package nats

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	natsgo "github.com/nats-io/nats.go"
)

// link is the goroutine that owns the client. Nobody else calls it: it holds its lock while it connects and while it
// writes to a server that does not read.
type link struct {
	*Backplane
	ctx      context.Context // ended by abort
	nc       *natsgo.Conn    // nil: there is none
	epoch    int             // of the connection that was prepared
	retry    time.Time       // when a client that gave up is made anew
	failures int
	subs     map[string]*natsgo.Subscription // by subject, of topics
	taken    []byte                          // a chunk of the outbox
	rest     []byte                          // what is left to send of it
	subject  string                          // of the message before
	failed   int                             // messages that the client took and could not send
	slow     slow
}

func newLink(b *Backplane) *link {
	l := &link{Backplane: b}
	l.ctx, b.abort = context.WithCancel(context.Background())
	l.slow.lost = make(map[*natsgo.Subscription]int)
	return l
}

// lookEvery is how often the link looks around when nothing rouses it.
const lookEvery = time.Second

func (l *link) run() {
	quit := make(chan struct{})
	l.ended.Go(func() { l.receive(quit) })
	defer close(quit)
	defer l.abort()
	every := lookEvery
	if l.presence != nil {
		every = min(every, l.config.presenceEvery)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		l.turn()
		select {
		case <-l.stop:
			l.finish()
			return
		case <-l.wake:
		case <-tick.C:
		}
	}
}

// turn does what there is to do. Changes of numbers are taken before those of subscriptions and told after them: so
// whoever is counted is subscribed.
func (l *link) turn() {
	if l.presence != nil {
		l.presence.fold()
	}
	l.slow.count(&l.dropped)
	if !l.ready() {
		return
	}
	l.reconcile()
	if l.presence != nil {
		l.presence.speak(time.Now(), l.give)
	}
	if l.sendChunk() {
		l.rouse()
	}
}

// ready reports whether the client is connected, and prepares a connection that is new.
func (l *link) ready() bool {
	up, epoch, gone := l.status.client()
	if gone && l.nc != nil {
		l.nc = nil
		l.later()
	}
	if l.nc == nil {
		l.connect()
		up, epoch, _ = l.status.client()
	}
	if !up || epoch == l.epoch {
		return up
	}
	l.maxPayload.Store(l.nc.MaxPayload())
	l.reconcile()
	if l.nc.FlushTimeout(l.nc.Opts.FlusherTimeout) != nil || !l.status.confirm(epoch) {
		return false
	}
	l.epoch, l.failures = epoch, 0
	l.log.Info("backplane connected", slog.String("server", l.nc.ConnectedUrlRedacted()))
	if l.presence != nil {
		l.presence.hello(time.Now(), l.give)
	}
	return true
}

// connect makes a client. It connects by itself from then on, unless a server sends it away for good.
func (l *link) connect() {
	if time.Now().Before(l.retry) {
		return
	}
	nc, err := l.client(l.status.begin()).Connect()
	if err != nil { // what the options say together cannot be
		l.status.complain(err)
		l.later()
		l.log.Warn("backplane cannot connect", slog.Any("error", err))
		return
	}
	l.nc = nc
	l.subs = make(map[string]*natsgo.Subscription)
	l.interest.again()
	if l.presence != nil {
		for _, subject := range []string{l.subjects.presence, l.subjects.own} {
			if _, err := nc.ChanSubscribe(subject, l.in); err != nil {
				l.status.complain(err)
			}
		}
	}
}

// later puts the next client off.
func (l *link) later() {
	l.failures++
	d := l.config.delay(l.failures)
	l.retry = time.Now().Add(d)
	time.AfterFunc(d, l.rouse)
}

// delay is how long to wait before the servers are tried for the nth time again.
func (c *config) delay(n int) time.Duration {
	d := c.retryLow
	for ; n > 1 && d < c.retryHigh; n-- {
		d *= 2
	}
	d = min(d, c.retryHigh)
	return d/2 + rand.N(d/2+1)
}

// client returns the options of a client that goes on until it is closed, reports what happens to it, and leaves it to
// the link what is done about messages while it is not connected.
func (l *link) client(line int) natsgo.Options {
	o := l.config.client
	o.AllowReconnect = true
	o.RetryOnFailedConnect = true
	o.IgnoreAuthErrorAbort = true
	o.MaxReconnect = -1
	o.ReconnectBufSize = -1
	o.NoEcho = true
	o.SkipSubjectValidation = true
	o.CustomReconnectDelayCB = l.config.delay
	if o.CustomDialer == nil && o.InProcessServer == nil {
		o.CustomDialer = newDialer(l.ctx, &o)
	}
	up := func(*natsgo.Conn) {
		l.status.cameUp(line)
		l.rouse()
	}
	o.ConnectedCB, o.ReconnectedCB = up, up
	o.DisconnectedCB = nil
	o.DisconnectedErrCB = func(nc *natsgo.Conn, err error) {
		if err == nil {
			err = nc.LastError()
		}
		l.lost(line, err, false)
	}
	o.ReconnectErrCB = func(_ *natsgo.Conn, err error) { l.complain(err) }
	o.ClosedCB = func(nc *natsgo.Conn) { l.lost(line, nc.LastError(), true) }
	o.AsyncErrorCB = func(_ *natsgo.Conn, sub *natsgo.Subscription, err error) {
		if sub != nil && errors.Is(err, natsgo.ErrSlowConsumer) {
			l.slow.add(sub)
		}
		l.complain(err)
	}
	o.DiscoveredServersCB, o.LameDuckModeHandler = nil, nil
	return o
}

// lost is called when a connection has ended.
func (l *link) lost(line int, err error, gone bool) {
	if l.status.wentDown(line, err, gone) {
		select {
		case <-l.stop:
		default:
			l.log.Warn("backplane disconnected", slog.Any("error", err))
		}
	}
	l.rouse()
}

// complainEvery bounds what is logged of troubles that may come with each message.
const complainEvery = 10 * time.Second

// complain makes trouble known that does not end the connection. Any goroutine may call it.
func (l *link) complain(err error) {
	l.status.complain(err)
	now, last := time.Now().UnixNano(), l.complained.Load()
	if now-last >= int64(complainEvery) && l.complained.CompareAndSwap(last, now) {
		l.log.Warn("backplane in trouble", slog.Any("error", err))
	}
}

// reconcile subscribes to what is wanted and unsubscribes from what is not.
func (l *link) reconcile() {
	for subject, wanted := range l.interest.changes() {
		sub, has := l.subs[subject]
		switch {
		case wanted && !has:
			sub, err := l.nc.ChanSubscribe(subject, l.in)
			if err != nil { // it has closed, and the next one starts with all of them
				continue
			}
			l.subs[subject] = sub
		case has && !wanted:
			l.slow.drop(sub, &l.dropped)
			sub.Unsubscribe()
			delete(l.subs, subject)
		}
	}
}

// give hands a message about members to the client. It reports false when the client has taken nothing of it, so that it
// can be given to it again. Taken is not sent: what goes wrong then loses it.
func (l *link) give(subject string, data []byte) (taken bool) {
	err := l.nc.Publish(subject, data)
	if err != nil && !untaken(err) {
		l.complain(err)
	}
	return !untaken(err)
}

// untaken reports whether err is one with which the client leaves a message alone.
func untaken(err error) bool {
	return errors.Is(err, natsgo.ErrReconnectBufExceeded) || errors.Is(err, natsgo.ErrConnectionClosed)
}

// sendChunk gives the client what one chunk of the outbox holds. It reports whether it could, and there may be more.
func (l *link) sendChunk() bool {
	if l.taken == nil {
		if l.taken = l.out.take(); l.taken == nil {
			return false
		}
		l.rest = l.taken
	}
	for len(l.rest) > 0 {
		subject, data, rest := next(l.rest)
		if string(subject) != l.subject {
			l.subject = string(subject)
		}
		switch err := l.nc.Publish(l.subject, data); {
		case err == nil:
			l.sent.Add(1)
		case untaken(err):
			return false
		default:
			l.dropped.Add(1)
			l.failed++
			l.complain(err)
			if !errors.Is(err, natsgo.ErrMaxPayload) { // the next ones would share its fate
				l.rest = rest
				return false
			}
		}
		l.rest = rest
	}
	l.out.done(l.taken)
	l.taken = nil
	return true
}

// finish sends what waits and closes. Close aborts it when that takes too long.
func (l *link) finish() {
	failed, flushed := l.failed, true
	if l.nc != nil {
		if up, epoch, _ := l.status.client(); up && epoch == l.epoch {
			for l.sendChunk() {
			}
			if l.presence != nil {
				l.presence.bye(time.Now(), l.give)
			}
			ctx, cancel := context.WithTimeout(l.ctx, closeWithin)
			flushed = l.nc.FlushWithContext(ctx) == nil
			cancel()
		}
		l.slow.count(&l.dropped)
		l.nc.Close()
	}
	l.status.end()
	n := messages(l.rest)
	for chunk := l.out.take(); chunk != nil; chunk = l.out.take() {
		n += messages(chunk)
	}
	l.dropped.Add(uint64(n))
	l.unsent.Store(n > 0 || l.failed > failed || !flushed)
}
