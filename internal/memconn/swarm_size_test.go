package memconn

import (
	"testing"
	"unsafe"

	"zeroframe/frame"
	"zeroframe/internal/loop"
)

// A million clients are a million of these.
func TestAClientWithNothingInFlightIsThreeWords(t *testing.T) {
	if size := unsafe.Sizeof(member{}); size > 24 {
		t.Errorf("%d B", size)
	}
}

// silent is a Peer that answers pings.
type silent struct{}

func (silent) Opened(int)                        {}
func (silent) Pinged(int) bool                   { return true }
func (silent) Message(int, frame.OpCode, []byte) {}
func (silent) Ended(int, error)                  {}

// deaf is an endpoint that does not care, and its stream has nothing to read.
type deaf struct{ loop.Endpoint }

func (deaf) Opened()                   {}
func (deaf) Closed(error)              {}
func (deaf) Attach(*loop.Conn)         {}
func (deaf) Read([]byte) (int, error)  { return 0, loop.ErrAgain }
func (deaf) Write([]byte) (int, error) { return 0, loop.ErrAgain }
func (deaf) CloseWrite() error         { return nil }
func (deaf) Close() error              { return nil }

func TestAFlightIsGivenBackWhenItIsOver(t *testing.T) {
	g, err := loop.NewGroup(loop.Config{Loops: 1, ReadBuffer: 4096})
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	c := new(loop.Conn)
	c.Init(deaf{})
	if err := g.NewStreamConn(c, deaf{}); err != nil {
		t.Fatal(err)
	}
	s := NewSwarm(1, nil, silent{})
	m, ln := &s.members[0], s.laneOf(c.Loop())
	m.conn, m.lane, m.flight = c, ln, 0
	ping := frame.AppendFrame(nil, frame.Header{Fin: true, OpCode: frame.Ping}, []byte("0123456789abcdef"))
	buf := make([]byte, 10)
	round := func() {
		for _, b := range ping { // byte by byte, and taken in pieces too
			if n, err := m.Write([]byte{b}); n != 1 || err != nil {
				t.Fatal(n, err)
			}
		}
		read := 0
		for m.flight != 0 {
			n, err := m.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			read += n
		}
		if read != len(ping)+4 {
			t.Fatalf("a pong of %d bytes", read)
		}
	}
	for range 100 {
		round()
	}
	if len(ln.flights) != 2 || len(ln.free) != 1 { // the first has no number
		t.Errorf("%d flights, %d free", len(ln.flights), len(ln.free))
	}
	if n, err := m.Read(buf); n != 0 || err != loop.ErrAgain {
		t.Errorf("a read with nothing there: %d %v", n, err)
	}
	if allocs := testing.AllocsPerRun(100, func() {
		m.Write(ping)
		for m.flight != 0 {
			m.Read(buf)
		}
	}); allocs != 0 {
		t.Errorf("%.1f allocations for a ping and its pong", allocs)
	}
}
