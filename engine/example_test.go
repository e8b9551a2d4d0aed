package engine_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"strings"

	"zeroframe/engine"
	"zeroframe/frame"
)

// An engine serves a route on a listener of its own; a client of the same package talks to it.
func Example() {
	e, err := engine.New(engine.WithLoops(1))
	if err != nil {
		log.Fatal(err)
	}
	e.Handle("/upper", engine.HandlerFunc(func(c *engine.Conn, op frame.OpCode, payload []byte) {
		c.SendText(strings.ToUpper(string(payload)))
	}))
	ln, err := e.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- e.Serve(ln) }()

	answers := make(chan string)
	receive := engine.HandlerFunc(func(c *engine.Conn, op frame.OpCode, payload []byte) {
		answers <- string(payload) // a copy: payload is the engine's again when this returns
	})
	c, err := e.Dial(context.Background(), "ws://"+ln.Addr().String()+"/upper", nil, receive)
	if err != nil {
		log.Fatal(err)
	}
	c.SendText("hello")
	fmt.Println(<-answers)

	e.Shutdown(context.Background())
	fmt.Println(<-served)
	// Output:
	// HELLO
	// engine: server closed
}

// rooms greets by the path, and refuses who has no token.
type rooms struct{ engine.NopHandler }

func (rooms) OnUpgrade(u *engine.Upgrade) error {
	if u.Request.Header.Get("Authorization") == "" {
		return &engine.Rejection{Status: http.StatusUnauthorized, Reason: "a token is needed"}
	}
	u.UserData = u.Request.PathValue("room")
	return nil
}

func (rooms) OnOpen(c *engine.Conn) { c.SendText("welcome to " + c.UserData().(string)) }

// A handler may look at the request before the connection opens.
func ExampleUpgrader() {
	e, err := engine.New(engine.WithLoops(1))
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	e.Handle("/rooms/{room}", rooms{})

	url := serveAnywhere(e) + "/rooms/blue"
	_, err = e.Dial(context.Background(), url, nil, engine.NopHandler{})
	fmt.Println(err)

	answers := make(chan string)
	receive := engine.HandlerFunc(func(c *engine.Conn, op frame.OpCode, payload []byte) { answers <- string(payload) })
	_, err = e.Dial(context.Background(), url, http.Header{"Authorization": {"Bearer x"}}, receive)
	fmt.Println(<-answers, err)
	// Output:
	// engine: handshake failed: 401: Unauthorized
	// welcome to blue <nil>
}

// serveAnywhere lets e serve on a port that is free, until it is closed, and returns the URL to dial, without a path.
func serveAnywhere(e *engine.Engine) string {
	ln, err := e.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go e.Serve(ln)
	return "ws://" + ln.Addr().String()
}
