package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"zeroframe/backplane/nats"
	"zeroframe/engine"
)

type serveCommand struct {
	Listen string `default:"127.0.0.1:9001" help:"Where to listen: host:port, or unix:path. Port 0 lets the system choose, and the choice is printed."`
	Loops  int    `default:"${loops}" help:"Event loops."`

	// Pointers, for /stream has limits of its own unless these are given.
	MaxMessage *size `placeholder:"${max_message}" help:"Largest message taken; a larger one is answered by close 1009. On /stream 1 TiB unless it is given; /raw has no messages."`
	MaxFrame   *size `placeholder:"${max_frame}" help:"Largest frame taken. On /stream 1 TiB unless it is given."`
	ReadBuffer size  `default:"${read_buffer}" help:"Read buffer of each loop."`

	PingInterval     time.Duration `default:"${ping_interval}" help:"Time between pings; 0: none. /raw is never pinged."`
	PingTimeout      time.Duration `default:"${ping_timeout}" help:"How long a pong may take."`
	PingPolicy       string        `enum:"strict,any" default:"strict" help:"What answers a ping: its pong alone (strict), or any bytes from the peer (any)."`
	IdleTimeout      time.Duration `default:"0s" help:"Close peers that have sent nothing for so long; 0: never."`
	HandshakeTimeout time.Duration `default:"${handshake_timeout}" help:"How long a request may take to arrive."`
	WriteTimeout     time.Duration `default:"${write_timeout}" help:"Drop peers that take no byte of what is queued for them for so long; 0: never."`
	CloseTimeout     time.Duration `default:"${close_timeout}" help:"How long a peer may take to answer a close frame."`
	Lifetime         time.Duration `default:"0s" help:"Close connections that are older, with 1001; 0: never."`

	MaxConns           *int   `placeholder:"N" help:"Connections at once; 0: no bound. Default: the limit of file descriptors less a reserve."`
	MaxBackpressure    size   `default:"${max_backpressure}" help:"Bytes queued for a peer that does not read."`
	BackpressurePolicy string `enum:"refuse,drop,close" default:"${policy}" help:"What becomes of a message above that: refuse, drop or close. Sessions ask --overflow instead."`

	SessionQueueMessages int    `default:"${session_messages}" help:"Messages that a session may have been sent and not received."`
	SessionQueueBytes    size   `default:"${session_bytes}" help:"Bytes of payload that it may. An empty queue takes any message."`
	Overflow             string `enum:"suspend,close" default:"suspend" help:"What becomes of a session with a full queue, and of one whose peer does not read: both wait (suspend), or the connection is closed with 1008 (close)."`

	compressFlags `embed:""`

	Subprotocols []string `placeholder:"A,B" help:"Subprotocols spoken, the preferred one first."`
	AnyOrigin    bool     `help:"Admit browsers from pages of every origin."`
	NoUTF8       bool     `name:"no-utf8" help:"Do not check that text messages are UTF-8."`
	ReusePort    bool     `help:"Share the port with other processes (SO_REUSEPORT)."`

	tlsFlags `embed:""`

	ProxyProtocol networks `placeholder:"CIDR,..." help:"Addresses of balancers whose connections begin with the PROXY protocol, version 1 or 2."`

	Backplane string `placeholder:"nats://HOST:PORT,..." help:"Carry what is published on /topic/{name} to the servers that share this backplane, and back: NATS servers of one cluster."`

	MaxUpload     size          `default:"0" help:"Largest body that /upload takes; 0: any."`
	ShutdownDelay time.Duration `default:"0s" help:"How long to go on serving after a signal, with /healthz answered by 503."`

	LogLevel string `enum:"debug,info,warn,error" default:"info" help:"Least level logged to standard error: debug, info, warn or error."`
	Metrics  string `placeholder:"ADDR" help:"Also serve counts as JSON at http://ADDR/stats, and profiles at /debug/pprof/."`
}

