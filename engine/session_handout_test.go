package engine_test

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// handout is a session's handler that hands its sessions to the test and returns what the test says. The test stands for
// the handler's goroutine meanwhile: it may call Receive.
type handout struct {
	sessions chan *engine.Session
	result   chan error
}

// handOut registers a handout. What the test has not ended by itself returns nil when the test is over.
func (s *server) handOut(pattern string, opts ...engine.RouteOption) *handout {
	s.t.Helper()
	h := &handout{make(chan *engine.Session, 1000), make(chan error)}
	s.session(pattern, h.serve, opts...)
	s.t.Cleanup(func() { close(h.result) })
	return h
}

func (h *handout) serve(_ context.Context, s *engine.Session) error {
	h.sessions <- s
	return <-h.result
}

// next returns the session of the connection that was opened last.
func (h *handout) next(t testing.TB) *engine.Session {
	t.Helper()
	return within(t, h.sessions)
}

// finish makes one handler return err.
func (h *handout) finish(err error) { h.result <- err }

// patiently is a context for calls that must not wait for ever.
func patiently(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// expectMessage receives a message and compares it.
func expectMessage(t testing.TB, s *engine.Session, op frame.OpCode, payload []byte) {
	t.Helper()
	m, err := s.Receive(patiently(t))
	if err != nil {
		t.Fatalf("Receive: %v; want %v of %d bytes", err, op, len(payload))
	}
	if m.OpCode != op || !bytes.Equal(m.Payload, payload) {
		t.Fatalf("received %v of %d bytes %.40q, want %v of %d bytes %.40q", m.OpCode, len(m.Payload), m.Payload, op, len(payload), payload)
	}
}

// expectNoAnswer requires that the session's context says of its end that the peer did not answer our close frame.
func expectNoAnswer(t testing.TB, s *engine.Session, reason engine.CloseReason) {
	t.Helper()
	within(t, s.Context().Done())
	var end *engine.CloseError
	if err := context.Cause(s.Context()); !errors.As(err, &end) || !errors.Is(err, engine.ErrClosed) ||
		end.Reason.Code != reason.Code || end.Reason.Text != reason.Text || end.Reason.Err != engine.ErrCloseTimeout {
		t.Errorf("the cause of the context: %v, want %+v and a close timeout", err, reason)
	}
}

// expectEnd requires that the session's connection ends with want, with every call that tells about it, and that calls
// fail accordingly. What was received before must have been taken.
func expectEnd(t testing.TB, s *engine.Session, want engine.CloseReason) {
	t.Helper()
	ctx := patiently(t)
	r, err := s.CloseReason(ctx)
	if err != nil {
		t.Fatalf("CloseReason: %v", err)
	}
	if !sameReason(r, want) {
		t.Errorf("reason %+v, want %+v", r, want)
	}
	select {
	case <-s.Context().Done():
	case <-ctx.Done():
		t.Fatal("the session's context does not end")
	}
	calls := map[string]error{"the cause of the context": context.Cause(s.Context())}
	if r.Err == nil && errors.Is(calls["the cause of the context"], engine.ErrCloseTimeout) {
		delete(calls, "the cause of the context") // it knows more: expectNoAnswer
	}
	_, calls["Receive"] = s.Receive(ctx)
	_, _, calls["NextReader"] = s.NextReader(ctx)
	calls["Send"] = s.SendText(ctx, "late")
	_, calls["NextWriter"] = s.NextWriter(ctx, frame.Text)
	calls["Send with the session's context"] = s.SendText(s.Context(), "late")
	for what, err := range calls {
		var end *engine.CloseError
		if !errors.As(err, &end) || !errors.Is(err, engine.ErrClosed) || end.Reason != r {
			t.Errorf("%s: %v, want a CloseError with the reason %+v", what, err, r)
		}
		if r.Err != nil && !errors.Is(err, r.Err) {
			t.Errorf("%s: %v does not wrap %v", what, err, r.Err)
		}
	}
	if err := s.Close(frame.CloseGoingAway, "again"); err != engine.ErrClosed {
		t.Errorf("another Close: %v, want ErrClosed", err)
	}
	if again, err := s.CloseReason(ctx); err != nil || again != r {
		t.Errorf("asked again, the reason is %+v, %v; it was %+v", again, err, r)
	}
}

// sameReason compares reasons; want's error need only be wrapped.
func sameReason(got, want engine.CloseReason) bool {
	return got.Code == want.Code && got.Text == want.Text && got.Remote == want.Remote &&
		(got.Err == nil) == (want.Err == nil) && errors.Is(got.Err, want.Err)
}
