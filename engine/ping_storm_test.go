package engine_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/internal/bridge"
	"zeroframe/internal/loop"
)

// stormPeer is the other side of a connection with as little as that takes: it asks for the upgrade when the storm
// begins, and answers pings at once.
type stormPeer struct {
	conn   *loop.Conn
	storm  *storm
	log    *pingLog // its loop's
	opened time.Duration
	pings  uint8
	asked  bool
	pong   bool // to be read
	echo   [16]byte
}

// storm is what the peers have in common.
type storm struct {
	begun   atomic.Bool
	pings   atomic.Int64
	strange atomic.Int64 // writes that are neither the answer nor a ping
	logs    map[*loop.Loop]*pingLog
	reached chan struct{} // closed when all have pinged twice
	want    int64
}

// pingLog is what one loop sent; its goroutine's.
type pingLog struct{ sent []sentPing }

// sentPing is a ping, by the loop's clock.
type sentPing struct {
	at, opened time.Duration
	round      uint8
}

func (p *stormPeer) Attach(c *loop.Conn) {
	p.conn = c
	if p.log = p.storm.logs[c.Loop()]; p.log == nil {
		p.log = new(pingLog)
		p.storm.logs[c.Loop()] = p.log
	}
}

var stormRequest = upgradeRequest("/")

func (p *stormPeer) Read(b []byte) (int, error) {
	switch {
	case !p.asked && p.storm.begun.Load():
		p.asked = true
		return copy(b, stormRequest), nil
	case p.pong:
		p.pong = false
		n := copy(b, []byte{0x8A, 0x80 | 16, 0, 0, 0, 0})
		return n + copy(b[n:], p.echo[:]), nil
	}
	return 0, loop.ErrAgain
}

func (p *stormPeer) Write(b []byte) (int, error) {
	now := p.conn.Loop().Now()
	switch {
	case p.opened == 0 && strings.HasPrefix(string(b), "HTTP/1.1 101 "):
		p.opened = now
	case p.opened != 0 && len(b) == 18 && b[0] == 0x89 && b[1] == 16:
		p.pings++
		if p.pings > 2 { // of those who were first to ping twice
			return len(b), nil
		}
		p.log.sent = append(p.log.sent, sentPing{now, p.opened, p.pings})
		copy(p.echo[:], b[2:])
		p.pong = true
		p.conn.StreamReadable()
		if p.storm.pings.Add(1) == p.storm.want {
			close(p.storm.reached)
		}
	default:
		p.storm.strange.Add(1)
	}
	return len(b), nil
}

func (p *stormPeer) CloseWrite() error { return nil }
func (p *stormPeer) Close() error      { return nil }

const (
	stormBuckets = 16
	wheelTick    = 1 << 23 * time.Nanosecond
)

// since returns how long after its spread began the ping left: it shall be at most a half of the interval.
func (p sentPing) since(interval time.Duration) time.Duration {
	return p.at - p.opened - interval/2 - time.Duration(p.round-1)*interval
}

// caughtUp spreads what a loop sent after a time in which it, or the machine, did nothing, over that time: what is asked
// is when pings are due. No more than four buckets of a loop's silence count, so that a storm still looks like one.
func caughtUp(sent []sentPing, most time.Duration) {
	var last time.Duration
	for len(sent) > 0 {
		n, at := 1, sent[0].at
		for n < len(sent) && sent[n].at == at {
			n++
		}
		if gap := min(at-last, most); gap > 2*wheelTick {
			for i := range n {
				sent[i].at -= gap * time.Duration(n-1-i) / time.Duration(n)
			}
		}
		last = at
		sent = sent[n:]
	}
}

// bars draws one bar for each count, in eighths of what would be twice the even share.
func bars(counts []int, share float64) string {
	var b strings.Builder
	for _, n := range counts {
		b.WriteRune([]rune(" ▁▂▃▄▅▆▇█")[min(8, int(4*float64(n)/share+0.5))])
	}
	return fmt.Sprintf("|%s| %v, an even share is %.0f", b.String(), counts, share)
}