// Help is what `zeroframe serve --help` says of the routes.
func (serveCommand) Help() string {
	return `Routes:
  /               echo (Reply: from the loop's own buffer)
  /echo           the same
  /send           echo by Send from another goroutine
  /discard        takes everything and answers nothing
  /flood/{bytes}  answers any message with so many bytes, in messages of 64 KiB
  /session        echo by a goroutine of the connection's own, which receives and sends
  /slow/{ms}      the same, asleep for so many milliseconds, 0 to 60000, before each echo
  /json           answers {"n": 41} with n one higher and the rest as it was; what is no such object with an "error"
  /stream         echo of messages of any size, piece by piece as they come
  /topic/{name}   sends every message to all connections with that name, the one it came from included
  /raw            echo of every frame as it came, pings and close frames too; the rest of the engine stands aside

Over plain HTTP, on the same port:
  /healthz        200 "ok"; 503 when the server is going down
  /upload         POST or PUT a body, or a form with a file, and be told {"size": bytes, "sha256": "hex"}

An interrupt or SIGTERM closes all connections with 1001 and ends the server; a second one ends it at once.`
}

var policies = map[string]engine.Policy{
	"refuse": engine.PolicyRefuse,
	"drop":   engine.PolicyDrop,
	"close":  engine.PolicyClose,
}

var pingPolicies = map[string]engine.PingPolicy{
	"strict": engine.PingStrict,
	"any":    engine.PingAnyTraffic,
}

var overflows = map[string]engine.Overflow{
	"suspend": engine.OverflowSuspend,
	"close":   engine.OverflowClose,
}

func (c *serveCommand) options(log *slog.Logger, compression engine.Setting, plain http.Handler, secure *tls.Config) []engine.Option {
	options := []engine.Option{
		engine.WithLoops(c.Loops),
		engine.WithReadBuffer(c.ReadBuffer.int()),
		engine.WithPingInterval(c.PingInterval),
		engine.WithPingTimeout(c.PingTimeout),
		engine.WithPingPolicy(pingPolicies[c.PingPolicy]),
		engine.WithIdleTimeout(c.IdleTimeout),
		engine.WithHandshakeTimeout(c.HandshakeTimeout),
		engine.WithWriteTimeout(c.WriteTimeout),
		engine.WithCloseTimeout(c.CloseTimeout),
		engine.WithLifetime(c.Lifetime),
		engine.WithMaxBackpressure(c.MaxBackpressure.int()),
		engine.WithBackpressurePolicy(policies[c.BackpressurePolicy]),
		engine.WithSessionQueue(c.SessionQueueMessages, c.SessionQueueBytes.int()),
		engine.WithOverflow(overflows[c.Overflow], overflows[c.Overflow]),
		engine.Subprotocols(c.Subprotocols...),
		engine.WithUTF8Check(!c.NoUTF8),
		engine.WithReusePort(c.ReusePort),
		engine.WithLogger(log),
		engine.WithHTTPHandler(plain),
	}
	if secure != nil {
		options = append(options, engine.WithTLSConfig(secure))
	}
	if c.ProxyProtocol != nil {
		options = append(options, engine.WithProxyProtocol(c.ProxyProtocol...))
	}
	if c.MaxMessage != nil {
		options = append(options, engine.WithMaxMessageSize(int64(*c.MaxMessage)))
	}
	if c.MaxFrame != nil {
		options = append(options, engine.WithMaxFrameSize(int64(*c.MaxFrame)))
	}
	if c.MaxConns != nil {
		options = append(options, engine.WithMaxConns(*c.MaxConns))
	}
	if c.AnyOrigin {
		options = append(options, engine.WithAnyOrigin())
	}
	if compression != nil {
		options = append(options, compression)
	}
	return options
}

// routeOptions are those of /stream, where only flags limit what flows through, for it takes no memory; and of /raw,
// which compresses only when it is told itself.
func (c *serveCommand) routeOptions(compression engine.Setting) (o routeOptions) {
	if c.MaxMessage == nil {
		o.stream = append(o.stream, engine.WithMaxMessageSize(maxStream))
	}
	if c.MaxFrame == nil {
		o.stream = append(o.stream, engine.WithMaxFrameSize(maxStream))
	}
	if compression != nil {
		o.raw = append(o.raw, compression)
	}
	return o
}

