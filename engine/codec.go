package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"zeroframe/frame"
)

// Codec translates values to messages and back. Its methods may be called by many goroutines at once.
type Codec interface {
	// Encode returns the message that stands for v and its type, Text or Binary. The payload is copied when it is sent.
	Encode(v any) (frame.OpCode, []byte, error)
	// Decode stores what m stands for in v, a pointer. It must not keep m.Payload.
	Decode(m Message, v any) error
}

// JSON is the Codec of encoding/json: values are Text messages. A Binary message does not decode.
var JSON Codec = jsonCodec{}

type jsonCodec struct{}

// Encode marshals v.
func (jsonCodec) Encode(v any) (frame.OpCode, []byte, error) {
	payload, err := json.Marshal(v)
	return frame.Text, payload, err
}

var errNotText = errors.New("a binary message is not JSON")

// Decode unmarshals m.
func (jsonCodec) Decode(m Message, v any) error {
	if m.OpCode != frame.Text {
		return errNotText
	}
	return json.Unmarshal(m.Payload, v)
}

// DecodeError is returned by ReceiveValue for a message that the codec could not make a value of. The session goes on.
type DecodeError struct {
	Message Message // a copy, the caller's to keep
	Err     error   // the codec's
}

// Error returns the codec's error.
func (e *DecodeError) Error() string {
	return fmt.Sprintf("engine: message does not decode: %v", e.Err)
}

// Unwrap returns Err.
func (e *DecodeError) Unwrap() error { return e.Err }

// SendValue sends v as a message, encoded by the route's codec. The error is the codec's, wrapped, or Send's.
func SendValue(ctx context.Context, s *Session, v any) error {
	op, payload, err := s.conn.route.codec.Encode(v)
	if err != nil {
		return fmt.Errorf("engine: value does not encode: %w", err)
	}
	return s.Send(ctx, op, payload)
}

// ReceiveValue receives a message and returns the value that the route's codec makes of it. A message that is none is a
// *DecodeError; other errors are Receive's. It is for the goroutine that may call Receive.
func ReceiveValue[T any](ctx context.Context, s *Session) (v T, err error) {
	m, err := s.Receive(ctx)
	if err != nil {
		return v, err
	}
	if err := s.conn.route.codec.Decode(m, &v); err != nil {
		var none T
		return none, &DecodeError{Message: m.Clone(), Err: err}
	}
	return v, nil
}
