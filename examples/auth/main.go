// Command auth lets in who has the token, and knows them afterwards.
//
//	TOKEN=secret go run ./examples/auth
package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"

	"zeroframe/engine"
)

func main() {
	token := os.Getenv("TOKEN")
	if token == "" {
		log.Fatal("set TOKEN to the token of the only user")
	}
	e, err := newServer(accounts{sha256.Sum256([]byte(token)): os.Getenv("USER")})
	if err != nil {
		log.Fatal(err)
	}
	log.Fatal(e.ListenAndServe("tcp", "127.0.0.1:9001"))
}

func newServer(a accounts) (*engine.Engine, error) {
	e, err := engine.New()
	if err != nil {
		return nil, err
	}
	return e, e.HandleSession("/notes", keepNotes, engine.WithOnUpgrade(a.authenticate))
}

// accounts are users by the hash of their token: what a lookup's time tells of a hash helps nobody to guess a token.
type accounts map[[sha256.Size]byte]string

// userKey finds the user's name in a session's context.
type userKey struct{}

// authenticate is asked before the connection opens: who has no token gets an HTTP answer and no WebSocket. It runs on a
// loop, so it must not ask a database; what must wait is better done first thing in the session.
func (a accounts) authenticate(u *engine.Upgrade) error {
	token, bearer := strings.CutPrefix(u.Request.Header.Get("Authorization"), "Bearer ")
	user, known := a[sha256.Sum256([]byte(token))]
	if !bearer || !known {
		return &engine.Rejection{
			Status: http.StatusUnauthorized,
			Reason: "a token is needed",
			Header: http.Header{"WWW-Authenticate": {"Bearer"}},
		}
	}
	u.Request = u.Request.WithContext(context.WithValue(u.Request.Context(), userKey{}, user))
	return nil
}

// keepNotes numbers the user's messages.
func keepNotes(ctx context.Context, s *engine.Session) error {
	user := ctx.Value(userKey{}).(string)
	notes := 0
	for _, err := range s.Messages(ctx) {
		if err != nil {
			return err
		}
		notes++
		if err := s.SendText(ctx, fmt.Sprintf("note %d of %s", notes, user)); err != nil {
			return err
		}
	}
	return nil
}
