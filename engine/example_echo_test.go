package engine_test

import (
	"context"
	"fmt"
	"log"

	"zeroframe/engine"
	"zeroframe/frame"
)

// An echo: the answer leaves from the buffer that the message was read into.
func ExampleConn_Reply() {
	e, err := engine.New(engine.WithLoops(1))
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	e.Handle("/echo", engine.HandlerFunc(func(c *engine.Conn, op frame.OpCode, payload []byte) {
		c.Reply(op, payload)
	}))

	ctx := context.Background()
	s, err := e.DialSession(ctx, serveAnywhere(e)+"/echo", nil)
	if err != nil {
		log.Fatal(err)
	}
	s.SendText(ctx, "hello")
	m, err := s.Receive(ctx)
	fmt.Println(m.OpCode, string(m.Payload), err)
	// Output: text hello <nil>
}
