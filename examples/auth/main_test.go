package main

import (
	"crypto/sha256"
	"errors"
	"net/http"
	"testing"

	"zeroframe/engine"
)

func TestOnlyWhoHasATokenComesIn(t *testing.T) {
	e, err := newServer(accounts{sha256.Sum256([]byte("secret")): "Ada", sha256.Sum256([]byte("other")): "Bob"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	ln, err := e.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go e.Serve(ln)
	url := "ws://" + ln.Addr().String() + "/notes"
	for _, header := range []http.Header{nil, {"Authorization": {"Bearer guess"}}, {"Authorization": {"Bearer"}}, {"Authorization": {"secret"}}} {
		var refused *engine.HandshakeError
		if _, err := e.DialSession(t.Context(), url, header); !errors.As(err, &refused) || refused.Status != http.StatusUnauthorized {
			t.Errorf("%v: %v", header, err)
		}
	}
	for token, user := range map[string]string{"secret": "Ada", "other": "Bob"} {
		s, err := e.DialSession(t.Context(), url, http.Header{"Authorization": {"Bearer " + token}})
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"note 1 of " + user, "note 2 of " + user} {
			s.SendText(t.Context(), "remember the milk")
			if m, err := s.Receive(t.Context()); err != nil || string(m.Payload) != want {
				t.Errorf("%q, %v, want %q", m.Payload, err, want)
			}
		}
	}
}
