package bench

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"zeroframe/engine"
	"zeroframe/frame"
)

// lane is one event loop of the load with its connections. Its fields belong to the loop while messages are in flight,
// and to whoever calls Load.Run otherwise.
type lane struct {
	load    *Load
	engine  *engine.Engine
	latency *hdrhistogram.Histogram // nanoseconds
	echoes  uint64                  // verified
	window  uint64                  // of them, those before the time was up
	sent    uint64
	scratch []byte // a message being made
}

// slowest is the longest latency that the histogram tells apart; anything above counts as this.
const slowest = int64(time.Minute)

func newLane(l *Load) *lane {
	return &lane{
		load:    l,
		latency: hdrhistogram.New(1, slowest, 3),
		scratch: make([]byte, l.config.Payload),
	}
}

// peer is one connection of the load. Its fields belong to its loop.
type peer struct {
	engine.NopHandler
	lane     *lane
	conn     *engine.Conn // set before opened is closed
	id       uint32
	sent     uint32
	received uint32
	times    []time.Duration // when the messages in flight left, a ring
	opened   chan struct{}
	running  atomic.Bool // messages are, or will be, in flight; whoever clears it tells Load.done
	dead     atomic.Bool // failed or ended; the first cause is counted, not what follows from it
}

// OnOpen lets the dialling goroutine go on.
func (p *peer) OnOpen(c *engine.Conn) {
	p.conn = c
	close(p.opened)
}

// start sends as many messages as are to be in flight.
func (p *peer) start() {
	l := p.lane
	for range len(p.times) {
		l.load.payloads.fill(l.scratch, p.id, p.sent)
		if !p.send(l.scratch, clock()) {
			return
		}
	}
}

// send sends the next message, which payload is.
func (p *peer) send(payload []byte, now time.Duration) bool {
	p.times[p.sent%uint32(len(p.times))] = now
	p.sent++
	if err := p.conn.Reply(p.lane.load.op, payload); err != nil {
		p.fail(fmt.Errorf("send: %w", err))
		return false
	}
	p.lane.sent++
	return true
}

// OnMessage compares an echo with what was sent, and sends the next message in its place.
func (p *peer) OnMessage(c *engine.Conn, op frame.OpCode, payload []byte) {
	now := clock()
	l := p.lane
	load := l.load
	if p.sent == p.received || op != load.op || !load.payloads.matches(payload, p.id, p.received) {
		p.failEcho(op, payload)
		return
	}
	l.latency.RecordValue(min(int64(now-p.times[p.received%uint32(len(p.times))]), slowest))
	p.received++
	l.echoes++
	if load.stopping.Load() {
		if p.sent == p.received {
			p.finish()
		}
		return
	}
	l.window++
	load.payloads.restamp(payload, p.id, p.sent)
	p.send(payload, now)
}

// OnClose: nothing of ours ends a connection that is running.
func (p *peer) OnClose(_ *engine.Conn, reason engine.CloseReason) { p.end(ended(reason)) }

// ended says how a connection ended.
func ended(reason engine.CloseReason) error {
	what := "without a close frame"
	if reason.Code != frame.CloseAbnormal {
		what = fmt.Sprintf("with close %v %q", reason.Code, reason.Text)
	}
	err := fmt.Errorf("connection ended %s", what)
	if reason.Err != nil {
		err = fmt.Errorf("%w: %w", err, reason.Err)
	}
	return err
}

// failEcho counts an echo that is not what was sent, and gives the connection up: what follows cannot be judged.
func (p *peer) failEcho(op frame.OpCode, payload []byte) {
	if p.sent == p.received {
		p.fail(fmt.Errorf("a %v message of %d bytes that is no echo", op, len(payload)))
		return
	}
	p.fail(fmt.Errorf("echo %d differs from what was sent: %v, %d bytes, beginning %.32q", p.received, op, len(payload), payload))
}

func (p *peer) fail(err error) {
	p.end(err)
	p.conn.Terminate()
}

// end takes the connection out of the load.
func (p *peer) end(err error) {
	if p.dead.CompareAndSwap(false, true) && !p.lane.load.closing.Load() {
		p.lane.load.failures.add(1, fmt.Errorf("connection %d: %w", p.id, err))
	}
	p.finish()
}

// finish says that nothing of this connection is in flight any more.
func (p *peer) finish() {
	if p.running.CompareAndSwap(true, false) {
		p.lane.load.done()
	}
}

// epoch is the zero of the load's clock.
var epoch = time.Now()

func clock() time.Duration { return time.Since(epoch) }
