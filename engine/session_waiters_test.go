package engine_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// Very many senders wait for one peer. When it reads they go in the order they came, but for the one in each turn that
// finds no room; those that give up meanwhile pass their turn on.
func TestAThousandSendersTakeTurns(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		senders, size, room := 1000, 4000, 64<<10
		if !overSockets(t) {
			senders, size, room = 400, 100, 2000
		}
		s := start(engine.WithPingInterval(0), engine.WithMaxBackpressure(room))
		s.narrow()
		c, session, _ := s.lend()
		glut := bulk(s.glut())
		if err := session.SendBinary(context.Background(), glut); err != nil { // an empty queue takes any
			t.Fatal(err)
		}
		results, cancels := make([]<-chan error, senders), make([]func(), senders)
		for i := range senders {
			p := fmt.Appendf(nil, "%0*d", size, i)
			results[i], cancels[i] = waits(t, context.Background(), func(ctx context.Context) error { return session.SendBinary(ctx, p) })
		}
		givesUp := func(i int) bool { return i%5 == 3 }
		go func() {
			for i, cancel := range cancels {
				if givesUp(i) {
					cancel()
				}
			}
		}()
		sent := make(chan []int, 1)
		go func() {
			defer session.Close(frame.CloseNormal, "")
			var list []int
			for i := range results {
				switch err := within(t, results[i]); {
				case err == nil:
					list = append(list, i)
				case !givesUp(i) || err != context.Canceled:
					t.Errorf("sender %d: %v", i, err)
				}
			}
			sent <- list
		}()
		c.expect(frame.Binary, glut)
		place := make(map[int]int)
		for {
			f := c.next()
			if f.op == frame.Close {
				break
			}
			var i int
			if _, err := fmt.Sscanf(string(f.payload), "%d", &i); err != nil || len(f.payload) != size {
				t.Fatalf("got %v", f)
			}
			place[i] = len(place)
		}
		list, far := within(t, sent), 0
		for rank, i := range list {
			at, came := place[i]
			if !came {
				t.Fatalf("the message of sender %d was lost", i)
			}
			if max(at-rank, rank-at) > senders/4 {
				far++
			}
		}
		if len(place) != len(list) {
			t.Errorf("%d messages came, %d were sent", len(place), len(list))
		}
		if far > senders/2 {
			t.Errorf("%d of %d came far from their place", far, len(list))
		}
	})
}

// A writer among senders that never rest, all of them short of room, gets its message through.
func TestWritersAreNotStarvedBySendersThatWait(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		senders, size, length := 200, 4000, 400_000
		if !overSockets(t) {
			senders, size, length = 50, 500, 66_000
		}
		s := start(engine.WithPingInterval(0), engine.WithMaxBackpressure(128<<10))
		s.narrow()
		c, session, _ := s.lend()
		ctx := patiently(t)
		var sending sync.WaitGroup
		var written atomic.Bool
		if err := session.SendBinary(ctx, bulk(s.glut())); err != nil {
			t.Fatal(err)
		}
		for range senders {
			sending.Go(func() {
				for !written.Load() {
					if err := session.SendBinary(ctx, bulk(size)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wrote := later(func() error {
			defer written.Store(true)
			w, err := session.NextWriter(ctx, frame.Text)
			if err != nil {
				return err
			}
			_, err = w.Write(bulk(length))
			return errors.Join(err, w.Close())
		})
		go func() {
			sending.Wait()
			session.Close(frame.CloseNormal, "")
		}()
		came := 0
		for {
			op, p := c.nextMessage()
			if op == frame.Close {
				break
			}
			if op == frame.Text {
				came++
				if len(p) != length {
					t.Errorf("%d bytes of the writer's %d", len(p), length)
				}
			}
		}
		if err := within(t, wrote); err != nil || came != 1 {
			t.Errorf("the writer: %v; its message came %d times", err, came)
		}
	})
}

// A context derived from the session's ends with the connection, before all is written: a flush with one goes on to its
// mark, and says how the connection ended when that is never reached.
func TestFlushesWithAContextOfTheSessionsReachTheirMark(t *testing.T) {
	for _, dies := range []bool{false, true} {
		t.Run(fmt.Sprintf("the peer goes %v", dies), func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start((&server{t: t}).roomForTwo(), engine.WithPingInterval(0))
				s.narrow()
				c, session, _ := s.lend()
				first, _ := s.stuck(session)
				before, _ := waits(t, session.Context(), session.Flush)
				c.write(frame.Close, closePayload(4321, "over"))
				within(t, session.Context().Done())
				derived, cancel := context.WithCancel(session.Context()) // it has ended already
				defer cancel()
				during := later(func() error { return session.Flush(derived) })
				if dies {
					c.Close()
				} else {
					c.expect(frame.Binary, first)
					c.expectClose(4321)
				}
				for what, done := range map[string]<-chan error{"before": before, "behind": during} {
					err := within(t, done)
					var end *engine.CloseError
					if !dies && err != nil || dies && (!errors.As(err, &end) || end.Reason.Code != 4321) {
						t.Errorf("a flush that began %s the end: %v", what, err)
					}
				}
			})
		})
	}
}
