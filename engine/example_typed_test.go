package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"zeroframe/engine"
)

// Values are sent and received by the route's codec, JSON unless WithCodec says otherwise. A message that is no such value
// is not the end of the session.
func ExampleReceiveValue() {
	type order struct {
		Item  string `json:"item"`
		Count int    `json:"count"`
	}
	type receipt struct {
		Total int    `json:"total"`
		Error string `json:"error,omitempty"`
	}
	e, err := engine.New(engine.WithLoops(1))
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	e.HandleSession("/orders", func(ctx context.Context, s *engine.Session) error {
		var answer receipt
		for {
			o, err := engine.ReceiveValue[order](ctx, s)
			var decode *engine.DecodeError
			switch {
			case errors.Is(err, engine.ErrClosed):
				return nil
			case errors.As(err, &decode):
				answer.Error = "no order: " + string(decode.Message.Payload)
			case err != nil:
				return err
			default:
				answer.Total += o.Count
				answer.Error = ""
			}
			if err := engine.SendValue(ctx, s, answer); err != nil {
				return err
			}
		}
	})

	ctx := context.Background()
	s, err := e.DialSession(ctx, serveAnywhere(e)+"/orders", nil)
	if err != nil {
		log.Fatal(err)
	}
	for _, item := range []string{"pen", "ink"} {
		engine.SendValue(ctx, s, order{item, 2})
		r, err := engine.ReceiveValue[receipt](ctx, s)
		fmt.Println(r.Total, err)
	}
	s.SendText(ctx, "hello?")
	r, err := engine.ReceiveValue[receipt](ctx, s)
	fmt.Println(r.Error, err)
	// Output:
	// 2 <nil>
	// 4 <nil>
	// no order: hello? <nil>
}
