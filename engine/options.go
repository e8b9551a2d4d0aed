package engine

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"
)

// Option changes an Engine; it is given to New.
type Option interface{ applyEngine(*config) error }

// RouteOption changes one route; it is given to Handle and its kin, Handler and its kin, Upgrade, Dial and DialSession.
type RouteOption interface{ applyRoute(*settings) error }

// Setting is an option for both: given to New it is the default of every route, given to one route it overrides that.
type Setting interface {
	Option
	RouteOption
}

type engineOption func(*config) error

func (f engineOption) applyEngine(c *config) error { return f(c) }

type setting func(*settings) error

func (f setting) applyEngine(c *config) error  { return f(&c.settings) }
func (f setting) applyRoute(s *settings) error { return f(s) }

// config is what an engine is made of; settings, inside it, what a route can override.
type config struct {
	loops            int
	readBuffer       int
	idleBuffers      int
	assemblyBudget   int
	maxHead          int
	handshakeTimeout time.Duration
	maxConns         int
	maxConnsSet      bool
	acceptHook       func(netip.AddrPort) (release func(), ok bool)
	noDelay          bool
	keepAlive        time.Duration
	userTimeout      time.Duration
	reusePort        bool
	trustedProxies   []netip.Prefix
	tls              *tls.Config // of ServeTLS; may be nil
	tlsRelease       bool        // TLS connections keep no buffers
	logger           *slog.Logger
	httpHandler      http.Handler
	httpConfigure    func(*http.Server)
	backplane        Backplane // may be nil
	onSubscribe      func(*Conn, string, int)
	onUnsubscribe    func(*Conn, string, int)
	poison           bool // tests: overwrite buffers after each callback
	settings
}

type settings struct {
	maxFrame        int64
	maxMessage      int64
	maxBackpressure int
	policy          Policy
	readWhileFull   bool
	pingInterval    time.Duration
	pingTimeout     time.Duration
	pingPolicy      PingPolicy
	idleTimeout     time.Duration
	lifetime        time.Duration
	closeTimeout    time.Duration
	writeTimeout    time.Duration
	queueMessages   int
	queueBytes      int
	overflowIn      Overflow
	overflowOut     Overflow
	codec           Codec
	onUpgrade       func(*Upgrade) error
	sawPing         func(*Conn, []byte)
	sawPong         func(*Conn, []byte)
	skipUTF8        bool
	reserved        byte
	compression     *Compression
	extensions      []Extension
	deflateFirst    bool // compression comes before the extensions on the way out
	anyOrigin       bool
	origins         []string
	checkOrigin     func(*http.Request) bool
	subprotocols    []string
	needSubprotocol bool
	clientTLS       *tls.Config // for clients, as the next two
	proxy           func(*http.Request) (*url.URL, error)
	dialContext     func(ctx context.Context, network, address string) (net.Conn, error)
}

// Defaults of the options, for programs that show them.
const (
	DefaultReadBuffer       = 64 << 10
	DefaultMaxHead          = 16 << 10
	DefaultMaxFrameSize     = 16 << 20
	DefaultMaxMessageSize   = 16 << 20
	DefaultMaxBackpressure  = 1 << 20
	DefaultAssemblyBudget   = 16 << 20
	DefaultIdleBuffers      = 4 << 20
	DefaultSessionMessages  = 8
	DefaultSessionBytes     = 1 << 20
	DefaultPingInterval     = 30 * time.Second
	DefaultPingTimeout      = 15 * time.Second
	DefaultHandshakeTimeout = 10 * time.Second
	DefaultCloseTimeout     = 5 * time.Second
	DefaultWriteTimeout     = 30 * time.Second
	DefaultKeepAlive        = 2 * time.Minute
)

// Policy says what becomes of a message that would exceed MaxBackpressure.
type Policy uint8

const (
	PolicyRefuse Policy = iota // Send returns ErrBackpressure; the default
	PolicyDrop                 // Send returns nil and the message is dropped, and counted
	PolicyClose                // the connection is closed with 1008
)

// String returns the policy's name in lower case.
func (p Policy) String() string {
	switch p {
	case PolicyRefuse:
		return "refuse"
	case PolicyDrop:
		return "drop"
	case PolicyClose:
		return "close"
	}
	return "unknown"
}

// Overflow says what happens when a session has been sent more than it receives, or sends more than its peer reads.
type Overflow uint8

const (
	OverflowSuspend Overflow = iota // the socket is not read, or Send waits; the default
	OverflowClose                   // the connection is closed with 1008, and calls fail with ErrOverflow
)

// PingPolicy says what counts as a sign of life after a ping.
type PingPolicy uint8

const (
	PingStrict     PingPolicy = iota // only the pong with the ping's payload; the default
	PingAnyTraffic                   // any bytes from the peer
)
