// Package engine is a WebSocket server and client (RFC 6455) on event loops. It is embedded: make an Engine, name routes
// and handlers, and serve a listener.
//
//	e, err := engine.New(engine.WithPingInterval(20 * time.Second))
//	e.Handle("/echo", engine.HandlerFunc(func(c *engine.Conn, op frame.OpCode, payload []byte) {
//		c.Reply(op, payload)
//	}))
//	err = e.ListenAndServe("tcp", ":9001")
//
// A connection belongs to one loop, a goroutine that serves many connections. Handlers run on it and must not block:
// what takes time goes to a goroutine of the user's own, which answers with Conn.Send, or comes back to the loop with
// Conn.Post. Payloads handed to a handler are valid until it returns.
//
// Where waiting reads better, HandleSession gives each connection a goroutine: Session.Receive and Session.Send block,
// and NextReader and NextWriter let messages through that are larger than memory. HandleRaw hands over frames as they
// come. WithCompression agrees to permessage-deflate (RFC 7692), WithExtensions to a user's own.
//
// ListenAndServeTLS serves over TLS, and WithHTTPHandler plain HTTP on the same port. Engine.Handler mounts a handler in any
// router of net/http's instead, whose server accepts and reads the request. Dial and DialSession open connections as a
// client. Connections subscribe to topics, which Publish sends a message to; a Backplane carries it to other engines.
//
// state.go holds the state machine of a connection, flags.go what else it remembers, with the rules of that, receive.go
// what is done with a frame, send.go how one leaves, timers.go the deadlines, and upgrade.go the opening handshake. What
// stands on these is named for it: session*.go, raw.go, compression*.go, extension*.go, topic.go and publish.go.
// Connections come from serve.go and tls.go, http*.go, nethttp*.go and dial*.go; takeover.go gives those to a loop that
// were opened elsewhere.
package engine
