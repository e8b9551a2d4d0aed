package bench

import (
	"fmt"
	"sync/atomic"

	"github.com/HdrHistogram/hdrhistogram-go"

	"zeroframe/engine"
	"zeroframe/frame"
)

// fanoutLane is one event loop of the load with its members. Its fields belong to the loop while messages are in flight,
// and to whoever calls Fanout.Run otherwise.
type fanoutLane struct {
	load       *Fanout
	engine     *engine.Engine
	members    int                     // that read
	latency    *hdrhistogram.Histogram // nanoseconds
	deliveries uint64                  // verified
	window     uint64                  // of them, those before the time was up
	got        []int                   // members that have a message, by publisher and slot
}

func newFanoutLane(f *Fanout, e *engine.Engine) *fanoutLane {
	return &fanoutLane{
		load:    f,
		engine:  e,
		latency: hdrhistogram.New(1, slowest, 3),
		got:     make([]int, f.config.Publishers*f.config.InFlight),
	}
}

func (l *fanoutLane) reset() {
	l.latency.Reset()
	l.deliveries, l.window = 0, 0
}

// publisher sends. Its fields belong to the loop of its connection where nothing else is said.
type publisher struct {
	load    *Fanout
	conn    *engine.Conn
	id      uint32
	sent    atomic.Uint32 // read by all lanes
	all     uint32        // of them, those that all members have
	total   uint64        // the same, of this run
	window  uint64        // and of those, the ones before the time was up
	slots   []slot        // of the messages in flight, a ring
	message []byte        // being made

	start, next func() // to be posted
}

// slot is a message in flight.
type slot struct {
	at    atomic.Int64 // when it left, on the load's clock
	lanes atomic.Int32 // whose members do not all have it
}

func newPublisher(f *Fanout, id int) *publisher {
	p := &publisher{
		load:    f,
		id:      uint32(id),
		slots:   make([]slot, f.config.InFlight),
		message: make([]byte, f.config.Payload),
	}
	p.start, p.next = p.fill, p.arrived
	return p
}

// fill sends as many messages as are to be in flight.
func (p *publisher) fill() {
	for range p.slots {
		p.publish()
	}
}

func (p *publisher) publish() {
	f := p.load
	sequence := p.sent.Load()
	f.payloads.fill(p.message, p.id, sequence)
	s := &p.slots[sequence%uint32(len(p.slots))]
	s.lanes.Store(int32(f.reading))
	s.at.Store(int64(clock()))
	p.sent.Store(sequence + 1)
	if err := p.conn.Send(f.op, p.message); err != nil {
		f.fail(fmt.Errorf("connection %d: send: %w", p.id, err))
	}
}

// arrived is told of each message that all members have, the one after the other. It sends the next in its place.
func (p *publisher) arrived() {
	p.all++
	p.total++
	if !p.load.stopping.Load() {
		p.window++
		p.publish()
	} else if p.all == p.sent.Load() {
		p.load.done()
	}
}

// member is one connection. Its fields belong to its loop.
type member struct {
	engine.NopHandler
	lane   *fanoutLane
	conn   *engine.Conn // set before opened is closed
	due    []uint32     // the message to come, by publisher
	id     int
	deaf   bool // is not to read
	probed bool
	opened chan struct{}
}

// OnOpen lets the dialling goroutine go on.
func (m *member) OnOpen(c *engine.Conn) {
	m.conn = c
	if f := m.lane.load; m.id < len(f.publishers) {
		f.publishers[m.id].conn = c
	}
	close(m.opened)
}

// OnMessage compares a message with what its publisher sent.
func (m *member) OnMessage(_ *engine.Conn, op frame.OpCode, payload []byte) {
	now := int64(clock())
	l := m.lane
	f := l.load
	id, sequence := readStamp(payload)
	if int(id) >= len(f.publishers) || m.deaf {
		m.probe(op, payload, id, sequence)
		return
	}
	p := f.publishers[id]
	if sequence != m.due[id] || sequence == p.sent.Load() || op != f.op || !f.payloads.matches(payload, id, sequence) {
		m.failDelivery(op, payload, id, sequence)
		return
	}
	m.due[id]++
	slot := int(sequence % uint32(len(p.slots)))
	l.latency.RecordValue(min(now-p.slots[slot].at.Load(), slowest))
	l.deliveries++
	if !f.stopping.Load() {
		l.window++
	}
	got := &l.got[int(id)*len(p.slots)+slot]
	if *got++; *got == l.members {
		*got = 0
		if p.slots[slot].lanes.Add(-1) == 0 {
			p.conn.Post(p.next)
		}
	}
}

// probe looks at a message of none of the publishers.
func (m *member) probe(op frame.OpCode, payload []byte, id, sequence uint32) {
	f := m.lane.load
	switch {
	case m.deaf && m.probed: // on its way when reading was to end
	case int(id) != len(f.publishers) || op != f.op || !f.payloads.matches(payload, id, sequence):
		m.failDelivery(op, payload, id, sequence)
	case !m.probed:
		m.probed = true
		if f.unprobed.Add(-1) == 0 {
			close(f.probed)
		}
	}
}

// failDelivery counts a message that is not what was to come.
func (m *member) failDelivery(op frame.OpCode, payload []byte, id, sequence uint32) {
	f := m.lane.load
	if int(id) >= len(f.publishers) || op != f.op || !f.payloads.matches(payload, id, sequence) {
		m.fail(fmt.Errorf("a %v message of %d bytes that nobody sent, beginning %.32q", op, len(payload), payload))
		return
	}
	due := m.due[id]
	switch late := int32(sequence - due); {
	case sequence == f.publishers[id].sent.Load():
		m.fail(fmt.Errorf("message %d of publisher %d came before it was sent", sequence, id))
	case late > 0:
		m.fail(fmt.Errorf("message %d of publisher %d is lost or late: message %d came in its place", due, id, sequence))
	default:
		m.fail(fmt.Errorf("message %d of publisher %d came again, where message %d was due", sequence, id, due))
	}
}

// OnClose: nothing of ours ends a connection.
func (m *member) OnClose(_ *engine.Conn, reason engine.CloseReason) { m.fail(ended(reason)) }

func (m *member) fail(err error) { m.lane.load.fail(fmt.Errorf("connection %d: %w", m.id, err)) }

// lacks returns how many messages have been sent and did not come.
func (m *member) lacks() (n uint64) {
	for id, p := range m.lane.load.publishers {
		n += uint64(p.sent.Load() - m.due[id])
	}
	return n
}
