package engine_test

import (
	"context"
	"fmt"
	"log"

	"zeroframe/engine"
)

// Of the subprotocols that a client offers the server takes the one that stands first in its own list.
func ExampleSubprotocols() {
	e, err := engine.New(engine.WithLoops(1))
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	e.HandleSession("/chat", func(ctx context.Context, s *engine.Session) error {
		return s.SendText(ctx, "we speak "+s.Subprotocol())
	}, engine.RequireSubprotocol("chat.v2", "chat.v1"))

	ctx := context.Background()
	url := serveAnywhere(e) + "/chat"
	s, err := e.DialSession(ctx, url, nil, engine.Subprotocols("chat.v1", "chat.v2"))
	if err != nil {
		log.Fatal(err)
	}
	m, err := s.Receive(ctx)
	fmt.Println(string(m.Payload), err)

	_, err = e.DialSession(ctx, url, nil, engine.Subprotocols("chat.v3"))
	fmt.Println(err)
	// Output:
	// we speak chat.v2 <nil>
	// engine: handshake failed: 400: Bad Request
}
