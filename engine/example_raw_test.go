package engine_test

import (
	"context"
	"fmt"
	"log"

	"zeroframe/engine"
	"zeroframe/frame"
)

// tracer prints every frame and answers what must be answered.
type tracer struct{}

func (tracer) OnOpen(*engine.Conn)                      {}
func (tracer) OnClose(*engine.Conn, engine.CloseReason) {}

func (tracer) OnFrame(c *engine.Conn, f engine.Frame) {
	fmt.Printf("%v fin=%v %q\n", f.OpCode, f.Fin, f.Payload)
	switch f.OpCode {
	case frame.Ping:
		f.OpCode = frame.Pong
		c.ReplyFrame(f)
	case frame.Close:
		c.ReplyFrame(f)
	}
}

// A raw route sees frames, not messages: fragments one by one, and control frames, which it answers itself.
func ExampleEngine_HandleRaw() {
	e, err := engine.New(engine.WithLoops(1))
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	e.HandleRaw("/trace", tracer{})

	ctx := context.Background()
	s, err := e.DialSession(ctx, serveAnywhere(e)+"/trace", nil)
	if err != nil {
		log.Fatal(err)
	}
	c := s.Conn()
	c.SendFragment(frame.Text, []byte("in two "), false)
	c.Ping([]byte("between"))
	c.SendFragment(frame.Text, []byte("parts"), true)
	s.Close(frame.CloseNormal, "")
	<-s.Context().Done() // until the close frame is answered
	// Output:
	// text fin=false "in two "
	// ping fin=true "between"
	// continuation fin=true "parts"
	// close fin=true "\x03\xe8"
}
