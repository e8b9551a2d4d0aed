package interop

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	chimiddleware "github.com/go-chi/chi/v5/middleware"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	"github.com/gorilla/websocket"
	labstack "github.com/labstack/echo/v4"
	echomiddleware "github.com/labstack/echo/v4/middleware"

	"zeroframe/engine"
	"zeroframe/frame"
)

// routers mount callback at /ws/{room} and session at /session/{room}, for GET and, for HTTP/2, CONNECT, as their
// documentation has handlers of net/http's mounted, behind middleware that logs to out and recovers.
var routers = map[string]func(out io.Writer, callback, session http.Handler) http.Handler{
	"ServeMux": func(out io.Writer, callback, session http.Handler) http.Handler {
		mux := http.NewServeMux()
		for _, method := range []string{"GET", "CONNECT"} {
			mux.Handle(method+" /ws/{room}", callback)
			mux.Handle(method+" /session/{room}", session)
		}
		mux.HandleFunc("GET /plain", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "plain") })
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			counting := &countingWriter{ResponseWriter: w}
			defer func() {
				if v := recover(); v != nil {
					http.Error(counting, "recovered", http.StatusInternalServerError)
				}
				fmt.Fprintln(out, r.Method, r.URL.Path, counting.status)
			}()
			mux.ServeHTTP(counting, r)
		})
	},
	"chi": func(out io.Writer, callback, session http.Handler) http.Handler {
		r := chi.NewRouter()
		logger := chimiddleware.RequestLogger(&chimiddleware.DefaultLogFormatter{Logger: log.New(out, "", 0), NoColor: true})
		r.Use(chimiddleware.RequestID, logger, chimiddleware.Recoverer, chimiddleware.Compress(5), chimiddleware.Timeout(patience))
		r.Handle("/ws/{room}", callback)
		r.Route("/session", func(r chi.Router) {
			r.Get("/{room}", session.ServeHTTP)
			r.Connect("/{room}", session.ServeHTTP)
		})
		r.Get("/plain", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "plain") })
		return r
	},
	"gin": func(out io.Writer, callback, session http.Handler) http.Handler {
		gin.SetMode(gin.ReleaseMode)
		r := gin.New()
		r.Use(gin.LoggerWithWriter(out), gin.RecoveryWithWriter(io.Discard))
		room := func(h http.Handler) gin.HandlerFunc {
			return func(c *gin.Context) {
				c.Request.SetPathValue("room", c.Param("room"))
				h.ServeHTTP(c.Writer, c.Request)
			}
		}
		r.Any("/ws/:room", room(callback))
		r.GET("/session/:room", func(c *gin.Context) { c.Request.SetPathValue("room", c.Param("room")) }, gin.WrapH(session))
		r.Handle(http.MethodConnect, "/session/:room", room(session))
		r.GET("/plain", func(c *gin.Context) { c.String(200, "plain") })
		return r
	},
	"echo": func(out io.Writer, callback, session http.Handler) http.Handler {
		e := labstack.New()
		e.Logger.SetOutput(io.Discard)
		e.Use(echomiddleware.RequestID(), echomiddleware.RequestLoggerWithConfig(echomiddleware.RequestLoggerConfig{
			LogMethod: true, LogURI: true, LogStatus: true,
			LogValuesFunc: func(_ labstack.Context, v echomiddleware.RequestLoggerValues) error {
				_, err := fmt.Fprintln(out, v.Method, v.URI, v.Status)
				return err
			},
		}), echomiddleware.Recover())
		room := func(next labstack.HandlerFunc) labstack.HandlerFunc {
			return func(c labstack.Context) error {
				c.Request().SetPathValue("room", c.Param("room"))
				return next(c)
			}
		}
		e.Any("/ws/:room", labstack.WrapHandler(callback), room)
		e.Any("/session/:room", labstack.WrapHandler(session), room)
		e.GET("/plain", func(c labstack.Context) error { return c.String(200, "plain") })
		return e
	},
}

// countingWriter is what logging middleware puts around a ResponseWriter.
type countingWriter struct {
	http.ResponseWriter
	status int
}

func (w *countingWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}
func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// inRoom is a handler that says the room's name before each echo. Nobody may enter the room "nobody", and who enters the
// room "panic" finds a handler that does.
type inRoom struct {
	engine.NopHandler
	closed chan engine.CloseReason
}

func (inRoom) OnUpgrade(u *engine.Upgrade) error {
	room := u.Request.PathValue("room")
	switch room {
	case "nobody":
		return &engine.Rejection{Status: http.StatusForbidden, Reason: "not you"}
	case "panic":
		panic("in OnUpgrade")
	}
	u.UserData = room
	return nil
}

func (inRoom) OnMessage(c *engine.Conn, op frame.OpCode, payload []byte) {
	c.Send(op, append([]byte(c.UserData().(string)+": "), payload...))
}

func (h inRoom) OnClose(_ *engine.Conn, r engine.CloseReason) { h.closed <- r }

// talk is inRoom as a session, which asks for the room when the request's handler has long returned.
func talk(ctx context.Context, s *engine.Session) error {
	for m, err := range s.Messages(ctx) {
		if err != nil {
			return err
		}
		if err := s.Send(ctx, m.OpCode, append([]byte(s.Request().PathValue("room")+": "), m.Payload...)); err != nil {
			return err
		}
	}
	return nil
}

// lines is an io.Writer that may be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// routed is an engine whose handlers stand in a router.
type routed struct {
	http.Handler
	engine *engine.Engine
	room   inRoom
	log    *lines
}

