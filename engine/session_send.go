package engine

import (
	"context"
	"errors"
	"unsafe"

	"zeroframe/frame"
)

// Send queues a message, Text or Binary, for the loop to write; it copies payload before it returns. While more than
// MaxBackpressure leaves is queued, or another goroutine is in the middle of a message with NextWriter, it waits, unless
// the route's overflow says otherwise. Messages of one goroutine leave in the order of the calls. The error is ctx's, a
// *CloseError, which wraps ErrClosed, or ErrFragment for another opcode. Any goroutine may call it but a loop's.
func (s *Session) Send(ctx context.Context, op frame.OpCode, payload []byte) error {
	if !op.IsData() {
		return ErrFragment
	}
	return s.send(ctx, nil, func() error {
		return s.conn.queue(frame.Header{Fin: true, OpCode: op}, payload, waiting)
	})
}

// SendText is Send of a Text message. The string must be UTF-8; it is not checked.
func (s *Session) SendText(ctx context.Context, text string) error {
	return s.Send(ctx, frame.Text, unsafe.Slice(unsafe.StringData(text), len(text)))
}

// SendBinary is Send of a Binary message.
func (s *Session) SendBinary(ctx context.Context, payload []byte) error {
	return s.Send(ctx, frame.Binary, payload)
}

// SendPrepared is Send of a prepared message; see Conn.SendPrepared.
func (s *Session) SendPrepared(ctx context.Context, p *Prepared) error {
	return s.send(ctx, nil, func() error { return s.conn.queuePrepared(p, waiting) })
}

// send calls queue until it succeeds or need not be called again. by is the writer whose fragment it is, or nil.
func (s *Session) send(ctx context.Context, by *messageWriter, queue func() error) error {
	if ctx != s.ctx && ctx.Err() != nil {
		return s.cause(ctx.Err())
	}
	err := s.try(by, queue)
	if !s.waitsAfter(err, by) {
		return s.outcome(err)
	}
	if by != nil {
		s.crowded.Store(true)
	}
	pass := by != nil // whether there may be room for the next one to try
	for {
		s.mu.Lock()
		w := s.senders.join()
		s.mu.Unlock()
		// What is waited for may have come before the waiter was known.
		if err = s.try(by, queue); s.waitsAfter(err, by) {
			if err = s.wait(ctx, w); err != nil {
				err = s.cause(err)
			} else if err = s.try(by, queue); s.waitsAfter(err, by) {
				err = errAgain
			}
		}
		s.mu.Lock()
		rung := s.senders.leave(w)
		s.mu.Unlock()
		if err != errAgain {
			pass = pass || rung
			break
		}
	}
	if by != nil {
		s.crowded.Store(false)
	}
	if pass {
		s.mu.Lock()
		s.senders.ringOne()
		s.mu.Unlock()
	}
	return s.outcome(err)
}

// try calls queue, unless a writer's fragment waits for room: that goes first, or those who are quick to take what
// little there is would keep it waiting.
func (s *Session) try(by *messageWriter, queue func() error) error {
	if by == nil && s.crowded.Load() && s.conn.route.overflowOut == OverflowSuspend {
		return ErrBackpressure
	}
	return queue()
}

// errAgain: a sender has waited and tries again.
var errAgain = errors.New("engine: try again")

// cause returns why a context ended: with the session, from whose context it may be derived, or for itself.
func (s *Session) cause(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.end != nil {
		return s.end
	}
	return err
}

// waitsAfter reports whether what failed with err is tried again.
func (s *Session) waitsAfter(err error, by *messageWriter) bool {
	switch err {
	case ErrBackpressure:
		return s.conn.route.overflowOut == OverflowSuspend
	case ErrFragment:
		s.mu.Lock()
		defer s.mu.Unlock()
		// The writer that was in the way may have ended since.
		return s.writer != by || s.conn.flags.Load()&flagFragment == 0
	}
	return false
}

// outcome turns the error of a queue that is not tried again into the caller's.
func (s *Session) outcome(err error) error {
	switch err {
	case ErrClosed:
		return s.ended()
	case ErrBackpressure:
		s.conn.closeWith(overflowReason("less is read than is sent"))
		return s.ended()
	}
	return err
}

// Flush waits until everything sent before has been given to the kernel, also while the connection is closing. The error
// is ctx's, or the *CloseError of a connection that ended with some of it unwritten. Any goroutine may call it but a
// loop's.
func (s *Session) Flush(ctx context.Context) error {
	m := make(mark, 1)
	queued, err := s.conn.lc.MarkOutput(m)
	if queued {
		ended := ctx.Done()
		if ctx == s.ctx { // it ends when the peer has closed, and the output goes on; the mark is told in any case
			ended = nil
		}
		select {
		case written := <-m:
			if written {
				return nil
			}
			err = ErrClosed
		case <-ended:
			if s.ctx.Err() == nil {
				return ctx.Err()
			}
			// Perhaps it was derived from ours, which ends before all is written: the mark is told in any case.
			if <-m {
				return nil
			}
			err = ErrClosed
		}
	}
	if err != nil {
		if _, err := s.CloseReason(ctx); err != nil {
			return err
		}
		return s.ended()
	}
	return nil
}

// mark is a place in the output queue.
type mark chan bool

// Passed is called when the place has been reached.
func (m mark) Passed(written bool) { m <- written }

// maxPonged is how many bytes of pongs a session's peer that reads nothing is sent on top of MaxBackpressure.
const maxPonged = 64 << 10

// restsWhenFull reports whether a peer is not read while its output is above MaxBackpressure. What a session sends is
// bounded by Send, which waits, so its peer is read on: two sessions that send each other more than that at once would
// wait for each other otherwise. But it must not make the queue grow with pongs.
func (c *Conn) restsWhenFull() bool {
	if s := c.session(); s != nil {
		return s.ponged > maxPonged
	}
	return !c.route.readWhileFull
}

// countPong keeps account of the pongs that join a queue which is too long already.
func (c *Conn) countPong(payload int) {
	if s := c.session(); s != nil && c.lc.Queued() > c.route.maxBackpressure {
		s.ponged += frame.MaxHeaderSize + payload
	}
}
