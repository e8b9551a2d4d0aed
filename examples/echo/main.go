// Command echo is the smallest server: it sends back what it gets.
package main

import (
	"log"

	"zeroframe/engine"
	"zeroframe/frame"
)

func main() {
	e, err := newServer()
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(e.ListenAndServe("tcp", "127.0.0.1:9001"))
}

func newServer() (*engine.Engine, error) {
	e, err := engine.New()
	if err != nil {
		return nil, err
	}
	return e, e.Handle("/echo", engine.HandlerFunc(func(c *engine.Conn, op frame.OpCode, payload []byte) {
		c.Reply(op, payload)
	}))
}
