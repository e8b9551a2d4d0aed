// Command reconnect prints what a server sends, and comes back when the connection is lost.
//
//	go run ./examples/reconnect ws://127.0.0.1:9001/news
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: reconnect URL")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// Pings find out that a server has gone without a word: nothing else would.
	e, err := engine.New(engine.WithLoops(1), engine.WithPingInterval(20*time.Second), engine.WithPingTimeout(10*time.Second))
	if err != nil {
		log.Fatal(err)
	}
	c := client{
		dial: func(ctx context.Context) (*engine.Session, error) { return e.DialSession(ctx, os.Args[1], nil) },
		use:  show,
		wait: sleep,
	}
	if err := c.stay(ctx); err != nil && ctx.Err() == nil {
		log.Print(err)
	}
	farewell, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	e.Shutdown(farewell)
}

// show prints messages until the connection ends.
func show(ctx context.Context, s *engine.Session) error {
	for m, err := range s.Messages(ctx) {
		if err != nil {
			return err
		}
		fmt.Printf("%s\n", m.Payload)
	}
	_, err := s.Receive(ctx) // why there are no more
	return err
}

// client keeps one connection open.
type client struct {
	dial func(context.Context) (*engine.Session, error)
	use  func(context.Context, *engine.Session) error // returns why the connection has ended
	wait func(context.Context, time.Duration) error
}

// stay dials and uses connections, one after the other, until ctx ends, the server says that it is done, or there is no
// hope that the next dial does better.
func (c *client) stay(ctx context.Context) error {
	var pause backoff
	for {
		s, err := c.dial(ctx)
		if err == nil {
			began := time.Now()
			err = c.use(ctx, s)
			s.Close(frame.CloseGoingAway, "") // unless it has ended
			if time.Since(began) > longest {
				pause = backoff{} // a server that drops everyone at once is not to be hammered
			}
		}
		var closed *engine.CloseError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &closed) && closed.Reason.Code == frame.CloseNormal:
			return nil
		case isHopeless(err):
			return err
		}
		d := max(pause.next(), retryAfter(err))
		log.Printf("%v; the next try is in %v", err, d.Round(time.Millisecond))
		if err := c.wait(ctx, d); err != nil {
			return err
		}
	}
}

// sleep waits for d, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
