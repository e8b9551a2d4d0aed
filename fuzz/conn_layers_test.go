package fuzz

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"runtime"

	"zeroframe/engine"
	"zeroframe/frame"
)

// reflecting sends back every frame of a raw route as it came, close frames too.
type reflecting struct{ *answering }

func (h reflecting) OnFrame(c *engine.Conn, f engine.Frame) {
	switch c.UserData().(*execution).mode {
	case withReply:
		c.ReplyFrame(f)
	case withSend:
		c.SendFrame(f)
	case withPause:
		c.Pause()
		c.ReplyFrame(f)
		go c.Resume()
	case withFragments:
		if f.OpCode == frame.Close { // which the connection owes until another goroutine sends it
			f.Payload = bytes.Clone(f.Payload)
			go c.SendFrame(f)
			return
		}
		f.Payload = bytes.Clone(f.Payload)
		c.ReplyFrame(f)
	}
}

// describe is a message in one string.
func describe(op frame.OpCode, payload []byte) string { return fmt.Sprintf("%d %s", op, payload) }

// serve echoes a session's messages, and reports what it received when the connection has ended.
func (h *answering) serve(ctx context.Context, s *engine.Session) error {
	x := h.next
	var received []string
	defer func() {
		r, err := s.CloseReason(context.Background())
		if err != nil {
			panic(err)
		}
		x.ended <- r
		x.received <- received
	}()
	echo := func(op frame.OpCode, payload []byte) error {
		received = append(received, describe(op, payload))
		err := s.Send(ctx, op, payload)
		if errors.Is(err, engine.ErrClosed) || ctx.Err() != nil { // what was received before the end can still be received
			return nil
		}
		return err
	}
	for i := 0; ; i++ {
		var err error
		if x.mode == withSend || x.mode == withFragments && i%2 == 0 {
			err = stream(s, echo)
		} else {
			if x.mode == withPause {
				runtime.Gosched() // so that the queue fills
			}
			var m engine.Message
			if m, err = s.Receive(context.Background()); err == nil {
				err = echo(m.OpCode, m.Payload)
			}
		}
		if errors.Is(err, engine.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// stream receives a message piece by piece.
func stream(s *engine.Session, echo func(frame.OpCode, []byte) error) error {
	op, r, err := s.NextReader(context.Background())
	if err != nil {
		return err
	}
	var whole []byte
	piece := make([]byte, 100)
	for {
		n, err := r.Read(piece)
		whole = append(whole, piece[:n]...)
		switch err {
		case nil:
		case io.EOF:
			return echo(op, whole)
		default:
			return err
		}
	}
}

// expectAnyOrder reads what a session and its loop send, each in order, up to the close frame, or until all has come.
// What is received after the end is known is not echoed any more.
func expectAnyOrder(r io.Reader, want connTrace) error {
	messages, pongs := want.messages, want.pongs
	for want.code != frame.CloseAbnormal || len(messages)+len(pongs) > 0 {
		h := make([]byte, 4)
		if _, err := io.ReadFull(r, h[:2]); err != nil {
			return fmt.Errorf("%v; to come are %q, pongs %q, close %d", err, messages, pongs, want.code)
		}
		if h[0] == 0x88 {
			if len(pongs) > 0 || want.code == frame.CloseAbnormal {
				return fmt.Errorf("a close frame; to come are pongs %q, close %d", pongs, want.code)
			}
			return readClose(io.MultiReader(bytes.NewReader(h[:2]), r), want)
		}
		n := int(h[1])
		if n == 126 {
			if _, err := io.ReadFull(r, h[2:]); err != nil {
				return err
			}
			n = int(binary.BigEndian.Uint16(h[2:]))
		}
		p := make([]byte, n)
		if _, err := io.ReadFull(r, p); err != nil {
			return err
		}
		from, got := &messages, describe(frame.OpCode(h[0]&0x0f), p)
		if h[0] == 0x8a {
			from, got = &pongs, string(p)
		}
		if h[0]&0x80 == 0 || len(*from) == 0 || (*from)[0] != got {
			return fmt.Errorf("got % x %q; to come are %q, pongs %q", h[0], got, messages, pongs)
		}
		*from = (*from)[1:]
	}
	return nil
}
