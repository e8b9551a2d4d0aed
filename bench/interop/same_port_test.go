package interop

import (
	"net/http"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// A server of each library works in the HTTP handler of an engine, on a path without a route, and leaves the engine's own
// routes on the port alone.
func TestEveryServerWorksOnTheSamePort(t *testing.T) {
	for _, tt := range servers {
		t.Run(tt.name, func(t *testing.T) {
			ended := make(chan heard, 1)
			e, err := engine.New(engine.WithLoops(2), engine.WithHTTPHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/theirs" {
					http.NotFound(w, r)
					return
				}
				tt.serve(w, r, ended)
			})))
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Handle("/ours", engine.HandlerFunc(func(c *engine.Conn, op frame.OpCode, p []byte) { c.Reply(op, p) })); err != nil {
				t.Fatal(err)
			}
			url := "ws://" + listen(t, e, e.Serve)
			client, err := engine.New(engine.WithLoops(1))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			ctx, cancel := bounded()
			defer cancel()
			h := dialed{messages: make(chan string, 100), closed: make(chan engine.CloseReason, 2), pongs: make(chan string, 100)}
			theirs, err := client.Dial(ctx, url+"/theirs", nil, h, engine.Subprotocols("v1", "v2"))
			if err != nil {
				t.Fatal(err)
			}
			if got := within(t, h.messages); got != "text "+string(pattern(5000)) {
				t.Errorf("greeted with %.40q", got)
			}
			ours, err := client.Dial(ctx, url+"/ours", nil, h)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range []*engine.Conn{theirs, ours} {
				for _, n := range sizes {
					if err := c.Send(frame.Binary, pattern(n)); err != nil {
						t.Fatal(err)
					}
					if got := within(t, h.messages); got != "binary "+string(pattern(n)) {
						t.Fatalf("%d bytes: %d bytes %.40q", n, len(got), got)
					}
				}
			}
			if n := e.Stats(); n.HTTP != 1 || n.Conns != 2 {
				t.Errorf("%d connections, %d of them net/http's", n.Conns, n.HTTP)
			}
			if err := theirs.Close(frame.CloseNormal, "done"); err != nil {
				t.Fatal(err)
			}
			if got := within(t, ended); got != (heard{int(frame.CloseNormal), "done"}) {
				t.Errorf("the library heard %v", got)
			}
			if r := within(t, h.closed); r.Code != frame.CloseNormal || r.Err != nil {
				t.Errorf("reason %+v", r)
			}
		})
	}
}
