package engine_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// brittle is an error whose text cannot be had, like a nil pointer returned as an error.
type brittle struct{}

func (*brittle) Error() string { panic("secret of Error") }

// What a handler ends with decides the close frame. Texts are cut to fit on a rune boundary and made UTF-8; a panic's
// text is for the log.
func TestWhatASessionsHandlerReturnsClosesTheConnection(t *testing.T) {
	failed := errors.New("failed ☃")
	for _, row := range []struct {
		name string
		run  func() error
		code frame.CloseCode
		text string
		err  error  // the reason's
		log  string // what is logged at least; "": nothing
	}{
		{"nil", func() error { return nil }, frame.CloseNormal, "", nil, ""},
		{"error", func() error { return failed }, frame.CloseInternalError, "failed ☃", failed, "failed ☃"},
		{"wrapped error", func() error { return fmt.Errorf("twice: %w", failed) }, frame.CloseInternalError, "twice: failed ☃", failed, "twice"},
		{"text of 123 bytes", func() error { return errors.New(strings.Repeat("x", 123)) }, frame.CloseInternalError, strings.Repeat("x", 123), nil, "xxx"},
		{"text of 124 bytes", func() error { return errors.New(strings.Repeat("x", 124)) }, frame.CloseInternalError, strings.Repeat("x", 123), nil, "xxx"},
		{"text cut inside a rune of 2 bytes", func() error { return errors.New(strings.Repeat("я", 62)) }, frame.CloseInternalError, strings.Repeat("я", 61), nil, "яяя"},
		{"text cut inside a rune of 4 bytes", func() error { return errors.New(strings.Repeat("😀", 31)) }, frame.CloseInternalError, strings.Repeat("😀", 30), nil, "failed"},
		{"text that is not UTF-8", func() error { return errors.New("a\xFFb\xE2\x82") }, frame.CloseInternalError, "a\uFFFDb\uFFFD", nil, "failed"},
		{"no text", func() error { return errors.New("") }, frame.CloseInternalError, "", nil, "failed"},
		{"panic", func() error { panic("secret") }, frame.CloseInternalError, "", nil, "session_handler_test.go"},
		{"panic with an error", func() error { panic(failed) }, frame.CloseInternalError, "", nil, "session_handler_test.go"},
		{"panic of the runtime", func() error { var list []error; return list[len(list)] }, frame.CloseInternalError, "", nil, "index out of range"},
		{"error whose text panics", func() error { return (*brittle)(nil) }, frame.CloseInternalError, "", nil, "secret of Error"},
		{"Goexit", func() error { runtime.Goexit(); return nil }, frame.CloseInternalError, "", nil, "Goexit"},
	} {
		t.Run(row.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithPingInterval(0), engine.WithCloseTimeout(patience))
				sessions := make(chan *engine.Session, 1)
				s.session("/", func(_ context.Context, session *engine.Session) error {
					sessions <- session
					return row.run()
				})
				c := s.open("/")
				session := within(t, sessions)
				f := c.next()
				if f.op != frame.Close || row.name != "Goexit" && string(f.payload) != string(closePayload(row.code, row.text)) {
					t.Fatalf("got %v, want close %d %q", f, row.code, row.text)
				}
				c.write(frame.Close, f.payload)
				c.expectEOF()
				r, err := session.CloseReason(patiently(t))
				if err != nil || r.Code != row.code || r.Text != string(f.payload[2:]) || r.Remote || row.err != nil && !errors.Is(r.Err, row.err) {
					t.Errorf("reason %+v, %v", r, err)
				}
				var panicked *engine.PanicError
				if want := strings.Contains(row.name, "panic"); errors.As(r.Err, &panicked) != want {
					t.Errorf("reason's error %v", r.Err)
				} else if want && !strings.Contains(string(panicked.Stack), "session_handler_test.go") {
					t.Errorf("the stack does not show where:\n%s", panicked.Stack)
				}
				c.Close()
				if err := s.shutdown(); err != nil { // waits for the handler's goroutine, and its log
					t.Error(err)
				}
				if log := s.logs.String(); (log != "") != (row.log != "") || !strings.Contains(log, row.log) {
					t.Errorf("logged %q, want %q in it", log, row.log)
				}
			})
		})
	}
}

// What a handler returns after the connection's end, or the beginning of that, changes nothing and is not news.
func TestWhatASessionsHandlerReturnsAfterTheEndIsIgnored(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithCloseTimeout(patience))
		h := s.handOut("/")
		for _, result := range []error{nil, errors.New("late"), context.Canceled} {
			c := s.open("/")
			session := h.next(t)
			c.write(frame.Close, closePayload(3000, "theirs"))
			c.expectClose(3000)
			c.Close()
			expectEnd(t, session, engine.CloseReason{Code: 3000, Text: "theirs", Remote: true})
			h.finish(result)
			if r, err := session.CloseReason(patiently(t)); err != nil || r.Code != 3000 {
				t.Errorf("reason %+v, %v", r, err)
			}

			c = s.open("/")
			session = h.next(t)
			session.Close(4000, "ours")
			h.finish(engine.ErrClosed)
			c.answerClose(4000, "ours")
			c.Close()
			expectEnd(t, session, engine.CloseReason{Code: 4000, Text: "ours"})
		}
		if err := s.shutdown(); err != nil {
			t.Error(err)
		}
		if log := s.logs.String(); log != "" {
			t.Errorf("logged %s", log)
		}
	})
}

// An error that is not the end's is logged even when the connection is closing.
func TestPanicAfterTheEndIsLoggedAllTheSame(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		s.session("/", func(ctx context.Context, _ *engine.Session) error {
			<-ctx.Done()
			panic("too late")
		})
		c := s.open("/")
		c.write(frame.Close, nil)
		c.expectClose(frame.CloseNoStatus)
		c.Close()
		if err := s.shutdown(); err != nil {
			t.Error(err)
		}
		if log := s.logs.String(); !strings.Contains(log, "too late") {
			t.Errorf("logged %q", log)
		}
	})
}

// The handler is gone, the peer does not answer: the connection ends by CloseTimeout, and the peer may be sending.
func TestHandlerReturnsAndThePeerNeverAnswers(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithCloseTimeout(50*time.Millisecond))
		h := s.handOut("/")
		c := s.open("/")
		session := h.next(t)
		began := time.Now()
		h.finish(nil)
		c.expect(frame.Close, closePayload(frame.CloseNormal, ""))
		c.write(frame.Text, []byte("not listening"))
		select {
		case <-session.Context().Done():
		case <-time.After(patience):
			t.Fatal("the connection does not end")
		}
		atLeast(t, "ended", began, 50*time.Millisecond)
		if r, err := session.CloseReason(patiently(t)); err != nil || r != (engine.CloseReason{Code: frame.CloseNormal}) {
			t.Errorf("reason %+v, %v", r, err)
		}
	})
}

// The loop, and other sessions on it, go on after a handler's panic.
func TestOtherSessionsGoOnAfterAPanic(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithLoops(1))
		s.session("/echo", echoSession)
		s.session("/panic", func(context.Context, *engine.Session) error { panic("here") })
		c := s.open("/echo")
		for range 5 {
			s.open("/panic").answerClose(frame.CloseInternalError, "")
			c.write(frame.Text, []byte("alive"))
			c.expect(frame.Text, []byte("alive"))
		}
	})
}
