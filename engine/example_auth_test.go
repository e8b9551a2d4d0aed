package engine_test

import (
	"context"
	"fmt"
	"log"
	"net/http"

	"zeroframe/engine"
)

// users are who may come in, by token.
var users = map[string]string{"Bearer 4711": "Ada"}

// userKey finds the user in a session's context.
type userKey struct{}

// authenticate refuses who has no token, and hands the user's name on.
func authenticate(u *engine.Upgrade) error {
	user, ok := users[u.Request.Header.Get("Authorization")]
	if !ok {
		return &engine.Rejection{
			Status: http.StatusUnauthorized,
			Reason: "a token is needed",
			Header: http.Header{"WWW-Authenticate": {"Bearer"}},
		}
	}
	u.Request = u.Request.WithContext(context.WithValue(u.Request.Context(), userKey{}, user))
	return nil
}

// What OnUpgrade puts into the request's context is in the session's.
func ExampleWithOnUpgrade() {
	e, err := engine.New(engine.WithLoops(1))
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	e.HandleSession("/whoami", func(ctx context.Context, s *engine.Session) error {
		return s.SendText(ctx, "you are "+ctx.Value(userKey{}).(string))
	}, engine.WithOnUpgrade(authenticate))

	ctx := context.Background()
	url := serveAnywhere(e) + "/whoami"
	_, err = e.DialSession(ctx, url, nil)
	fmt.Println(err)

	s, err := e.DialSession(ctx, url, http.Header{"Authorization": {"Bearer 4711"}})
	if err != nil {
		log.Fatal(err)
	}
	m, err := s.Receive(ctx)
	fmt.Println(string(m.Payload), err)
	// Output:
	// engine: handshake failed: 401: Unauthorized
	// you are Ada <nil>
}
