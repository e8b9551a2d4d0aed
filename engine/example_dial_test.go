package engine_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

// Dial tries once. Whoever wants to stay connected waits between tries, longer each time, and at random, so that the
// clients of a server that was lost do not all come back at once. The program examples/reconnect does more of this.
func ExampleEngine_DialSession_again() {
	e, err := engine.New(engine.WithLoops(1))
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	var asked atomic.Int32
	busy := engine.WithOnUpgrade(func(*engine.Upgrade) error {
		if asked.Add(1) < 3 {
			return &engine.Rejection{Status: http.StatusServiceUnavailable}
		}
		return nil
	})
	e.HandleSession("/", func(ctx context.Context, s *engine.Session) error { return s.SendText(ctx, "welcome") }, busy)
	url := serveAnywhere(e)

	ctx := context.Background()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Minute) {
		s, err := e.DialSession(ctx, url, nil)
		var refused *engine.HandshakeError
		switch {
		case errors.As(err, &refused) && refused.Status < 500:
			log.Fatal(err) // no use
		case err != nil:
			fmt.Println(err)
			time.Sleep(pause/2 + rand.N(pause/2))
			continue
		}
		m, _ := s.Receive(ctx)
		fmt.Printf("%s\n", m.Payload)
		break
	}
	// Output:
	// engine: handshake failed: 503: Service Unavailable
	// engine: handshake failed: 503: Service Unavailable
	// welcome
}

// A client that trusts a certificate of its own choice, for all connections of its engine.
func ExampleWithClientTLS() {
	hs := httptest.NewTLSServer(nil) // for its certificate
	hs.Close()
	server, err := engine.New(engine.WithLoops(1), engine.WithTLSConfig(&tls.Config{Certificates: hs.TLS.Certificates}))
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()
	server.Handle("/echo", engine.HandlerFunc(func(c *engine.Conn, op frame.OpCode, payload []byte) { c.Reply(op, payload) }))
	ln, err := server.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	go server.ServeTLS(ln, "", "")

	trust := hs.Client().Transport.(*http.Transport).TLSClientConfig // its roots are that certificate
	client, err := engine.New(engine.WithLoops(1), engine.WithClientTLS(trust))
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	ctx := context.Background()
	s, err := client.DialSession(ctx, "wss://"+ln.Addr().String()+"/echo", nil)
	if err != nil {
		log.Fatal(err)
	}
	s.SendText(ctx, "hello")
	m, err := s.Receive(ctx)
	fmt.Printf("%s %v\n", m.Payload, err)
	// Output: hello <nil>
}
