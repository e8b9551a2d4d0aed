package engine_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"strings"

	"zeroframe/engine"
	"zeroframe/frame"
)

// A session has a goroutine of its own: what it keeps between two messages are its variables.
func ExampleEngine_HandleSession() {
	e, err := engine.New(engine.WithLoops(1))
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	e.HandleSession("/greet/{name}", func(ctx context.Context, s *engine.Session) error {
		if err := s.SendText(ctx, "Hello "+s.Request().PathValue("name")); err != nil {
			return err
		}
		words := 0
		for m, err := range s.Messages(ctx) {
			if err != nil {
				return err // closes with 1011
			}
			if string(m.Payload) == "bye" {
				return s.Close(frame.CloseNormal, fmt.Sprintf("after %d words", words))
			}
			words += len(strings.Fields(string(m.Payload)))
		}
		return nil
	})

	ctx := context.Background()
	s, err := e.DialSession(ctx, serveAnywhere(e)+"/greet/Ada", nil)
	if err != nil {
		log.Fatal(err)
	}
	greeting, err := s.Receive(ctx)
	fmt.Println(string(greeting.Payload), err)
	s.SendText(ctx, "one two three")
	s.SendText(ctx, "bye")
	reason, err := s.CloseReason(ctx)
	fmt.Println(reason.Code, reason.Text, err)
	// Output:
	// Hello Ada <nil>
	// 1000 (normal closure) after 3 words <nil>
}

// Messages that need not fit into memory are read and written piece by piece.
func ExampleSession_NextReader() {
	e, err := engine.New(engine.WithLoops(1))
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	e.HandleSession("/count", func(ctx context.Context, s *engine.Session) error {
		_, r, err := s.NextReader(ctx)
		if err != nil {
			return err
		}
		n, err := io.Copy(io.Discard, r)
		if err != nil {
			return err
		}
		return s.SendText(ctx, fmt.Sprint(n, " bytes"))
	}, engine.WithMaxMessageSize(1<<40))

	ctx := context.Background()
	s, err := e.DialSession(ctx, serveAnywhere(e)+"/count", nil)
	if err != nil {
		log.Fatal(err)
	}
	w, err := s.NextWriter(ctx, frame.Binary)
	if err != nil {
		log.Fatal(err)
	}
	for range 40 {
		w.Write(make([]byte, 1<<20))
	}
	w.Close()
	m, err := s.Receive(ctx)
	fmt.Println(string(m.Payload), err)
	// Output: 41943040 bytes <nil>
}
