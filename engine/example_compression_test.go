package engine_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"zeroframe/engine"
)

// Messages are compressed where both sides agree. With takeover they refer to the messages before them, which are kept
// for that: 4 KiB of those sent unless HistoryOut says otherwise.
func ExampleWithCompression() {
	e, err := engine.New(engine.WithLoops(1), engine.WithCompression(engine.Compression{TakeoverOut: true}))
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	prices := strings.Repeat(`{"symbol":"ZF","price":12.34},`, 100)
	e.HandleSession("/prices", func(ctx context.Context, s *engine.Session) error {
		for range 3 {
			if err := s.SendText(ctx, prices); err != nil {
				return err
			}
		}
		return nil
	})

	ctx := context.Background()
	s, err := e.DialSession(ctx, serveAnywhere(e)+"/prices", nil, engine.WithCompression(engine.Compression{TakeoverIn: true}))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(s.Conn().Extensions())
	for m, err := range s.Messages(ctx) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(len(m.Payload), string(m.Payload) == prices)
	}
	stats := e.Stats()
	fmt.Println(stats.Inflated, "bytes came as less than", 1000, stats.InflatedWire < 1000)
	// Output:
	// [permessage-deflate]
	// 3000 true
	// 3000 true
	// 3000 true
	// 9000 bytes came as less than 1000 true
}

// A route may go without what the engine has been given.
func ExampleWithoutCompression() {
	e, err := engine.New(engine.WithLoops(1), engine.WithCompression(engine.Compression{}))
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	e.Handle("/text", engine.NopHandler{})
	e.Handle("/images", engine.NopHandler{}, engine.WithoutCompression())

	url := serveAnywhere(e)
	for _, path := range []string{"/text", "/images"} {
		c, err := e.Dial(context.Background(), url+path, nil, engine.NopHandler{})
		fmt.Println(path, c.Extensions(), err)
	}
	// Output:
	// /text [permessage-deflate] <nil>
	// /images [] <nil>
}