// A hundred thousand peers that come at once are pinged evenly over the second half of the interval, and stay apart.
func TestConnectStormDoesNotBecomeAPingStorm(t *testing.T) {
	if testing.Short() {
		t.Skip("seconds, and a hundred thousand connections")
	}
	conns := 100_000
	if raceEnabled {
		conns = 10_000
	}
	// A machine that stands still for a while bunches pings, too.
	atAnyPace(t, 700*time.Millisecond, func(t testing.TB, unit time.Duration) { connectStorm(t, conns, 4*unit) })
}

// connectStorm lets so many peers come at once, and fails the test where their pings are uneven.
func connectStorm(t testing.TB, conns int, interval time.Duration) {
	width := interval / 2 / stormBuckets
	e, err := engine.New(engine.WithLoops(2), engine.WithMaxConns(0), engine.WithPingInterval(interval),
		engine.WithPingTimeout(time.Minute), engine.WithHandshakeTimeout(time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	if err := e.Handle("/", engine.NopHandler{}); err != nil {
		t.Fatal(err)
	}
	st := &storm{logs: make(map[*loop.Loop]*pingLog), reached: make(chan struct{}), want: 2 * int64(conns)}
	peers := make([]stormPeer, conns)
	for i := range peers {
		peers[i].storm = st
		if err := bridge.ServeStream(e, &peers[i]); err != nil {
			t.Fatal(err)
		}
	}
	begin := time.Now()
	st.begun.Store(true)
	for i := range peers {
		peers[i].conn.StreamReadable()
	}
	within(t, st.reached)
	took := time.Since(begin)
	e.Close() // the logs are the test's from here on
	if n := st.strange.Load(); n != 0 {
		t.Fatalf("%d writes were neither the handshake's answer nor a ping", n)
	}

	var rounds [2][stormBuckets]int        // by the time since the connection opened
	perTick := make(map[time.Duration]int) // by the clock
	slices := make(map[time.Duration]int)  // by the clock, in buckets
	var early, late int
	var firstOpen, lastOpen time.Duration
	for _, l := range st.logs {
		for _, p := range l.sent {
			perTick[p.at/wheelTick]++
			if p.since(interval) < -wheelTick {
				early++
			}
		}
		caughtUp(l.sent, 4*width)
		for _, p := range l.sent {
			if firstOpen == 0 || p.opened < firstOpen {
				firstOpen = p.opened
			}
			lastOpen = max(lastOpen, p.opened)
			slices[p.at/width]++
			if p.since(interval) >= interval/2+width {
				late++
			}
			rounds[p.round-1][min(max(p.since(interval)/width, 0), stormBuckets-1)]++
		}
	}
	share := float64(conns) / stormBuckets
	for i, counts := range rounds {
		t.Logf("round %d: %s", i+1, bars(counts[:], share))
		for j, n := range counts {
			if r := float64(n) / share; r > 1.5 || r < 0.5 {
				t.Errorf("round %d, part %d of %d of the spread: %d pings, %.2f of an even share", i+1, j+1, stormBuckets, n, r)
			}
		}
	}
	busiest, most := 0, 0
	for _, n := range perTick {
		busiest = max(busiest, n)
	}
	for _, n := range slices {
		most = max(most, n)
	}
	t.Logf("%d connections opened in %v, all pinged twice in %v; pings per tick of the wheel: %.0f in a spread, %d at most; in %v: %d at most",
		conns, lastOpen-firstOpen, took, float64(conns)*float64(wheelTick)/float64(interval/2), busiest, width, most)
	if float64(most) > 1.5*share {
		t.Errorf("%d pings left within %v, %.0f are meant", most, width, share)
	}
	if early > 0 {
		t.Errorf("%d pings came before a half of the interval, or of the next", early)
	}
	if late > conns/10 {
		t.Errorf("%d pings came later than the whole interval", late)
	}
	if n := e.Stats(); n.PingTimeouts != 0 || n.Handshakes != uint64(conns) {
		t.Errorf("%d timeouts, %d handshakes", n.PingTimeouts, n.Handshakes)
	}
}
