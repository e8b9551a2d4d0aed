package engine_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

const tenDays = 240 * time.Hour

// mostQueued is how many bytes WithSessionQueue takes, as far as an int can say so; one more is negative where it can not.
var mostQueued = min(1<<40, math.MaxInt)

// optionBounds are values of every option that has bounds: the last ones inside, the first ones outside.
var optionBounds = []struct {
	name    string
	inside  []engine.Option
	outside []engine.Option
}{
	{"WithLoops", opts(engine.WithLoops, 1, 8), opts(engine.WithLoops, 0, -1, 4097, math.MaxInt)},
	{"WithReadBuffer", opts(engine.WithReadBuffer, 512, 16<<20), opts(engine.WithReadBuffer, 511, 0, -1, 16<<20+1)},
	{"WithIdleBuffers", opts(engine.WithIdleBuffers, 0, 1<<30), opts(engine.WithIdleBuffers, -1, 1<<30+1)},
	{"WithAssemblyBudget", opts(engine.WithAssemblyBudget, 0, 1<<30), opts(engine.WithAssemblyBudget, -1, 1<<30+1)},
	{"WithMaxHead", opts(engine.WithMaxHead, 256, 1<<20), opts(engine.WithMaxHead, 255, 0, -1, 1<<20+1)},
	{"WithHandshakeTimeout", opts(engine.WithHandshakeTimeout, time.Millisecond, tenDays), opts(engine.WithHandshakeTimeout, 0, -1, time.Millisecond-1, tenDays+1)},
	{"WithMaxConns", opts(engine.WithMaxConns, 0, 1, 1<<30), opts(engine.WithMaxConns, -1, 1<<30+1)},
	{"WithKeepAlive", opts(engine.WithKeepAlive, 0, 1, tenDays), opts(engine.WithKeepAlive, -1, tenDays+1)},
	{"WithTCPUserTimeout", opts(engine.WithTCPUserTimeout, 0, 1, tenDays), opts(engine.WithTCPUserTimeout, -1, tenDays+1)},
	{"WithHTTPHandler", opts(engine.WithHTTPHandler, http.NotFoundHandler()), opts(engine.WithHTTPHandler, http.Handler(nil))},
	{"WithHTTPServer", nil, opts(engine.WithHTTPServer, nil, func(*http.Server) {})}, // without a handler
	{"WithLogger", nil, opts(engine.WithLogger, (*slog.Logger)(nil))},
	{"WithMaxFrameSize", settings(engine.WithMaxFrameSize, 125, 1<<40), settings(engine.WithMaxFrameSize, 124, 0, -1, 1<<40+1)},
	{"WithMaxMessageSize", settings(engine.WithMaxMessageSize, 1, 1<<40), settings(engine.WithMaxMessageSize, 0, -1, 1<<40+1)},
	{"WithMaxBackpressure", settings(engine.WithMaxBackpressure, 1, 1<<30), settings(engine.WithMaxBackpressure, 0, -1)},
	{"WithBackpressurePolicy", settings(engine.WithBackpressurePolicy, engine.PolicyRefuse, engine.PolicyDrop, engine.PolicyClose), settings(engine.WithBackpressurePolicy, 3, 255)},
	{"WithPingInterval", settings(engine.WithPingInterval, -1, 0, time.Millisecond, tenDays), settings(engine.WithPingInterval, 1, time.Millisecond-1, tenDays+1)},
	{"WithPingTimeout", settings(engine.WithPingTimeout, time.Millisecond, tenDays), settings(engine.WithPingTimeout, 0, -1, time.Millisecond-1, tenDays+1)},
	{"WithPingPolicy", settings(engine.WithPingPolicy, engine.PingStrict, engine.PingAnyTraffic), settings(engine.WithPingPolicy, 2, 255)},
	{"WithIdleTimeout", settings(engine.WithIdleTimeout, 0, 1, tenDays), settings(engine.WithIdleTimeout, -1, tenDays+1)},
	{"WithLifetime", settings(engine.WithLifetime, 0, 1, tenDays), settings(engine.WithLifetime, -1, tenDays+1)},
	{"WithCloseTimeout", settings(engine.WithCloseTimeout, time.Millisecond, tenDays), settings(engine.WithCloseTimeout, 0, -1, time.Millisecond-1, tenDays+1)},
	{"WithWriteTimeout", settings(engine.WithWriteTimeout, 0, 1, tenDays), settings(engine.WithWriteTimeout, -1, tenDays+1)},
	{"WithSessionQueue", []engine.Option{engine.WithSessionQueue(1, 1), engine.WithSessionQueue(1e6, mostQueued)},
		[]engine.Option{engine.WithSessionQueue(0, 1), engine.WithSessionQueue(-1, 1), engine.WithSessionQueue(1e6+1, 1), engine.WithSessionQueue(1, 0),
			engine.WithSessionQueue(1, -1), engine.WithSessionQueue(1, mostQueued+1)}},
	{"WithOverflow", []engine.Option{engine.WithOverflow(engine.OverflowSuspend, engine.OverflowClose), engine.WithOverflow(engine.OverflowClose, engine.OverflowSuspend)},
		[]engine.Option{engine.WithOverflow(2, engine.OverflowSuspend), engine.WithOverflow(engine.OverflowSuspend, 2), engine.WithOverflow(255, 255)}},
	{"WithCodec", settings(engine.WithCodec, engine.JSON, engine.Codec(tagged('x'))), settings(engine.WithCodec, engine.Codec(nil))},
	{"WithOnUpgrade", settings(engine.WithOnUpgrade, nil, func(*engine.Upgrade) error { return nil }), nil},
	{"WithOnPing", settings(engine.WithOnPing, nil, func(*engine.Conn, []byte) {}), nil},
	{"WithOnPong", settings(engine.WithOnPong, nil, func(*engine.Conn, []byte) {}), nil},
	{"WithClientTLS", settings(engine.WithClientTLS, nil, new(tls.Config)), nil},
	{"WithProxy", settings(engine.WithProxy, nil, http.ProxyFromEnvironment), nil},
	{"WithDialContext", settings(engine.WithDialContext, nil, new(net.Dialer).DialContext), nil},
	{"WithAllowedOrigins", []engine.Option{engine.WithAllowedOrigins(), engine.WithAllowedOrigins("https://a", "http://*.b:1")},
		[]engine.Option{engine.WithAllowedOrigins("a"), engine.WithAllowedOrigins("https://a", ""), engine.WithAllowedOrigins("*"), engine.WithAllowedOrigins("https://"),
			engine.WithAllowedOrigins("https://*"), engine.WithAllowedOrigins("https://*."), engine.WithAllowedOrigins("https://a.*.b"), engine.WithAllowedOrigins("https://a/"), engine.WithAllowedOrigins("://a")}},
	{"Subprotocols", []engine.Option{engine.Subprotocols(), engine.Subprotocols("a", "b.c")},
		[]engine.Option{engine.Subprotocols(""), engine.Subprotocols("a", "b c"), engine.Subprotocols("a,b"), engine.Subprotocols("a\r\nb"), engine.Subprotocols("é"), engine.Subprotocols(strings.Split(strings.Repeat("a,", 201), ",")[:201]...)}},
	{"RequireSubprotocol", []engine.Option{engine.RequireSubprotocol("a")}, []engine.Option{engine.RequireSubprotocol(), engine.RequireSubprotocol("")}},
}

