package main

import (
	"testing"

	"zeroframe/frame"
)

func TestItSendsBackWhatItGets(t *testing.T) {
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
	s, err := e.DialSession(t.Context(), "ws://"+ln.Addr().String()+"/echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, op := range []frame.OpCode{frame.Text, frame.Binary} {
		if err := s.Send(t.Context(), op, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		if m, err := s.Receive(t.Context()); err != nil || m.OpCode != op || string(m.Payload) != "hello" {
			t.Errorf("%v %q, %v", m.OpCode, m.Payload, err)
		}
	}
}
