package engine_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// treacherous is an error that panics when it is looked into.
type treacherous struct{ at string }

func (e treacherous) Error() string {
	if e.at == "Error" {
		panic("in Error")
	}
	return "treacherous"
}

func (e treacherous) Unwrap() error {
	if e.at == "Unwrap" {
		panic("in Unwrap")
	}
	return nil
}

func (e treacherous) Is(error) bool {
	if e.at == "Is" {
		panic("in Is")
	}
	return false
}

func (e treacherous) As(any) bool {
	if e.at == "As" {
		panic("in As")
	}
	return false
}

// What a handler returns is asked for its text and its kind. A typed nil, or an error whose methods panic, ends the
// session with 1011 and no other.
func TestErrorsThatPanicEndTheirSessionAlone(t *testing.T) {
	var none *net.OpError
	for name, failure := range map[string]error{
		"a typed nil": none,
		"Error":       treacherous{"Error"}, "Unwrap": treacherous{"Unwrap"}, "Is": treacherous{"Is"}, "As": treacherous{"As"},
		"a joined one": errors.Join(errHandler, none),
	} {
		t.Run(name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				s := start(engine.WithPingInterval(0), engine.WithLoops(1))
				sessions := make(chan *engine.Session, 1)
				s.session("/", func(_ context.Context, session *engine.Session) error {
					sessions <- session
					return failure
				})
				s.session("/echo", echoSession)
				other := s.open("/echo")
				c := s.open("/")
				c.answerClose(frame.CloseInternalError, "")
				r, err := within(t, sessions).CloseReason(patiently(t))
				var p *engine.PanicError
				if err != nil || r.Code != frame.CloseInternalError || !errors.As(r.Err, &p) {
					t.Errorf("reason %+v, %v, want 1011 with a PanicError", r, err)
				}
				s.until("it is logged", func() bool { return strings.Contains(s.logs.String(), "panic in a session's error") })
				other.write(frame.Text, []byte("unharmed"))
				other.expect(frame.Text, []byte("unharmed"))
			})
		})
	}
}
