package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// dialAt opens a session as a client, on the server's own engine.
func (s *server) dialAt(path string, opts ...engine.RouteOption) *engine.Session {
	s.t.Helper()
	session, err := s.DialSession(patiently(s.t), "ws://"+s.addr(s.t)+path, nil, opts...)
	if err != nil {
		s.t.Fatal(err)
	}
	return session
}

// A client's session is what a server's is: both ends here are sessions, of one engine.
func TestDialSessionTalksToASession(t *testing.T) {
	s := onSocket(t, engine.WithPingInterval(0))
	s.session("/echo", echoSession)
	s.session("/stream", streamSession)
	for _, path := range []string{"/echo", "/stream"} {
		session := s.dialAt(path)
		if session.Request() != nil {
			t.Errorf("a client has the request %+v", session.Request())
		}
		for _, n := range []int{0, 1, 125, 126, 65536, 300_000} {
			if err := session.SendBinary(patiently(t), pattern(n)); err != nil {
				t.Fatal(err)
			}
			expectMessage(t, session, frame.Binary, pattern(n))
		}
		if err := session.Close(3000, "enough"); err != nil {
			t.Error(err)
		}
		expectEnd(t, session, engine.CloseReason{Code: 3000, Text: "enough"})
	}
}

// What the server sends right behind its answer, and its close frame, are received in order.
func TestDialSessionReceivesWhatCameWithTheAnswer(t *testing.T) {
	p, s := newPeer(t), onSocket(t, engine.WithPingInterval(0))
	for range 20 {
		go func() {
			c, _ := p.accept(switching + "\r\n" + string(answerTo(frame.Text, []byte("first"))) + string(answerTo(frame.Text, []byte("second"))) +
				string(answerTo(frame.Close, closePayload(1013, "try again"))))
			if f, _ := c.readMasked(); f.op != frame.Close || !bytes.Equal(f.payload, closePayload(1013, "")) {
				t.Errorf("the client answered %v", f)
			}
			c.Close()
		}()
		session, err := s.DialSession(patiently(t), p.url("/"), nil)
		if err != nil {
			t.Fatal(err)
		}
		expectMessage(t, session, frame.Text, []byte("first"))
		expectMessage(t, session, frame.Text, []byte("second"))
		expectEnd(t, session, engine.CloseReason{Code: 1013, Text: "try again", Remote: true})
	}
}

// Setters and Close act though the loop may not have opened the connection yet when DialSession returns.
func TestDialedSessionObeysFromTheStart(t *testing.T) {
	s := onSocket(t, engine.WithPingInterval(0))
	s.session("/echo", echoSession)
	for i := range 50 {
		session := s.dialAt("/echo", engine.WithMaxFrameSize(200))
		session.SetMaxFrameSize(1000)
		if i%2 == 0 {
			session.Close(4000, "at once")
			expectEnd(t, session, engine.CloseReason{Code: 4000, Text: "at once"})
			continue
		}
		if err := session.SendBinary(patiently(t), pattern(1000)); err != nil {
			t.Fatal(err)
		}
		expectMessage(t, session, frame.Binary, pattern(1000))
		session.Close(frame.CloseNormal, "")
		expectEnd(t, session, engine.CloseReason{Code: frame.CloseNormal})
	}
}

// The queue of a client's session pushes back on the server.
func TestDialedSessionThatDoesNotReceivePushesBack(t *testing.T) {
	s := onSocket(t, engine.WithPingInterval(0), engine.WithMaxBackpressure(100_000))
	const count, size = 300, 100_000
	sent := make(chan error, 1)
	s.session("/", func(ctx context.Context, session *engine.Session) error {
		for i := range count {
			if err := session.SendBinary(ctx, fmt.Appendf(pattern(size), "%d", i)); err != nil {
				sent <- err
				return err
			}
		}
		sent <- nil
		return nil
	})
	session := s.dialAt("/", engine.WithSessionQueue(2, 1<<20))
	eventually(t, "the server is stuck", func() bool {
		for c := range s.Conns() {
			if c.Buffered() > 0 {
				return true
			}
		}
		return false
	})
	select {
	case err := <-sent:
		t.Fatalf("all was sent to a client that does not receive: %v", err)
	default:
	}
	for i := range count {
		expectMessage(t, session, frame.Binary, fmt.Appendf(pattern(size), "%d", i))
	}
	if err := within(t, sent); err != nil {
		t.Error(err)
	}
	expectEnd(t, session, engine.CloseReason{Code: frame.CloseNormal, Remote: true})
}

