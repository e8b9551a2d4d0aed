package engine

import (
	"math/bits"
	"slices"
	"sync/atomic"
	"time"

	"zeroframe/frame"
	"zeroframe/internal/loop"
)

// Stats are counts since the engine began, and states as of now. They lag by at most 20 ms on a busy loop.
type Stats struct {
	Conns int // sockets open, those in their handshake or closing included
	Open  int // connections between OnOpen and OnClose
	HTTP  int // sockets among Conns that net/http serves: see WithHTTPHandler

	Handshakes        uint64         // answered with 101
	HandshakeTimeouts uint64         // requests that did not arrive in time (408), or TLS handshakes, or PROXY headers
	TLSHandshakes     uint64         // TLS handshakes completed
	TLSFailures       uint64         // and failed
	ProxyFailures     uint64         // connections closed for a PROXY header that is malformed, or not there
	Refused           map[int]uint64 // requests answered otherwise, by HTTP status
	HandedOver        uint64         // connections handed to WithHTTPHandler's server
	RefusedMaxConns   uint64         // connections refused because of MaxConns
	RefusedNoFile     uint64         // connections refused for want of file descriptors
	RefusedByHook     uint64         // connections refused by the accept hook

	MessagesIn uint64 // data messages delivered; on raw routes data frames
	BytesIn    uint64 // bytes of frames read, headers included
	FramesOut  uint64 // frames sent, control frames included
	BytesOut   uint64 // bytes of those frames, headers included

	Delivered uint64 // messages that were published and queued for a member of the topic
	// PublishesRefused counts messages that were published, here or elsewhere, when a loop was too far behind: see Publish.
	PublishesRefused uint64
	Topics           int             // topics with members on this engine
	Backplane        BackplaneStatus // the zero value without WithBackplane

	PingsOut     uint64 // pings sent by the engine
	PingsIn      uint64 // pings received, each answered by a pong
	PongsIn      uint64 // pongs received
	PingTimeouts uint64 // connections closed for a missing pong
	IdleTimeouts uint64 // connections closed for silence

	Closes           map[frame.CloseCode]uint64 // connections ended, by CloseReason.Code; codes from 3000 as 3000
	BackpressureHits uint64                     // messages that MaxBackpressure refused, dropped, or closed for
	Stalls           uint64                     // times a connection's reading rested because its output was full
	SessionStalls    uint64                     // times it rested because a session received less than it was sent

	Deflated, DeflatedWire uint64 // bytes of the messages sent compressed, before and after
	Inflated, InflatedWire uint64 // bytes of the messages received compressed, inflated and as they came

	Reads  uint64 // read system calls on connections
	Writes uint64 // write system calls on connections
	Waits  uint64 // system calls that ask for events, each for all connections of a loop; not counted on gnet's netpoll

	RTT RTTHistogram // round-trip times of the engine's pings
}

// RTTHistogram counts round-trip times in buckets that double: bucket i counts times below 1<<i microseconds that no
// bucket before it counts.
type RTTHistogram struct {
	Buckets [28]uint64    // the last has all from 1<<26 microseconds on, 67 s
	Sum     time.Duration // of all
}

// Count returns the number of round trips.
func (h *RTTHistogram) Count() (n uint64) {
	for _, b := range h.Buckets {
		n += b
	}
	return n
}

// counters are Stats as one loop counts them.
type counters struct {
	Open              int
	Handshakes        uint64
	HandshakeTimeouts uint64
	TLSHandshakes     uint64
	TLSFailures       uint64
	ProxyFailures     uint64
	HandedOver        uint64
	MessagesIn        uint64
	BytesIn           uint64
	FramesOut         uint64
	BytesOut          uint64
	Delivered         uint64
	PingsOut          uint64
	PingsIn           uint64
	PongsIn           uint64
	PingTimeouts      uint64
	IdleTimeouts      uint64
	Stalls            uint64
	SessionStalls     uint64
	io                loop.Stats
	refused           [len(refusalStatus)]uint64
	closes            [18]uint64 // 1000 to 1015, others of the protocol, 3000 and above
	rtt               RTTHistogram
	refusedConns      [3]uint64 // by loop.Refusal
}

// sentElsewhere are the counts that any goroutine adds to, per loop.
type sentElsewhere struct {
	frames, bytes, refused atomic.Uint64

	deflated, deflatedWire, inflated, inflatedWire atomic.Uint64
}

// refusalStatus are the HTTP statuses counted one by one; the last stands for all others.
var refusalStatus = [...]int{400, 401, 403, 404, 405, 408, 426, 431, 500, 503, 599}

