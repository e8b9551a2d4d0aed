package memconn_test

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
	"zeroframe/internal/bridge"
	"zeroframe/internal/loop"
	"zeroframe/internal/memconn"
	"zeroframe/pool"
)

const patience = time.Minute

// witness is a Peer that keeps what it is told.
type witness struct {
	mute            map[int]bool // clients that answer no ping
	opened, pinged  chan int
	messages, ended chan string
}

func newWitness() *witness {
	return &witness{
		opened: make(chan int, 1<<16), pinged: make(chan int, 1<<16),
		messages: make(chan string, 1<<16), ended: make(chan string, 1<<16),
	}
}

func (w *witness) Opened(i int) { w.opened <- i }
func (w *witness) Pinged(i int) bool {
	w.pinged <- i
	return !w.mute[i]
}
func (w *witness) Message(i int, op frame.OpCode, b []byte) {
	w.messages <- fmt.Sprintf("%d %v %s", i, op, b)
}
func (w *witness) Ended(i int, err error) { w.ended <- fmt.Sprintf("%d: %v", i, err) }

func within[T any](t *testing.T, what string, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		t.Fatalf("%s: nothing in %v", what, patience)
	}
	return v
}

// serve is an engine that echoes at /echo, with read buffers and payloads overwritten after each use, and all buffers back
// when it has closed.
func serve(t *testing.T, opts ...engine.Option) *engine.Engine {
	t.Helper()
	pool.Verify(true)
	e, err := engine.New(append([]engine.Option{engine.WithLoops(2), engine.WithMaxConns(0), bridge.PoisonOption().(engine.Option)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		e.Close()
		if out := pool.Outstanding(); len(out) != 0 {
			t.Errorf("buffers still out: %v", out)
		}
	})
	echo := engine.HandlerFunc(func(c *engine.Conn, op frame.OpCode, b []byte) { c.Reply(op, b) })
	if err := e.Handle("/echo", echo); err != nil {
		t.Fatal(err)
	}
	return e
}

// open connects the clients of a swarm.
func open(t *testing.T, e *engine.Engine, n int, w *witness) *memconn.Swarm {
	t.Helper()
	u, err := url.Parse("ws://memory/echo")
	if err != nil {
		t.Fatal(err)
	}
	s := memconn.NewSwarm(n, u, w)
	for i := range n {
		if err := bridge.ServeStream(e, s.Stream(i)); err != nil {
			t.Fatal(err)
		}
	}
	for range n {
		within(t, "opening", w.opened)
	}
	return s
}

func TestTheClientsOfASwarmOpenAndGetTheirOwnEchoes(t *testing.T) {
	const n = 2000
	e, w := serve(t), newWitness()
	s := open(t, e, n, w)
	want := make(map[string]bool)
	for round := range 3 {
		for i := range n {
			text := fmt.Sprintf("round %d of %d", round, i)
			want[fmt.Sprintf("%d %v %s", i, frame.Binary, text)] = true
			if !s.Send(i, []byte(text)) {
				t.Fatal("not sent")
			}
		}
	}
	for range 3 * n {
		if m := within(t, "echoes", w.messages); !want[m] {
			t.Fatalf("%q was not sent, or came twice", m)
		} else {
			delete(want, m)
		}
	}
}

// A frame is whole in memory however long it is: the loop hands it over in as many writes as it likes.
func TestAClientOfASwarmTakesMessagesThatComeInPieces(t *testing.T) {
	e, w := serve(t, engine.WithReadBuffer(4<<10)), newWitness()
	s := open(t, e, 1, w)
	big := make([]byte, 300<<10)
	for i := range big {
		big[i] = 'a' + byte(i%23)
	}
	for range 3 {
		s.Send(0, big)
		if got, want := within(t, "the echo", w.messages), fmt.Sprintf("0 %v %s", frame.Binary, big); got != want {
			t.Fatalf("got %.40q of %d bytes, want %.40q of %d", got, len(got), want, len(want))
		}
	}
}

func TestTheClientsOfASwarmAnswerPings(t *testing.T) {
	const n, rounds = 500, 4
	e, w := serve(t, engine.WithPingInterval(50*time.Millisecond)), newWitness()
	open(t, e, n, w)
	pings := make([]int, n)
	for least := 0; least < n; {
		i := within(t, "pings", w.pinged)
		if pings[i]++; pings[i] == rounds { // a ping follows the pong for the one before
			least++
		}
	}
	if len(w.ended) > 0 {
		t.Errorf("client %s", <-w.ended)
	}
}

func TestAClientThatWithholdsItsPongIsClosed(t *testing.T) {
	e, w := serve(t, engine.WithPingInterval(50*time.Millisecond), engine.WithPingTimeout(100*time.Millisecond)), newWitness()
	w.mute = map[int]bool{3: true}
	open(t, e, 10, w)
	if got, want := within(t, "the end", w.ended), fmt.Sprintf("3: close %v %q", frame.CloseInternalError, "Ping timeout"); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := e.Stats().PingTimeouts; got > 1 {
		t.Errorf("%d ping timeouts", got)
	}
}

func TestEitherEndClosesAConnectionOfASwarm(t *testing.T) {
	e, w := serve(t), newWitness()
	s := open(t, e, 2, w)
	if !s.Close(1, frame.CloseGoingAway) {
		t.Fatal("not closed")
	}
	if got, want := within(t, "the end", w.ended), fmt.Sprintf("1: close %v %q", frame.CloseGoingAway, ""); got != want {
		t.Errorf("closed by the client: %q, want %q", got, want)
	}
	if err := e.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if got, want := within(t, "the end", w.ended), fmt.Sprintf("0: close %v %q", frame.CloseGoingAway, "Server is going down"); got != want {
		t.Errorf("closed by the server: %q, want %q", got, want)
	}
	if s.Send(0, []byte("late")) {
		t.Error("sent after the end")
	}
}

func TestAServerThatGoesAwayIsTold(t *testing.T) {
	e, w := serve(t), newWitness()
	open(t, e, 1, w)
	e.Close()
	if got, want := within(t, "the end", w.ended), fmt.Sprintf("0: %v", io.EOF); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// stub is a loop's end without an engine.
type stub struct {
	loop.Conn
	group  *loop.Group
	opened chan struct{}
	heard  chan string
	closed chan error
}

func (s *stub) Opened()        { close(s.opened) }
func (s *stub) Data(b []byte)  { s.heard <- string(b) }
func (s *stub) Target() []byte { return nil }
func (s *stub) EOF()           { s.Conn.Close(nil) }
func (s *stub) Written(int)    {}
func (s *stub) Mail(loop.Mail) {}
func (s *stub) Timeout()       {}
func (s *stub) Closed(e error) { s.closed <- e }

// What a server gets wrong ends the client with an error that says what.
func TestAClientOfASwarmJudgesItsServer(t *testing.T) {
	for name, test := range map[string]struct{ answer, want string }{
		"the answer is no upgrade":      {"HTTP/1.1 404 Not Found\r\n\r\n", "404"},
		"the answer is for another key": {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n", "Sec-WebSocket-Accept"},
	} {
		t.Run(name, func(t *testing.T) {
			g, err := loop.NewGroup(loop.Config{Loops: 1, ReadBuffer: 4096})
			if err != nil {
				t.Fatal(err)
			}
			defer g.Close()
			u, _ := url.Parse("ws://memory/")
			w := newWitness()
			server := &stub{group: g, opened: make(chan struct{}), heard: make(chan string, 1), closed: make(chan error, 1)}
			server.Init(server)
			if err := g.NewStreamConn(&server.Conn, memconn.NewSwarm(1, u, w).Stream(0)); err != nil {
				t.Fatal(err)
			}
			within(t, "the request", server.heard)
			server.Loop().Do(func() {
				server.Lock()
				copy(server.Append(len(test.answer)), test.answer)
				server.Unlock(true)
			})
			if err := within(t, "the server's end", server.closed); err != nil {
				t.Error(err)
			}
			got := within(t, "the end", w.ended)
			if !strings.Contains(got, test.want) {
				t.Errorf("%q, want %q in it", got, test.want)
			}
		})
	}
}