func TestDialSessionFailsAsDialDoes(t *testing.T) {
	s := onSocket(t)
	var refused *engine.HandshakeError
	if _, err := s.DialSession(patiently(t), "ws://"+s.addr(t)+"/nowhere", nil); !errors.As(err, &refused) || refused.Status != 404 {
		t.Errorf("no such route: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := s.DialSession(ctx, "ws://"+s.addr(t)+"/nowhere", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
	s.Engine.Close()
	if _, err := s.DialSession(patiently(t), "ws://127.0.0.1:1/", nil); err != engine.ErrServerClosed {
		t.Errorf("closed engine: %v", err)
	}
}

// An engine is closed while it dials: whichever sessions DialSession has returned by then end, also those that no loop
// has opened yet, and nobody who waits in one is left.
func TestSessionsDialedBesideCloseEnd(t *testing.T) {
	s := onSocket(t, engine.WithPingInterval(0))
	s.session("/", echoSession)
	url := "ws://" + s.addr(t) + "/"
	for round := range 40 {
		e, err := engine.New(engine.WithLoops(2))
		if err != nil {
			t.Fatal(err)
		}
		var dialers sync.WaitGroup
		dialed := make(chan struct{}, 1000)
		for i := range 8 {
			dialers.Go(func() {
				for {
					session, err := e.DialSession(patiently(t), url, nil)
					if err != nil {
						return
					}
					dialed <- struct{}{}
					if i%2 == 0 {
						if _, err := session.Receive(context.Background()); !errors.Is(err, engine.ErrClosed) {
							t.Errorf("Receive: %v", err)
						}
					} else {
						session.SendText(context.Background(), "x")
						session.Flush(context.Background())
						session.Terminate()
						for ; err == nil; _, err = session.Receive(context.Background()) { // what is unread
						}
					}
					<-session.Context().Done()
				}
			})
		}
		for range round % 20 {
			within(t, dialed)
		}
		if round%2 == 0 {
			e.Close()
		} else {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
			e.Shutdown(ctx)
			cancel()
		}
		done := make(chan struct{})
		go func() { dialers.Wait(); close(done) }()
		within(t, done)
	}
}

// Whoever dials may send before the loop has opened the connection, and be refused; all of it is written before the
// connection is open, and that must be told like any other end of a full queue.
func TestOnDrainComesToADialerThatFilledTheQueueBeforeTheLoopKnewTheConnection(t *testing.T) {
	s := onSocket(t)
	s.handle("/", engine.NopHandler{}) // nothing comes back that would be answered
	dialer := bare(t, engine.WithLoops(1), engine.WithPingInterval(0), engine.WithMaxBackpressure(1000))
	t.Cleanup(func() { dialer.Close() })
	url := "ws://" + s.addr(t) + "/"
	first, err := dialer.Dial(patiently(t), url, nil, engine.NopHandler{})
	if err != nil {
		t.Fatal(err)
	}
	held, release := make(chan struct{}), make(chan struct{})
	first.Post(func() { close(held); <-release })
	within(t, held)
	h := newOpener()
	c, err := dialer.Dial(patiently(t), url, nil, h)
	if err != nil {
		t.Error(err)
	} else {
		for err == nil {
			err = c.Send(frame.Text, pattern(100))
		}
		if err != engine.ErrBackpressure {
			t.Error(err)
		}
	}
	close(release)
	if n := within(t, h.drained); n != 0 {
		t.Errorf("OnDrain with %d bytes queued", n)
	}
	if len(h.opened) != 1 {
		t.Error("OnDrain came before OnOpen")
	}
}
