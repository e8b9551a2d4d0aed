package main

import (
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

func TestEachConnectionHasATotalOfItsOwn(t *testing.T) {
	e, err := newServer()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	ln, err := e.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go e.Serve(ln)
	for range 2 {
		s, err := e.DialSession(t.Context(), "ws://"+ln.Addr().String()+"/total", nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []response{
			{ID: 1, Total: 40},
			{ID: 2, Total: 42},
			{ID: 3, Total: 42, Error: `no method "divide"`},
			{Total: 42, Error: "invalid character 'w' looking for beginning of value"},
			{ID: 5, Total: 0},
			{ID: 6, Total: -1},
		} {
			if err := s.SendText(t.Context(), []string{
				`{"id": 1, "method": "add", "value": 40}`,
				`{"id": 2, "method": "add", "value": 2}`,
				`{"id": 3, "method": "divide"}`,
				`what?`,
				`{"id": 5, "method": "reset"}`,
				`{"id": 6, "method": "add", "value": -1}`,
			}[i]); err != nil {
				t.Fatal(err)
			}
			if got, err := engine.ReceiveValue[response](t.Context(), s); err != nil || got != want {
				t.Errorf("%+v, %v, want %+v", got, err, want)
			}
		}
		s.Close(frame.CloseNormal, "")
		<-s.Context().Done()
		if r, err := s.CloseReason(t.Context()); err != nil || r.Code != frame.CloseNormal || r.Err != nil {
			t.Errorf("%+v, %v", r, err)
		}
	}
}