func opts[T any](f func(T) engine.Option, values ...T) (list []engine.Option) {
	for _, v := range values {
		list = append(list, f(v))
	}
	return list
}

func settings[T any](f func(T) engine.Setting, values ...T) (list []engine.Option) {
	for _, v := range values {
		list = append(list, f(v))
	}
	return list
}

func TestOptionsAreTakenUpToTheirBounds(t *testing.T) {
	for _, tt := range optionBounds {
		for i, o := range tt.inside {
			// The bounds of memory are judged, not spent.
			e, err := engine.New(engine.WithLoops(1), engine.WithReadBuffer(4<<10), o)
			if err != nil {
				t.Errorf("%s, value %d of those inside: %v", tt.name, i, err)
				continue
			}
			if r, ok := o.(engine.RouteOption); ok {
				if err := e.Handle("/", newEcho(), r); err != nil {
					t.Errorf("%s, value %d, on a route: %v", tt.name, i, err)
				}
			}
			e.Close()
		}
	}
}

func TestAnOptionOutOfBoundsIsAnErrorThatNamesIt(t *testing.T) {
	e, err := engine.New(engine.WithLoops(1))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	for _, tt := range optionBounds {
		for i, o := range tt.outside {
			got, err := engine.New(engine.WithLoops(1), o)
			var oe *engine.OptionError
			if got != nil || !errors.As(err, &oe) || oe.Option != tt.name || oe.Reason == "" || !strings.Contains(err.Error(), tt.name) {
				t.Errorf("%s, value %d of those outside: %v", tt.name, i, err)
			}
			if r, ok := o.(engine.RouteOption); ok {
				if err := e.Handle(fmt.Sprintf("/%s/%d", tt.name, i), newEcho(), r); !errors.As(err, &oe) || oe.Option != tt.name {
					t.Errorf("%s, value %d, on a route: %v", tt.name, i, err)
				}
			}
		}
	}
	var oe *engine.OptionError
	if err := e.Handle("/", nil); !errors.As(err, &oe) || oe.Option != "Handler" {
		t.Errorf("a nil handler: %v", err)
	}
	if err := e.Handle("/", newEcho(), engine.WithMaxFrameSize(0)); err == nil {
		t.Error("a bad option was taken")
	} else if err := e.Handle("/", newEcho()); err != nil {
		t.Errorf("a refused Handle left its pattern behind: %v", err)
	}
}