// Run serves until a signal.
func (c *serveCommand) Run(o output) error {
	if c.Listen == "" || c.Listen == "unix:" { // of a variable that is not set; the system would choose an address for it
		return usageError{fmt.Errorf("--listen: %q is neither host:port nor unix:path", c.Listen)}
	}
	if c.ShutdownDelay < 0 {
		return usageError{fmt.Errorf("--shutdown-delay: %v is below 0", c.ShutdownDelay)}
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		return usageError{fmt.Errorf("--log-level: %w", err)}
	}
	log := slog.New(slog.NewTextHandler(o.err, &slog.HandlerOptions{Level: level}))
	compression, err := c.compressFlags.option()
	if err != nil {
		return err
	}
	host, _, _ := net.SplitHostPort(c.Listen) // of unix:path none
	secure, err := c.tlsFlags.config(host)
	if err != nil {
		return err
	}
	plain := newPlainHTTP(uploads{limit: int64(c.MaxUpload), stall: uploadStall})
	options := c.options(log, compression, plain, secure)
	if c.Backplane != "" {
		b, err := nats.New(c.Backplane)
		if err != nil {
			return usageError{fmt.Errorf("--backplane: %w", err)}
		}
		options = append(options, engine.WithBackplane(b))
	}
	e, err := engine.New(options...)
	if err != nil {
		return nameFlag(err)
	}
	defer e.Close()
	relays := newRelays(c.Loops)
	defer relays.stop()
	if err := addRoutes(e, relays, c.routeOptions(compression), plain); err != nil {
		return err
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	ln, err := c.listen(e)
	if err != nil {
		return fmt.Errorf("--listen %s: %w", c.Listen, err)
	}
	failed := make(chan error, 2)
	if c.Metrics != "" {
		metrics, err := net.Listen("tcp", c.Metrics)
		if err != nil {
			ln.Close()
			return fmt.Errorf("--metrics %s: %w", c.Metrics, err)
		}
		server := &http.Server{Handler: metricsHandler(e, c.Loops), ReadHeaderTimeout: 10 * time.Second}
		defer server.Close()
		go func() { failed <- fmt.Errorf("--metrics %s: %w", c.Metrics, server.Serve(metrics)) }()
		fmt.Fprintf(o.out, "metrics on %s/\n", address("http", metrics.Addr()))
	}
	scheme, serve := "ws", e.Serve
	if secure != nil {
		scheme, serve = "wss", func(ln net.Listener) error { return e.ServeTLS(ln, "", "") }
	}
	if c.TLSSelfSigned {
		fmt.Fprintf(o.out, "certificate SHA-256 %s\n", fingerprint(secure.Certificates[0]))
	}
	fmt.Fprintf(o.out, "listening on %s\n", listening(scheme, ln.Addr()))
	served := make(chan error, 1)
	go func() { served <- serve(ln) }()
	select {
	case s := <-signals:
		log.Info("shutting down", slog.String("signal", s.String()))
		go func() {
			<-signals
			fmt.Fprintln(o.err, "zeroframe: ended by a second signal")
			os.Exit(exitFailed)
		}()
		plain.goingDown.Store(true)
		time.Sleep(c.ShutdownDelay)
		return c.shutdown(e, log)
	case err := <-served:
		return fmt.Errorf("--listen %s: %w", c.Listen, err)
	case err := <-failed:
		return err
	}
}

// shutdown closes all connections; those that do not answer are dropped when their time is up.
func (c *serveCommand) shutdown(e *engine.Engine, log *slog.Logger) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.CloseTimeout+time.Second)
	defer cancel()
	if err := e.Shutdown(ctx); err != nil {
		log.Warn("connections were dropped", slog.Any("error", err))
	}
	return nil
}

// listen opens the listener of --listen.
func (c *serveCommand) listen(e *engine.Engine) (net.Listener, error) {
	path, unix := strings.CutPrefix(c.Listen, "unix:")
	if !unix {
		return e.Listen("tcp", c.Listen)
	}
	ln, err := e.Listen("unix", path)
	if errors.Is(err, syscall.EADDRINUSE) && abandoned(path) {
		if err := os.Remove(path); err != nil {
			return nil, err
		}
		return e.Listen("unix", path)
	}
	return ln, err
}

// abandoned reports whether path is a socket that a server left behind when it was killed.
func abandoned(path string) bool {
	if info, err := os.Lstat(path); err != nil || info.Mode()&os.ModeSocket == 0 {
		return false
	}
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

func listening(scheme string, a net.Addr) string {
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return address(scheme, a) + "/"
}

// address writes an address as a URL that can be dialled from this machine.
func address(scheme string, a net.Addr) string {
	if t, ok := a.(*net.TCPAddr); ok && t.IP.IsUnspecified() {
		return fmt.Sprintf("%s://127.0.0.1:%d", scheme, t.Port)
	}
	return scheme + "://" + a.String()
}
