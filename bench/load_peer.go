package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"zeroframe/engine"
	"zeroframe/frame"
)

// client is an event loop of the load, by the protocol it speaks.
type client interface {
	// dial opens the connection of a peer, and returns when the loop serves it.
	dial(ctx context.Context, p *peer) error
	stats() engine.Stats // of WebSockets; any goroutine may call it
	close(ctx context.Context)
}

// wire is a connection of a client.
type wire interface {
	send(payload []byte) error // copies what it sends. Loop only.
	// reply is send for memory that answer was given: it may leave from there when answer's caller is done. Once for each
	// answer. Loop only.
	reply(payload []byte) error
	post(f func()) bool // runs f on the loop; false if it is closed. Any goroutine may call it.
	terminate()         // ends it at once. Any goroutine may call it.
}

// lane is one event loop of the load with its connections. Its fields belong to the loop while messages are in flight,
// and to whoever calls Load.Run otherwise.
type lane struct {
	load     *Load
	client   client
	latency  *hdrhistogram.Histogram // nanoseconds
	echoes   uint64                  // verified
	window   uint64                  // of them, those before the time was up
	sent     uint64
	answered atomic.Uint64 // echoes since Open, read by anyone
	scratch  []byte        // a message being made
	course   *course       // at a fixed rate
}

// slowest is the longest latency that the histogram tells apart; anything above counts as this.
const slowest = int64(time.Minute)

func newLane(l *Load) (*lane, error) {
	lane := &lane{
		load:    l,
		latency: hdrhistogram.New(1, slowest, 3),
		scratch: make([]byte, l.config.Payload),
	}
	var err error
	if address, ok := plain(l.config.URL); ok {
		lane.client, err = newPlainClient(address, l.config.Payload)
	} else {
		lane.client, err = newSocketClient(l)
	}
	return lane, err
}

// peer is one connection of the load. Its fields belong to its loop.
type peer struct {
	lane     *lane
	wire     wire // set before opened is closed
	id       uint32
	sent     uint32
	received uint32
	times    []time.Duration // when the messages in flight left, a ring; none at a fixed rate
	turn     turn            // at a fixed rate
	opened   chan struct{}
	running  atomic.Bool // messages are, or will be, in flight; whoever clears it tells Load.done
	dead     atomic.Bool // failed or ended; the first cause is counted, not what follows from it
}

// open lets the dialling goroutine go on.
func (p *peer) open(w wire) {
	p.wire = w
	close(p.opened)
}

// start sends as many messages as are to be in flight.
func (p *peer) start() {
	for range p.times {
		if !p.sendNext(clock()) {
			return
		}
	}
}

// sendNext makes the next message and sends it.
func (p *peer) sendNext(now time.Duration) bool {
	l := p.lane
	l.load.payloads.fill(l.scratch, p.id, p.sent)
	return p.leaves(now, p.wire.send(l.scratch))
}

// leaves notes that the next message has been sent, or why not.
func (p *peer) leaves(now time.Duration, err error) bool {
	if len(p.times) != 0 {
		p.times[p.sent%uint32(len(p.times))] = now
	}
	p.sent++
	if err != nil {
		p.fail(fmt.Errorf("send: %w", err))
		return false
	}
	p.lane.sent++
	return true
}

// answer compares an echo with what was sent, and sends the next message in its place, for which payload may be changed
// until answer returns.
func (p *peer) answer(op frame.OpCode, payload []byte) {
	now := clock()
	l := p.lane
	load := l.load
	if p.sent == p.received || op != load.op || !load.payloads.matches(payload, p.id, p.received) {
		p.failEcho(op, payload)
		return
	}
	l.latency.RecordValue(min(int64(now-p.began(p.received)), slowest))
	p.received++
	l.echoes++
	l.answered.Add(1)
	if load.stopping.Load() {
		if p.sent == p.received {
			p.finish()
		}
		return
	}
	l.window++
	if l.course != nil {
		p.catchUp(now)
		l.course.advance(now)
		return
	}
	load.payloads.restamp(payload, p.id, p.sent)
	p.leaves(now, p.wire.reply(payload))
}

// began is when the time of a message in flight began: when it left, or was due.
func (p *peer) began(sequence uint32) time.Duration {
	if len(p.times) == 0 {
		return p.turn.due(sequence)
	}
	return p.times[sequence%uint32(len(p.times))]
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
	p.wire.terminate()
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
