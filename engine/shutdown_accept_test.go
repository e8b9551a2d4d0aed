package engine_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// A connection that was accepted before Shutdown began, and is known to its loop only then, has as little time for what
// must come before it can be told as one that was known before.
func TestAConnectionAcceptedAsShutdownBeginsIsNotWaitedForLong(t *testing.T) {
	for _, secured := range []bool{false, true} {
		t.Run(fmt.Sprintf("TLS %v", secured), func(t *testing.T) {
			asked, answer := make(chan bool, 2), make(chan bool)
			s := behindBalancers(t, "127.0.0.0/8", secured, engine.WithAcceptHook(func(netip.AddrPort) (func(), bool) {
				asked <- true
				<-answer
				return nil, true
			}))
			go func() {
				<-asked
				answer <- true
			}()
			other := s.through("PROXY UNKNOWN\r\n", 100, secured)
			other.upgrade("/") // which Shutdown waits for
			silent := s.connect()
			within(t, asked)
			down := make(chan error, 1)
			go func() { down <- s.shutdown() }()
			ended, cancel := context.WithCancel(t.Context())
			cancel()
			s.until("Shutdown has begun", func() bool {
				_, err := s.Dial(ended, "ws://localhost/", nil, engine.NopHandler{})
				return errors.Is(err, engine.ErrServerClosed)
			})
			answer <- true
			silent.expectEOF()
			other.answerClose(frame.CloseGoingAway, "Server is going down")
			other.Close()
			if err := within(t, down); err != nil {
				t.Error(err)
			}
		})
	}
}
