package engine_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"

	"zeroframe/engine"
)

// A page and the WebSocket it opens, on one port.
func ExampleWithHTTPHandler() {
	pages := http.NewServeMux()
	pages.HandleFunc("GET /hello/{name}", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "hello", r.PathValue("name"))
	})
	e, err := engine.New(engine.WithLoops(1), engine.WithHTTPHandler(pages))
	if err != nil {
		log.Fatal(err)
	}
	defer e.Close()
	e.HandleSession("/ws", func(ctx context.Context, s *engine.Session) error {
		return s.SendText(ctx, "hello socket")
	})
	url := serveAnywhere(e)

	r, err := http.Get(strings.Replace(url, "ws:", "http:", 1) + "/hello/page")
	if err != nil {
		log.Fatal(err)
	}
	body, _ := io.ReadAll(r.Body)
	r.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	fmt.Print(string(body))

	ctx := context.Background()
	s, err := e.DialSession(ctx, url+"/ws", nil)
	if err != nil {
		log.Fatal(err)
	}
	m, err := s.Receive(ctx)
	fmt.Println(string(m.Payload), err)
	// Output:
	// hello page
	// hello socket <nil>
}
