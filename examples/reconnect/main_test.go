package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"zeroframe/engine"
)

// server serves h at /news and returns how to dial it.
func server(t *testing.T, h engine.SessionHandler, opts ...engine.RouteOption) func(context.Context) (*engine.Session, error) {
	t.Helper()
	e, err := engine.New(engine.WithLoops(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	if err := e.HandleSession("/news", h, opts...); err != nil {
		t.Fatal(err)
	}
	ln, err := e.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go e.Serve(ln)
	return func(ctx context.Context) (*engine.Session, error) {
		return e.DialSession(ctx, "ws://"+ln.Addr().String()+"/news", nil)
	}
}

// noted is a wait that takes no time and keeps how long it would have been.
func noted(pauses *[]time.Duration) func(context.Context, time.Duration) error {
	return func(ctx context.Context, d time.Duration) error {
		*pauses = append(*pauses, d)
		return ctx.Err()
	}
}

func TestItComesBackUntilTheServerIsDone(t *testing.T) {
	var visits atomic.Int32
	dial := server(t, func(ctx context.Context, s *engine.Session) error {
		visit := visits.Add(1)
		if err := s.SendText(ctx, []string{"one", "two", "three"}[visit-1]); err != nil {
			return err
		}
		switch visit {
		case 1:
			s.Flush(ctx)
			s.Terminate()
			<-ctx.Done()
		case 2:
			return errors.New("something broke")
		}
		return nil
	})
	var news []string
	var pauses []time.Duration
	failures := 3
	c := client{
		dial: func(ctx context.Context) (*engine.Session, error) {
			if failures--; failures >= 0 {
				return nil, &net.OpError{Op: "dial", Err: errors.New("no route")}
			}
			return dial(ctx)
		},
		use: func(ctx context.Context, s *engine.Session) error {
			for {
				m, err := s.Receive(ctx)
				if err != nil {
					return err
				}
				news = append(news, string(m.Payload))
			}
		},
		wait: noted(&pauses),
	}
	if err := c.stay(t.Context()); err != nil {
		t.Error(err)
	}
	if !slices.Equal(news, []string{"one", "two", "three"}) {
		t.Errorf("received %q", news)
	}
	if len(pauses) != 5 || !slices.IsSorted(pauses) { // each at least as long as the one before could be
		t.Errorf("waited %v", pauses)
	}
}

func TestItHeedsWhatTheServerSays(t *testing.T) {
	answers := make(chan *engine.Rejection, 4)
	dial := server(t, func(context.Context, *engine.Session) error { return nil }, engine.WithOnUpgrade(func(*engine.Upgrade) error {
		return <-answers
	}))
	var pauses []time.Duration
	c := client{dial: dial, use: show, wait: noted(&pauses)}
	for _, a := range []*engine.Rejection{
		{Status: http.StatusServiceUnavailable, Header: http.Header{"Retry-After": {"7"}}},
		{Status: http.StatusTooManyRequests},
		{Status: http.StatusInternalServerError},
		{Status: http.StatusUnauthorized},
	} {
		answers <- a
	}
	var refused *engine.HandshakeError
	if err := c.stay(t.Context()); !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized {
		t.Errorf("ended with %v", err)
	}
	if len(pauses) != 3 || pauses[0] != 7*time.Second || pauses[1] >= 7*time.Second {
		t.Errorf("waited %v", pauses)
	}
}

func TestItEndsWithItsContext(t *testing.T) {
	dial := server(t, func(ctx context.Context, s *engine.Session) error {
		<-ctx.Done()
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	c := client{dial: dial, use: show, wait: sleep}
	done := make(chan error)
	go func() { done <- c.stay(ctx) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}

	ctx, cancel = context.WithCancel(t.Context())
	c.dial = func(context.Context) (*engine.Session, error) { cancel(); return nil, errors.New("no") }
	go func() { done <- c.stay(ctx) }()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestPausesDoubleUpToAMinuteAndDiffer(t *testing.T) {
	seen := map[time.Duration]bool{}
	for range 20 {
		var b backoff
		due := shortest
		for range 100 {
			d := b.next()
			if d < due/2 || d > due {
				t.Fatalf("%v, due is %v", d, due)
			}
			seen[d] = true
			due = min(2*due, longest)
		}
	}
	if len(seen) < 1900 {
		t.Errorf("%d of 2000 pauses differ", len(seen))
	}
}
