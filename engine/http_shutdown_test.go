package engine_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// waiting is a handler whose requests to /wait last until the test lets them end.
type waiting struct {
	begun chan *http.Request
	end   chan bool
}

func newWaiting() *waiting { return &waiting{make(chan *http.Request, 100), make(chan bool)} }

func (h *waiting) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/wait" {
		h.begun <- r
		<-h.end
	}
	io.WriteString(w, "answered")
}

const waitRequest = "GET /wait HTTP/1.1\r\nHost: h\r\n\r\n"

// Shutdown closes idle HTTP connections at once and waits for the answers under way, and for WebSockets as ever.
func TestShutdownWaitsForHTTPRequests(t *testing.T) {
	h := newWaiting()
	s := startHTTP(t, h)
	echo := newEcho()
	s.handle("/ws", echo)
	idle, busy, behind, ws := s.connect(), s.connect(), s.connect(), s.open("/ws")
	idle.expectOK("/")
	behind.expectOK("/")
	busy.send([]byte(waitRequest))
	within(t, h.begun)
	behind.send([]byte(waitRequest))
	within(t, h.begun)
	done := s.beginShutdown(patience)
	idle.expectEOF()
	ws.answerClose(frame.CloseGoingAway, goingDown)
	ws.Close()
	echo.wait(t)
	s.until("two are left", func() bool { return s.Stats().Conns == 2 })
	select {
	case err := <-done:
		t.Fatalf("Shutdown returned %v while requests were being answered", err)
	default:
	}
	for _, c := range []*client{busy, behind} {
		h.end <- true
		if _, body := c.readAnswer("GET"); body != "answered" {
			t.Errorf("%q", body)
		}
		c.expectEOF()
	}
	if err := within(t, done); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if n := s.Stats(); n.Conns != 0 || n.HTTP != 0 {
		t.Errorf("%+v", n)
	}
}

// When its context ends first, Shutdown closes what is not answered yet.
func TestShutdownCutsHTTPRequestsOffWhenItsContextEnds(t *testing.T) {
	h := newWaiting()
	s := startHTTP(t, h)
	c := s.connect()
	c.send([]byte(waitRequest))
	r := within(t, h.begun)
	if err := within(t, s.beginShutdown(20*time.Millisecond)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	if b, err := io.ReadAll(c.r); len(b) != 0 {
		t.Errorf("%q, %v", b, err)
	}
	within(t, r.Context().Done())
	close(h.end)
}

// Close does not wait.
func TestCloseEndsHTTPRequests(t *testing.T) {
	h := newWaiting()
	s := startHTTP(t, h)
	c := s.connect()
	c.expectOK("/")
	c.send([]byte(waitRequest))
	r := within(t, h.begun)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if b, err := io.ReadAll(c.r); len(b) != 0 {
		t.Errorf("%q, %v", b, err)
	}
	within(t, r.Context().Done())
	close(h.end)
	s.Close()
	if err := s.shutdown(); err != nil {
		t.Errorf("Shutdown after Close: %v", err)
	}
}

// What a handler has hijacked is its own: Shutdown neither closes it nor waits for it, as with net/http.
func TestShutdownLeavesHijackedConnections(t *testing.T) {
	hj := newHijacker(t)
	s := startHTTP(t, hj)
	c := s.connect()
	c.send([]byte(ok))
	nc := within(t, hj.conns)
	if err := s.shutdown(); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	nc.Write([]byte("still"))
	expectRead(t, c.r, "still")
	nc.Close()
	c.expectEOF()
}

// An upgrade that comes through net/http during Shutdown is refused, and so is a request that the loop sees.
func TestNothingIsUpgradedDuringShutdown(t *testing.T) {
	h := newWaiting()
	s := startHTTP(t, h)
	s.handle("/ws", newEcho())
	busy, fresh := s.connect(), s.connect()
	busy.send([]byte(waitRequest + string(upgradeRequest("/ws"))))
	within(t, h.begun)
	s.until("both are in", func() bool { return s.Stats().Conns == 2 })
	done := s.beginShutdown(patience)
	fresh.expectRefusal(http.StatusServiceUnavailable)
	fresh.Close()
	h.end <- true
	if _, body := busy.readAnswer("GET"); body != "answered" {
		t.Errorf("%q", body)
	}
	// net/http ends the connection, or, if it has not heard of the end yet, the engine refuses.
	if b, err := io.ReadAll(busy.r); err != nil || len(b) > 0 && !strings.HasPrefix(string(b), "HTTP/1.1 503 ") {
		t.Errorf("%q, %v", b, err)
	}
	if err := within(t, done); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
}

// Connections handed over and upgraded while the engine ends get an answer or an end, and leave nothing behind.
func TestHandOversDuringTheEnd(t *testing.T) {
	for round := range 10 {
		s := startHTTP(t, inspect(), engine.WithCloseTimeout(50*time.Millisecond))
		s.handle("/ws", newEcho())
		addr := s.addr(t)
		var clients sync.WaitGroup
		begun := make(chan bool, 100)
		stop := make(chan bool)
		for i := range 8 {
			clients.Go(func() {
				for {
					nc, err := dialTCP(addr)
					if err != nil {
						return // the listener is closed
					}
					switch i % 4 {
					case 0:
						nc.Write([]byte(ok))
					case 1:
						nc.Write([]byte(ok + string(upgradeRequest("/ws"))))
					case 2:
						nc.Write([]byte("malformed\r\n\r\n"))
					case 3:
						nc.Write([]byte(string(upgradeRequest("/ws", "Origin: https://evil.test")) + ok))
					}
					nc.Read(make([]byte, 1))
					nc.Close()
					select {
					case begun <- true:
					case <-stop:
						return
					default:
					}
				}
			})
		}
		for range 20 {
			within(t, begun)
		}
		if round%2 == 0 {
			s.shutdown()
		} else {
			s.Close()
		}
		close(stop)
		clients.Wait()
	}
}