func inRouter(t *testing.T, mount func(out io.Writer, callback, session http.Handler) http.Handler) *routed {
	t.Helper()
	e, err := engine.New(engine.WithLoops(2), engine.WithPingInterval(0))
	if err != nil {
		t.Fatal(err)
	}
	r := &routed{engine: e, room: inRoom{closed: make(chan engine.CloseReason, 100)}, log: new(lines)}
	r.Handler = mount(r.log, e.Handler(r.room), e.SessionHandler(talk))
	return r
}

func TestAWebSocketInEveryRouter(t *testing.T) {
	for name, mount := range routers {
		t.Run(name, func(t *testing.T) {
			r := inRouter(t, mount)
			complaints := new(lines)
			s := httptest.NewUnstartedServer(r)
			s.Config.ErrorLog = slog.NewLogLogger(slog.NewTextHandler(complaints, nil), slog.LevelError)
			s.Start()
			defer s.Close()
			defer r.engine.Close()
			url := "ws" + strings.TrimPrefix(s.URL, "http")
			get := func(path string, header ...string) (int, string) {
				t.Helper()
				req, _ := http.NewRequest(http.MethodGet, s.URL+path, nil)
				for i := 0; i < len(header); i += 2 {
					req.Header.Set(header[i], header[i+1])
				}
				resp, err := s.Client().Do(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				b, err := io.ReadAll(resp.Body)
				if err != nil || resp.Close {
					t.Errorf("%s: %v, close %v", path, err, resp.Close)
				}
				return resp.StatusCode, string(b)
			}
			for _, path := range []string{"/ws/", "/session/"} {
				var clients []*websocket.Conn
				for i := range 10 {
					c, _, err := websocket.DefaultDialer.Dial(url+path+fmt.Sprint("room-", i), nil)
					if err != nil {
						t.Fatal(err)
					}
					defer c.Close()
					c.SetReadDeadline(time.Now().Add(patience))
					clients = append(clients, c)
				}
				for range 20 { // routers use again what they keep for a request
					if status, body := get("/plain"); status != 200 || body != "plain" {
						t.Fatalf("%d %q", status, body)
					}
				}
				for i, c := range clients {
					for _, n := range []int{0, 1, 126, 70_000} {
						if err := c.WriteMessage(websocket.BinaryMessage, pattern(n)); err != nil {
							t.Fatal(err)
						}
						want := slices.Concat(fmt.Appendf(nil, "room-%d: ", i), pattern(n))
						if _, got, err := c.ReadMessage(); err != nil || !bytes.Equal(got, want) {
							t.Fatalf("%s: got %.30q, %v; want %.30q", path, got, err, want)
						}
					}
				}
				c := clients[0]
				c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(4000, "bye"), time.Time{})
				if _, _, err := c.ReadMessage(); !websocket.IsCloseError(err, 4000) {
					t.Errorf("%s: %v", path, err)
				}
			}
			if reason := within(t, r.room.closed); reason.Code != 4000 {
				t.Errorf("%+v", reason)
			}
			upgrade := []string{"Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13",
				"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="}
			for _, row := range []struct {
				path   string
				header []string
				status int
			}{
				{"/ws/blue", nil, 426}, {"/session/blue", upgrade[4:], 426}, {"/ws/blue", upgrade[:6], 400}, {"/ws/nobody", upgrade, 403},
				{"/ws/blue", append(upgrade, "Origin", "http://evil.test"), 403}, {"/ws/panic", upgrade, 500}, {"/plain", nil, 200},
			} {
				if status, body := get(row.path, row.header...); status != row.status {
					t.Errorf("%s %q: %d %q, want %d", row.path, row.header, status, body, row.status)
				}
			}
			for _, want := range []string{"/ws/room-9", "/session/room-9", "403", "426"} {
				if !strings.Contains(r.log.String(), want) {
					t.Errorf("%s is not in the log", want)
				}
			}
			if got := complaints.String(); got != "" {
				t.Errorf("net/http complains: %s", got)
			}
		})
	}
}

func TestAWebSocketOverHTTP2InEveryRouter(t *testing.T) {
	extendedConnect(t, func(t *testing.T) {
		for name, mount := range routers {
			r := inRouter(t, mount)
			s := startHTTP2(t, true, r)
			s.engine = r.engine
			for _, path := range []string{"/ws/blue", "/session/blue"} {
				c, resp := s.open(t, path, "Accept-Encoding", "gzip")
				if resp.StatusCode != 200 || resp.Header.Get("Content-Encoding") != "" {
					t.Fatalf("%s: %d %v", name, resp.StatusCode, resp.Header)
				}
				for _, n := range []int{1, 126, 70_000} {
					sent := make(chan error, 1)
					go func() { sent <- wsutil.WriteClientMessage(c, ws.OpText, pattern(n)) }()
					got, _, err := wsutil.ReadServerData(c)
					if err != nil || !bytes.Equal(got, slices.Concat([]byte("blue: "), pattern(n))) || within(t, sent) != nil {
						t.Fatalf("%s: %.30q, %v", name, got, err)
					}
				}
				wsutil.WriteClientMessage(c, ws.OpClose, ws.NewCloseFrameBody(1000, ""))
				c.expectClose(t, 1000)
			}
			if _, resp := s.open(t, "/ws/nobody"); resp.StatusCode != 403 {
				t.Errorf("%s: %d", name, resp.StatusCode)
			}
			eventually(t, "the middleware has seen the end", func() bool { return strings.Contains(r.log.String(), "/session/blue") })
		}
	})
}
