package bench

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// soakWatch keeps the books of a soak on the clients' side: when each connection was last pinged, how late that was, and
// the echoes. Of a connection it keeps 4 bytes.
//
// A ping is due an interval after the pong for the one before reached the server, the first at a moment of the server's
// choice in the interval after the opening; data does not move it. So a ping is late by what is between two of them beyond
// an interval: the pong's way to the server, the server's delay, and the ping's way back. The first has no lateness, but it
// can be missing.
type soakWatch struct {
	interval, tolerance time.Duration

	last []atomic.Uint32 // a stamp of when each connection was opened or last pinged; 0: not open

	open   atomic.Int64
	pings  atomic.Uint64
	missed atomic.Uint64 // pings that came later than the tolerance, or not at all
	ending atomic.Bool   // connections end because we want it

	begun, window uint64 // pings when the measuring began, and while it went on

	mu       sync.Mutex
	lateness *hdrhistogram.Histogram // nanoseconds

	failures failures
	echoes   soakEchoes
}

// A stamp is a time in steps, and one bit that says whether it is that of a ping.
const (
	stampStep = 100 * time.Microsecond
	stampPing = 1
)

// maxSoak keeps stamps, which wrap after 2.4 days, from meaning two times.
const maxSoak = 48 * time.Hour

// maxLate is the longest lateness that the histogram tells apart.
const maxLate = time.Hour

func newSoakWatch(conns int, interval, tolerance time.Duration) *soakWatch {
	w := &soakWatch{
		interval: interval, tolerance: tolerance,
		last:     make([]atomic.Uint32, conns),
		lateness: hdrhistogram.New(1, int64(maxLate), 3),
	}
	w.echoes.init()
	return w
}

// stamp never is 0.
func stamp(at time.Duration, bit uint32) uint32 { return uint32(at/stampStep+1)<<1 | bit }

// sinceStamp returns how long ago a stamp was, at a time.
func sinceStamp(then uint32, at time.Duration) time.Duration {
	return time.Duration((stamp(at, 0)&^stampPing-then&^stampPing)>>1) * stampStep
}

// opened is told of the opening of connection i.
func (w *soakWatch) opened(i int, at time.Duration) {
	w.last[i].Store(stamp(at, 0))
	w.open.Add(1)
}

// pinged is told of a ping on it.
func (w *soakWatch) pinged(i int, at time.Duration) {
	w.pings.Add(1)
	then := w.last[i].Swap(stamp(at, stampPing))
	if then == 0 {
		w.last[i].Store(0)
		return
	}
	gap := sinceStamp(then, at)
	if gap > w.interval+w.tolerance {
		w.missed.Add(1)
	}
	if then&stampPing != 0 {
		w.mu.Lock()
		w.lateness.RecordValue(int64(min(max(gap-w.interval, 0), maxLate)))
		w.mu.Unlock()
	}
}

// ended is told of its end, and why.
func (w *soakWatch) ended(i int, err error) {
	was := w.last[i].Swap(0)
	if was != 0 {
		w.open.Add(-1)
	}
	if !w.ending.Load() {
		w.failures.add(1, fmt.Errorf("connection %d: %w", i, err))
	}
}

// isOpen reports whether it is.
func (w *soakWatch) isOpen(i int) bool { return w.last[i].Load() != 0 }

// begin begins to measure, and measured ends that. One goroutine calls both.
func (w *soakWatch) begin()    { w.begun = w.pings.Load() }
func (w *soakWatch) measured() { w.window = w.pings.Load() - w.begun }

// sweep counts the connections that wait for a ping longer than they should, and says that the soak is over: whatever ends
// now does so because we want it.
func (w *soakWatch) sweep(clock func() time.Duration) {
	for i := range w.last {
		// The clock is read behind the stamp: pings come meanwhile, and one that is newer than now would seem ages old.
		if then := w.last[i].Load(); then != 0 && sinceStamp(then, clock()) > w.interval+w.tolerance {
			w.missed.Add(1)
		}
	}
	w.ending.Store(true)
}

// books are what the watches of one soak found, to be put together.
type books struct {
	Open     int64  `json:"open"`
	Pings    uint64 `json:"pings"`
	Window   uint64 `json:"window"` // of them, those while it was measured
	Missed   uint64 `json:"missed"`
	Lost     uint64 `json:"lost"`
	Error    string `json:"error,omitempty"`
	Lateness []byte `json:"lateness"` // histograms as HDR encodes them
	Echoes   echoBooks
}

func (w *soakWatch) books() (b books, err error) {
	b = books{Open: w.open.Load(), Pings: w.pings.Load(), Window: w.window, Missed: w.missed.Load()}
	b.Lost, b.Error = w.failures.text()
	w.mu.Lock()
	b.Lateness, err = w.lateness.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	w.mu.Unlock()
	if err == nil {
		b.Echoes, err = w.echoes.books()
	}
	return b, err
}

// sum puts books together.
func sum(all []books) (total books, lateness, echoes *hdrhistogram.Histogram, err error) {
	lateness, echoes = hdrhistogram.New(1, int64(maxLate), 3), hdrhistogram.New(1, slowest, 3)
	for _, b := range all {
		total.Open += b.Open
		total.Pings += b.Pings
		total.Window += b.Window
		total.Missed += b.Missed
		total.Lost += b.Lost
		if total.Error == "" {
			total.Error = b.Error
		}
		total.Echoes.Sent += b.Echoes.Sent
		total.Echoes.Returned += b.Echoes.Returned
		total.Echoes.Missing += b.Echoes.Missing
		total.Echoes.Wrong += b.Echoes.Wrong
		total.Echoes.Held += b.Echoes.Held
		for _, h := range []struct {
			into  *hdrhistogram.Histogram
			bytes []byte
		}{{lateness, b.Lateness}, {echoes, b.Echoes.Latency}} {
			decoded, err := hdrhistogram.Decode(h.bytes)
			if err != nil {
				return total, nil, nil, fmt.Errorf("a histogram of the clients: %w", err)
			}
			h.into.Merge(decoded)
		}
	}
	return total, lateness, echoes, nil
}
