// Command session answers requests, one after the other, on a connection that remembers: each has a total of its own.
//
//	{"id": 1, "method": "add", "value": 40}    {"id": 1, "total": 40}
//	{"id": 2, "method": "add", "value": 2}     {"id": 2, "total": 42}
//	{"id": 3, "method": "divide"}              {"id": 3, "total": 42, "error": "no method \"divide\""}
package main

import (
	"context"
	"errors"
	"fmt"
	"log"

	"zeroframe/engine"
)

type request struct {
	ID     int64  `json:"id"`
	Method string `json:"method"`
	Value  int64  `json:"value"`
}

type response struct {
	ID    int64  `json:"id"`
	Total int64  `json:"total"`
	Error string `json:"error,omitempty"`
}

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
	return e, e.HandleSession("/total", keepTotal)
}

// keepTotal serves one connection, on a goroutine of its own: what it keeps needs no lock.
func keepTotal(ctx context.Context, s *engine.Session) error {
	var total int64
	for {
		answer, err := receive(ctx, s, &total)
		if errors.Is(err, engine.ErrClosed) { // the client has gone
			return nil
		}
		if err != nil {
			return err
		}
		if err := engine.SendValue(ctx, s, answer); err != nil {
			return err
		}
	}
}

// receive waits for a request and returns its answer. One that is none is answered too.
func receive(ctx context.Context, s *engine.Session, total *int64) (response, error) {
	q, err := engine.ReceiveValue[request](ctx, s)
	var decode *engine.DecodeError
	switch {
	case errors.As(err, &decode):
		return response{Total: *total, Error: decode.Err.Error()}, nil
	case err != nil:
		return response{}, err
	}
	answer := response{ID: q.ID}
	switch q.Method {
	case "add":
		*total += q.Value
	case "reset":
		*total = 0
	default:
		answer.Error = fmt.Sprintf("no method %q", q.Method)
	}
	answer.Total = *total
	return answer, nil
}
