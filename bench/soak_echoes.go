package bench

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// soakEchoes are the messages that a soak sends now and then, at a fixed rate, over connections picked at random.
type soakEchoes struct {
	mu       sync.Mutex
	inFlight map[uint32]soakEcho // by connection
	latency  *hdrhistogram.Histogram
	number   uint64
	returned uint64
	wrong    uint64
	held     uint64
}

// soakEcho is one on its way.
type soakEcho struct {
	number uint64
	due    time.Duration // when it was to leave: a sender that is late makes its echoes late
}

// echoBooks are what came of them.
type echoBooks struct {
	Sent     uint64 `json:"sent"`
	Returned uint64 `json:"returned"` // as they were sent
	Missing  uint64 `json:"missing"`
	Wrong    uint64 `json:"wrong"`   // not what was sent, or sent by nobody
	Held     uint64 `json:"held"`    // due and never sent: until the end, every connection that was tried waited for one
	Latency  []byte `json:"latency"` // a histogram as HDR encodes it
}

// echoPayload is the length of each message.
const echoPayload = 32

// echoWait is how long an echo may take before it is missing.
const echoWait = 10 * time.Second

func (e *soakEchoes) init() {
	e.inFlight = make(map[uint32]soakEcho)
	e.latency = hdrhistogram.New(1, slowest, 3)
}

// fillEcho makes message number n for connection i.
func fillEcho(b *[echoPayload]byte, i uint32, n uint64) {
	binary.LittleEndian.PutUint32(b[:], i)
	binary.LittleEndian.PutUint64(b[4:], n)
	for at := 12; at < len(b); at++ {
		b[at] = byte(n) + byte(at)
	}
}

// heldTime is after which a message is tried again that found no connection without one in flight.
const heldTime = time.Millisecond

// run sends rate messages per second, each on a connection that is open and has none in flight, until ctx ends; then it
// waits for those that are still to come back. A message that finds no such connection, because the server answers none,
// leaves when there is one, and those after it behind it: all count from when they were due. send reports whether the
// message is on its way.
func (e *soakEchoes) run(ctx context.Context, rate float64, conns int, open func(i int) bool, send func(i int, payload []byte) bool) {
	if rate <= 0 {
		return
	}
	begin, held := clock(), false
	due := func(n int) time.Duration { return begin + time.Duration(float64(n)/rate*float64(time.Second)) }
	timer := time.NewTimer(0)
	defer timer.Stop()
	for n := 0; ; {
		wait := due(n) - clock()
		if held {
			wait = max(wait, heldTime)
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			if now := clock(); held {
				for ; due(n) <= now; n++ {
					e.holds(now - due(n))
				}
			}
			e.drain()
			return
		case <-timer.C:
		}
		if held = !e.sendOne(due(n), conns, open, send); !held {
			n++
		}
	}
}

// sendOne sends a message, unless all connections that it tries wait for one. Where next to nothing is open there is
// nothing to send it on: that is counted elsewhere.
func (e *soakEchoes) sendOne(due time.Duration, conns int, open func(i int) bool, send func(i int, payload []byte) bool) bool {
	busy := false
	for range 10 {
		i := rand.IntN(conns)
		if !open(i) {
			continue
		}
		payload, ok := e.sending(uint32(i), due)
		if !ok {
			busy = true
			continue
		}
		if send(i, payload) {
			return true
		}
		e.unsent(uint32(i))
	}
	return !busy
}

// holds counts a message that was never sent, with the time it had waited.
func (e *soakEchoes) holds(d time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.held++
	e.latency.RecordValue(min(max(int64(d), 1), slowest))
}

// sending notes a message on connection i.
func (e *soakEchoes) sending(i uint32, due time.Duration) (payload []byte, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if _, busy := e.inFlight[i]; busy {
		return nil, false
	}
	e.number++
	e.inFlight[i] = soakEcho{e.number, due}
	var b [echoPayload]byte
	fillEcho(&b, i, e.number)
	return b[:], true
}

// unsent takes a message back that could not be sent: its connection has ended, which is counted elsewhere.
func (e *soakEchoes) unsent(i uint32) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.inFlight, i)
	e.number--
}

// came is told of a message on connection i.
func (e *soakEchoes) came(i uint32, payload []byte, at time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	sent, ours := e.inFlight[i]
	var want [echoPayload]byte
	fillEcho(&want, i, sent.number)
	if !ours || string(payload) != string(want[:]) {
		e.wrong++
		return
	}
	delete(e.inFlight, i)
	e.returned++
	e.latency.RecordValue(min(max(int64(at-sent.due), 1), slowest))
}

// drain waits until nothing is in flight, or what is has had its time.
func (e *soakEchoes) drain() {
	for end := clock() + echoWait; clock() < end; time.Sleep(time.Millisecond) {
		e.mu.Lock()
		left := len(e.inFlight)
		e.mu.Unlock()
		if left == 0 {
			return
		}
	}
}

func (e *soakEchoes) books() (b echoBooks, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	b = echoBooks{Sent: e.number, Returned: e.returned, Missing: uint64(len(e.inFlight)), Wrong: e.wrong, Held: e.held}
	b.Latency, err = e.latency.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	return b, err
}
