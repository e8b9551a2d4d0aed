package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// A handler in a router of net/http's, beside pages: its connections leave net/http for the engine's loops.
func ExampleEngine_Handler() {
	e, err := engine.New(engine.WithLoops(1))
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/echo", e.Handler(engine.HandlerFunc(func(c *engine.Conn, op frame.OpCode, payload []byte) {
		c.Reply(op, payload)
	})))
	mux.Handle("/greet/{name}", e.SessionHandler(func(ctx context.Context, s *engine.Session) error {
		return s.SendText(ctx, "Hello "+s.Request().PathValue("name"))
	}))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "a page") })

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go srv.Serve(ln)

	ctx := context.Background()
	s, err := e.DialSession(ctx, "ws://"+ln.Addr().String()+"/greet/Ada", nil)
	if err != nil {
		log.Fatal(err)
	}
	m, err := s.Receive(ctx)
	fmt.Println(string(m.Payload), err)

	// First the server, so that nobody new comes, then those who are there.
	fmt.Println(srv.Shutdown(ctx), e.Shutdown(ctx))
	// Output:
	// Hello Ada <nil>
	// <nil> <nil>
}

// A handler of net/http's that decides for each request what becomes of it.
func ExampleEngine_Upgrade() {
	e, err := engine.New(engine.WithLoops(1))
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	echo := engine.HandlerFunc(func(c *engine.Conn, op frame.OpCode, payload []byte) { c.Reply(op, payload) })
	handle := func(w http.ResponseWriter, r *http.Request) {
		limit := int64(10)
		if strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
			limit = 1 << 20
		}
		c, err := e.Upgrade(w, r, echo, engine.WithMaxMessageSize(limit))
		if err != nil {
			log.Print(err) // the client has been told
			return
		}
		c.SendText(fmt.Sprintf("up to %d bytes", limit))
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(handle)}
	defer srv.Close()
	go srv.Serve(ln)

	ctx := context.Background()
	s, err := e.DialSession(ctx, "ws://"+ln.Addr().String(), nil)
	if err != nil {
		log.Fatal(err)
	}
	m, err := s.Receive(ctx)
	fmt.Println(string(m.Payload), err)
	s.SendText(ctx, "more than ten bytes")
	_, err = s.Receive(ctx)
	var closed *engine.CloseError
	fmt.Println(errors.As(err, &closed), closed.Reason.Code)
	// Output:
	// up to 10 bytes <nil>
	// true 1009 (message too big)
}
