package engine

import (
	"bytes"
	"context"
	"iter"

	"zeroframe/frame"
	"zeroframe/pool"
)

// Message is a whole message.
type Message struct {
	OpCode frame.OpCode // Text or Binary
	// Payload may be changed. It is valid until the next call of Receive or NextReader, and until the handler returns.
	Payload []byte
}

// Clone returns the message with a payload of its own, for those who keep it.
func (m Message) Clone() Message {
	m.Payload = bytes.Clone(m.Payload)
	return m
}

// Receive waits for the next message and returns it: fragments are joined, and control frames never show up (RFC 6455,
// section 5.4). What came before the connection ended is returned first; then the error is a *CloseError, which wraps
// ErrClosed and what else ended the connection, such as ErrMessageTooBig or ErrPingTimeout. When ctx ends while Receive
// waits, the error is ctx's, and the session goes on. The payload belongs to the session again with the next call.
func (s *Session) Receive(ctx context.Context) (Message, error) {
	if err := s.leave(ctx); err != nil {
		return Message{}, err
	}
	if s.conn.flags.Load()&flagPieces != 0 {
		s.conn.flags.And(^flagPieces)
	}
	it, err := s.begin(ctx)
	if err != nil {
		return Message{}, err
	}
	if !it.last {
		if it, err = s.join(ctx, it); err != nil {
			return Message{}, err
		}
	}
	if it.compressed {
		if it, err = s.inflate(it); err != nil {
			return Message{}, err
		}
	}
	s.current = it.buf
	return Message{OpCode: it.op, Payload: it.payload()}, nil
}

// Messages receives until the connection ends. After an orderly end, our own close or the peer's with 1000, 1001 or
// without a code, the iteration just ends; any other error of Receive comes as the last pair. The handler that does no
// more than to iterate returns nil after it.
func (s *Session) Messages(ctx context.Context) iter.Seq2[Message, error] {
	return func(yield func(Message, error) bool) {
		for {
			m, err := s.Receive(ctx)
			if end, ok := err.(*CloseError); ok && end.orderly() {
				return
			}
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

// release gives back what the last call of Receive or NextReader returned.
func (s *Session) release() {
	if s.current != nil {
		pool.Put(s.current)
		s.current = nil
	}
	s.reader = nil
}

// begin waits for the beginning of a message; the rest of one that was not read to its end is skipped.
func (s *Session) begin(ctx context.Context) (item, error) {
	if it := s.begun; it.begin {
		s.begun = item{}
		return it, nil
	}
	for {
		it, err := s.next(ctx)
		if err != nil || it.begin {
			return it, err
		}
		it.recycle()
	}
}

// join waits for the rest of a message whose beginning came as a piece, and makes one item of it.
func (s *Session) join(ctx context.Context, whole item) (item, error) {
	for !whole.last {
		it, err := s.next(ctx)
		if err != nil {
			s.begun = whole // for the next call, if there is more to come
			return item{}, err
		}
		whole.buf = appendPooled(whole.buf, it.payload())
		whole.last = it.last
		it.recycle()
	}
	return whole, nil
}
