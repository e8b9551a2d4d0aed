package main

import (
	"encoding/json"
	"errors"
	"math/big"
	"strings"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// dialSession opens a session on a route of a server.
func dialSession(t *testing.T, url string, opts ...engine.RouteOption) *engine.Session {
	t.Helper()
	s, err := client(t).DialSession(t.Context(), url, nil, opts...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask sends a message and returns the answer.
func ask(t *testing.T, s *engine.Session, op frame.OpCode, message string) string {
	t.Helper()
	if err := s.Send(t.Context(), op, []byte(message)); err != nil {
		t.Fatal(err)
	}
	return receive(t, s)
}

func receive(t *testing.T, s *engine.Session) string {
	t.Helper()
	m, err := s.Receive(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return string(m.Payload)
}

func TestJSONRouteCountsAndKeepsTheRest(t *testing.T) {
	s := dialSession(t, start(t, "serve", "--listen", "127.0.0.1:0").line("listening on ")+"json")
	for message, want := range map[string]string{
		`{"n": 41}`:                         `{"n":42}`,
		` { "n" : 9 , "m" : 1 } `:           `{"n":10,"m":1}`,
		`{"n":-1}`:                          `{"n":0}`,
		`{"n":-0}`:                          `{"n":1}`,
		`{"n":-10,"z":[],"a":{}}`:           `{"n":-9,"z":[],"a":{}}`,
		`{"n":9007199254740993}`:            `{"n":9007199254740994}`,
		`{"n":-18446744073709551617}`:       `{"n":-18446744073709551616}`,
		`{"a":1.50,"b":1E400,"n":0}`:        `{"a":1.50,"b":1E400,"n":1}`,
		`{"m":{"n":7},"n":7,"N":7}`:         `{"m":{"n":7},"n":8,"N":7}`,
		`{"n":5,"n":1}`:                     `{"n":5,"n":2}`,
		`{"n":"x","n":1}`:                   `{"n":"x","n":2}`,
		`{"<&>":"<b>&\u2028</b> \/","n":1}`: `{"<&>":"<b>&\u2028</b> \/","n":2}`,
		`{"s":"\ud800 \u00e9 é","n":1}`:     `{"s":"\ud800 \u00e9 é","n":2}`,
		`{"id":12345678901234567890,"n":` + strings.Repeat("9", 5000) + `}`: `{"id":12345678901234567890,"n":1` + strings.Repeat("0", 5000) + `}`,
	} {
		if got := ask(t, s, frame.Text, message); got != want {
			t.Errorf("%.60s is answered by %.60s, want %.60s", message, got, want)
		}
	}
}

func TestJSONRouteSaysWhatIsWrongAndGoesOn(t *testing.T) {
	s := dialSession(t, start(t, "serve", "--listen", "127.0.0.1:0").line("listening on ")+"json")
	for _, m := range []struct{ message, why string }{
		{`{"n":1.5}`, "integer"}, {`{"n":1e3}`, "integer"}, {`{"n":41.0}`, "integer"}, {`{"n":"41"}`, "integer"},
		{`{"n":null}`, "integer"}, {`{"n":{}}`, "integer"}, {`{"n":1,"n":true}`, "integer"}, {`{"N":1}`, "integer"}, {`{}`, "integer"},
		{`[41]`, "object"}, {`41`, "object"}, {`"n"`, "object"}, {`null`, "object"}, {`true`, "object"},
		{`{"n":1`, "JSON"}, {``, "JSON"}, {`{"n":01}`, ""}, {`{"n":1}{"n":1}`, ""}, {`{'n':1}`, ""},
		{strings.Repeat(`[`, 1e6), "depth"},
	} {
		expectError(t, ask(t, s, frame.Text, m.message), m.message, m.why)
	}
	expectError(t, ask(t, s, frame.Binary, `{"n":41}`), "a binary message", "binary")
	if got := ask(t, s, frame.Text, `{"n":41}`); got != `{"n":42}` {
		t.Errorf("after the errors: %s", got)
	}
	s.Close(frame.CloseNormal, "")
	if r, err := s.CloseReason(t.Context()); err != nil || r.Code != frame.CloseNormal {
		t.Errorf("%+v, %v", r, err)
	}
}

func expectError(t *testing.T, answer, message, why string) {
	t.Helper()
	var got map[string]string
	if err := json.Unmarshal([]byte(answer), &got); err != nil || len(got) != 1 || got["error"] == "" || !strings.Contains(got["error"], why) {
		t.Errorf("%.40q is answered by %.80s, want an error of %q", message, answer, why)
	}
}

func TestOneIsAddedToDecimalsOfAnyLength(t *testing.T) {
	one := big.NewInt(1)
	check := func(text string) {
		n, _ := new(big.Int).SetString(text, 10)
		if got, want := string(addOne([]byte(text))), n.Add(n, one).String(); got != want {
			t.Errorf("%s and one is %s, want %s", text, got, want)
		}
	}
	for n := int64(-1100); n <= 1100; n++ {
		check(big.NewInt(n).String())
	}
	for digits := range 50 {
		for _, text := range []string{"1" + strings.Repeat("0", digits), "9" + strings.Repeat("9", digits), "1" + strings.Repeat("9", digits)} {
			check(text)
			check("-" + text)
		}
	}
}

// The end of a session is no message that does not decode.
func TestJSONRouteEndsWithItsPeer(t *testing.T) {
	p := start(t, "serve", "--listen", "127.0.0.1:0")
	s := dialSession(t, p.line("listening on ")+"json")
	ask(t, s, frame.Text, `{"n":1}`)
	s.Close(frame.CloseGoingAway, "enough")
	if _, err := s.Receive(t.Context()); !errors.Is(err, engine.ErrClosed) {
		t.Error(err)
	}
	stop(t, p)
}