// Reserved bits mean something on raw routes alone.
func TestReservedBitsAreRefusedElsewhere(t *testing.T) {
	s := bare(t)
	reserved := func(err error) bool {
		var oe *engine.OptionError
		return errors.As(err, &oe) && oe.Option == "WithReservedBits"
	}
	nop := func(context.Context, *engine.Session) error { return nil }
	for i, bits := range []byte{0, frame.RSV1, frame.RSV1 | frame.RSV2 | frame.RSV3} {
		pattern := fmt.Sprint("/", i)
		if err := s.HandleRaw(pattern, newRawScript(), engine.WithReservedBits(bits)); err != nil {
			t.Errorf("bits %x on a raw route: %v", bits, err)
		}
		if err := s.Handle(pattern+"/callback", newEcho(), engine.WithReservedBits(bits)); bits != 0 && !reserved(err) {
			t.Errorf("bits %x on another: %v", bits, err)
		}
		if err := s.HandleSession(pattern+"/session", nop, engine.WithReservedBits(bits)); bits != 0 && !reserved(err) {
			t.Errorf("bits %x on a session's: %v", bits, err)
		}
	}
	for _, bits := range []byte{1, 8, 0x80, 0xFF} {
		if err := s.HandleRaw("/bad", newRawScript(), engine.WithReservedBits(bits)); !reserved(err) {
			t.Errorf("bits %x: %v", bits, err)
		}
	}
	if _, err := s.Dial(context.Background(), "ws://127.0.0.1:1/", nil, newEcho(), engine.WithReservedBits(frame.RSV1)); !reserved(err) {
		t.Errorf("Dial: %v", err)
	}
}

// The figures of the table in the design.
func TestDefaults(t *testing.T) {
	for name, v := range map[string][2]any{
		"ReadBuffer":       {engine.DefaultReadBuffer, 64 << 10},
		"SessionMessages":  {engine.DefaultSessionMessages, 8},
		"SessionBytes":     {engine.DefaultSessionBytes, 1 << 20},
		"MaxHead":          {engine.DefaultMaxHead, 16 << 10},
		"MaxFrameSize":     {engine.DefaultMaxFrameSize, 16 << 20},
		"MaxMessageSize":   {engine.DefaultMaxMessageSize, 16 << 20},
		"MaxBackpressure":  {engine.DefaultMaxBackpressure, 1 << 20},
		"AssemblyBudget":   {engine.DefaultAssemblyBudget, 16 << 20},
		"PingInterval":     {engine.DefaultPingInterval, 30 * time.Second},
		"PingTimeout":      {engine.DefaultPingTimeout, 15 * time.Second},
		"HandshakeTimeout": {engine.DefaultHandshakeTimeout, 10 * time.Second},
		"CloseTimeout":     {engine.DefaultCloseTimeout, 5 * time.Second},
		"WriteTimeout":     {engine.DefaultWriteTimeout, 30 * time.Second},
		"KeepAlive":        {engine.DefaultKeepAlive, 2 * time.Minute},
	} {
		if v[0] != v[1] {
			t.Errorf("Default%s is %v, want %v", name, v[0], v[1])
		}
	}
	for p, want := range map[engine.Policy]string{engine.PolicyRefuse: "refuse", engine.PolicyDrop: "drop", engine.PolicyClose: "close", 7: "unknown"} {
		if p.String() != want {
			t.Errorf("policy %d is called %q", p, p)
		}
	}
}

func TestARequestHeadOfTheDefaultSizeIsTaken(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start()
		s.handle("/", newEcho())
		head := upgradeRequest("/", "X-Long: @")
		room := engine.DefaultMaxHead - len(head) + 1
		for extra, status := range map[int]int{0: 101, 1: 431} {
			c := s.connect()
			c.send([]byte(strings.Replace(string(head), "@", strings.Repeat("x", room+extra), 1)))
			if resp, _ := c.readAnswer("GET"); resp.StatusCode != status {
				t.Errorf("a head of the limit and %d bytes: %d", extra, resp.StatusCode)
			}
			c.Close()
		}
	})
}