func (n *counters) countRefusal(status int) { n.refused[refusalIndex(status)]++ }

func refusalIndex(status int) int {
	if i := slices.Index(refusalStatus[:], status); i >= 0 {
		return i
	}
	return len(refusalStatus) - 1
}

func (s *shard) countClose(code frame.CloseCode) {
	switch {
	case code >= 1000 && code <= 1015:
		s.count.closes[code-1000]++
	case code < 3000:
		s.count.closes[16]++
	default:
		s.count.closes[17]++
	}
}

func (n *counters) observeRTT(d time.Duration) {
	n.rtt.Sum += d
	i := min(bits.Len64(uint64(d/time.Microsecond)), len(n.rtt.Buckets)-1)
	n.rtt.Buckets[i]++
}

// publishEvery is how old published counts may get on a loop that never rests.
const publishEvery = 20 * time.Millisecond

// publish lets Stats see the loop's counts, before it sleeps and now and then while it does not.
func (s *shard) publish(l *loop.Loop, idle bool) {
	now := l.Now()
	if !idle && now-s.published.at < publishEvery {
		return
	}
	s.published.Lock()
	s.published.at = now
	s.published.counters = s.count
	s.published.io = l.Stats()
	s.published.Unlock()
}

// Stats sums up what the loops have counted. Any goroutine may call it.
func (e *Engine) Stats() Stats {
	t := Stats{
		Conns:   e.group.Len(),
		HTTP:    e.group.Outside(),
		Refused: make(map[int]uint64),
		Closes:  make(map[frame.CloseCode]uint64),
	}
	e.topics.mu.RLock()
	t.Topics = len(e.topics.byName)
	t.PublishesRefused = e.publishesRefused.Load()
	e.topics.mu.RUnlock()
	if b := e.config.backplane; b != nil {
		t.Backplane = b.Status()
	}
	for _, l := range e.group.Loops() {
		s := l.Local().(*shard)
		s.published.Lock()
		n := s.published.counters
		s.published.Unlock()
		t.add(&n)
		t.FramesOut += s.sent.frames.Load()
		t.BytesOut += s.sent.bytes.Load()
		t.BackpressureHits += s.sent.refused.Load()
		t.Deflated += s.sent.deflated.Load()
		t.DeflatedWire += s.sent.deflatedWire.Load()
		t.Inflated += s.sent.inflated.Load()
		t.InflatedWire += s.sent.inflatedWire.Load()
	}
	for i := range e.refused.byStatus {
		if n := e.refused.byStatus[i].Load(); n != 0 {
			t.Refused[refusalStatus[i]] += n
		}
	}
	t.RefusedMaxConns += e.refused.maxConns.Load()
	return t
}

func (t *Stats) add(n *counters) {
	t.Open += n.Open
	t.Handshakes += n.Handshakes
	t.HandshakeTimeouts += n.HandshakeTimeouts
	t.TLSHandshakes += n.TLSHandshakes
	t.TLSFailures += n.TLSFailures
	t.ProxyFailures += n.ProxyFailures
	t.HandedOver += n.HandedOver
	t.RefusedMaxConns += n.refusedConns[loop.RefusedMaxConns]
	t.RefusedNoFile += n.refusedConns[loop.RefusedNoFile]
	t.RefusedByHook += n.refusedConns[loop.RefusedByHook]
	t.MessagesIn += n.MessagesIn
	t.BytesIn += n.BytesIn
	t.FramesOut += n.FramesOut
	t.BytesOut += n.BytesOut
	t.Delivered += n.Delivered
	t.PingsOut += n.PingsOut
	t.PingsIn += n.PingsIn
	t.PongsIn += n.PongsIn
	t.PingTimeouts += n.PingTimeouts
	t.IdleTimeouts += n.IdleTimeouts
	t.Stalls += n.Stalls
	t.SessionStalls += n.SessionStalls
	t.Reads += n.io.Reads
	t.Writes += n.io.Writes
	t.Waits += n.io.Waits
	for i, v := range n.refused {
		if v != 0 {
			t.Refused[refusalStatus[i]] += v
		}
	}
	for i, v := range n.closes {
		if v == 0 {
			continue
		}
		code := frame.CloseCode(1000 + i)
		if i == 17 {
			code = 3000
		}
		t.Closes[code] += v
	}
	for i, v := range n.rtt.Buckets {
		t.RTT.Buckets[i] += v
	}
	t.RTT.Sum += n.rtt.Sum
}