// What is given to New is every route's default; what is given to Handle overrides it there and nowhere else.
func TestARouteOverridesTheEnginesSettings(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithMaxMessageSize(100), engine.WithUTF8Check(false), engine.WithMaxFrameSize(200))
		s.handle("/engine", newEcho())
		s.handle("/wider", newEcho(), engine.WithMaxMessageSize(150))
		s.handle("/narrower", newEcho(), engine.WithMaxMessageSize(10))
		s.handle("/checked", newEcho(), engine.WithUTF8Check(true))
		s.handle("/last", newEcho(), engine.WithMaxMessageSize(1), engine.WithMaxMessageSize(50)) // the last one counts
		for _, tt := range []struct {
			path    string
			message string
			code    frame.CloseCode // 0: echoed
		}{
			{"/engine", strings.Repeat("x", 100), 0},
			{"/engine", strings.Repeat("x", 101), frame.CloseMessageTooBig},
			{"/wider", strings.Repeat("x", 150), 0},
			{"/wider", strings.Repeat("x", 151), frame.CloseMessageTooBig},
			{"/wider", strings.Repeat("x", 201), frame.CloseMessageTooBig},
			{"/narrower", strings.Repeat("x", 11), frame.CloseMessageTooBig},
			{"/last", strings.Repeat("x", 50), 0},
			{"/engine", "\xff", 0},
			{"/checked", "\xff", frame.CloseInvalidPayload},
		} {
			c := s.open(tt.path)
			c.write(frame.Text, []byte(tt.message))
			if tt.code != 0 {
				c.expectClose(tt.code)
			} else {
				c.expect(frame.Text, []byte(tt.message))
			}
			c.Close()
		}
	})
}

// Until its route is known, a connection lives by the engine's settings.
func TestFunctionsThatAreNilAreTheDefaults(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithAcceptHook(nil), engine.WithCheckOrigin(nil))
		s.handle("/", newEcho())
		s.open("/", "Origin: http://example.test")
		c := s.connect()
		c.send(upgradeRequest("/", "Origin: http://evil.test"))
		c.expectRefusal(403)
	})
}

// The slices given to options may be changed afterwards.
func TestOptionsCopyTheirLists(t *testing.T) {
	names, origins := []string{"v1"}, []string{"https://a.test"}
	s := func() (got *server) {
		e, err := engine.New(engine.WithLoops(1))
		if err != nil {
			t.Fatal(err)
		}
		got = &server{Engine: e, t: t, logs: new(logBuffer)}
		transports[0].start(t, got)
		t.Cleanup(func() { e.Close() })
		return got
	}()
	s.handle("/", newEcho(), engine.Subprotocols(names...), engine.WithAllowedOrigins(origins...))
	names[0], origins[0] = "x", "https://x.test"
	got := s.connect().protocolOf(upgradeRequest("/", "Sec-WebSocket-Protocol: x, v1", "Origin: https://a.test"))
	if len(got) != 1 || got[0] != "v1" {
		t.Errorf("got %q", got)
	}
}

func TestTheAcceptHookRefusesBeforeAnythingIsRead(t *testing.T) {
	asked := make(chan netip.AddrPort, 10)
	released := make(chan netip.AddrPort, 10)
	allow := make(chan bool, 10)
	e, err := engine.New(engine.WithLoops(1), engine.WithAcceptHook(func(remote netip.AddrPort) (func(), bool) {
		asked <- remote
		return func() { released <- remote }, <-allow
	}))
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Engine: e, t: t, logs: new(logBuffer)}
	transports[0].start(t, s)
	t.Cleanup(func() { e.Close() })
	s.handle("/", newEcho())
	allow <- false
	c := s.connect()
	if resp, _ := c.expectRefusal(http.StatusServiceUnavailable); resp.Header.Get("Retry-After") == "" {
		t.Errorf("no Retry-After: %v", resp.Header)
	}
	if got := within(t, asked); got.String() != c.LocalAddr().String() {
		t.Errorf("asked about %v, the client is %v", got, c.LocalAddr())
	}
	allow <- true
	admitted := s.open("/")
	within(t, asked)
	admitted.Close()
	if got := within(t, released); got.String() != admitted.LocalAddr().String() {
		t.Errorf("released %v, the client was %v", got, admitted.LocalAddr())
	}
	if len(released) != 0 {
		t.Error("released twice, or released what was refused")
	}
	e.Close()
	if st := e.Stats(); st.RefusedByHook != 1 {
		t.Errorf("%d counted", st.RefusedByHook)
	}
}

func TestMaxConnsRefusesAndTakesAgain(t *testing.T) {
	h := newEcho()
	e, err := engine.New(engine.WithLoops(2), engine.WithMaxConns(2))
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Engine: e, t: t, logs: new(logBuffer)}
	transports[0].start(t, s)
	t.Cleanup(func() { e.Close() })
	s.handle("/", h)
	first := s.open("/")
	s.open("/")
	for range 3 {
		c := s.connect()
		c.Write(upgradeRequest("/")) // the answer came before it, and must not be lost over it
		c.expectRefusal(http.StatusServiceUnavailable)
	}
	first.Close()
	h.wait(t)
	for s.Engine.Stats().Conns == 2 { // OnClose comes before the descriptor is forgotten
		time.Sleep(time.Millisecond)
	}
	s.open("/")
}
