package engine

import (
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"time"
)

func defaults() config {
	return config{
		loops:            runtime.GOMAXPROCS(0),
		readBuffer:       DefaultReadBuffer,
		idleBuffers:      DefaultIdleBuffers,
		assemblyBudget:   DefaultAssemblyBudget,
		maxHead:          DefaultMaxHead,
		handshakeTimeout: DefaultHandshakeTimeout,
		noDelay:          true,
		keepAlive:        DefaultKeepAlive,
		logger:           slog.New(slog.DiscardHandler),
		settings: settings{
			maxFrame:        DefaultMaxFrameSize,
			maxMessage:      DefaultMaxMessageSize,
			maxBackpressure: DefaultMaxBackpressure,
			queueMessages:   DefaultSessionMessages,
			queueBytes:      DefaultSessionBytes,
			codec:           JSON,
			pingInterval:    DefaultPingInterval,
			pingTimeout:     DefaultPingTimeout,
			closeTimeout:    DefaultCloseTimeout,
			writeTimeout:    DefaultWriteTimeout,
			clientTLS:       clientTLS(nil),
			proxy:           proxyFromEnvironment(),
		},
	}
}

// between builds an option that stores v when it lies within the bounds.
func between[T int | int64 | time.Duration](name string, v, low, high T, store func(T)) error {
	if v < low || v > high {
		return &OptionError{name, fmt.Sprintf("%v is not between %v and %v", v, low, high)}
	}
	store(v)
	return nil
}

const (
	maxSize     = 1 << 40
	maxDuration = 10 * 24 * time.Hour // well below the 49 days after which the coarse clock of a connection wraps
)

// WithLoops sets the number of event loops, each with a goroutine and a read buffer. Default GOMAXPROCS; 1 to 4096.
func WithLoops(n int) Option {
	return engineOption(func(c *config) error {
		return between("WithLoops", n, 1, 4096, func(n int) { c.loops = n })
	})
}

// WithReadBuffer sets the bytes of each loop's read buffer, the most that one read of a connection takes and the largest
// frame that is handled without being assembled. Default 64 KiB; 512 B to 16 MiB.
func WithReadBuffer(bytes int) Option {
	return engineOption(func(c *config) error {
		return between("WithReadBuffer", bytes, 512, 16<<20, func(n int) { c.readBuffer = n })
	})
}

// WithIdleBuffers bounds the bytes of idle buffers that each loop keeps for itself. Default 4 MiB; 0 to 1 GiB.
func WithIdleBuffers(bytes int) Option {
	return engineOption(func(c *config) error {
		return between("WithIdleBuffers", bytes, 0, 1<<30, func(n int) { c.idleBuffers = n })
	})
}

// WithAssemblyBudget bounds the bytes that each loop reserves for frames whose payload has not arrived yet; beyond it a
// buffer grows only with what has arrived. Default 16 MiB; 0 to 1 GiB.
func WithAssemblyBudget(bytes int) Option {
	return engineOption(func(c *config) error {
		return between("WithAssemblyBudget", bytes, 0, 1<<30, func(n int) { c.assemblyBudget = n })
	})
}

// WithMaxHead bounds the bytes of an HTTP request head; a longer one is answered 431. Default 16 KiB; 256 B to 1 MiB. For
// requests to WithHTTPHandler's handler it is no less than 4 KiB.
func WithMaxHead(bytes int) Option {
	return engineOption(func(c *config) error {
		return between("WithMaxHead", bytes, 256, 1<<20, func(n int) { c.maxHead = n })
	})
}

// WithHandshakeTimeout bounds the time from accept to a complete request head; after it the peer is answered 408. It
// bounds Dial, from the call to the server's answer, too. Default 10 s; 1 ms to 10 days.
func WithHandshakeTimeout(d time.Duration) Option {
	return engineOption(func(c *config) error {
		return between("WithHandshakeTimeout", d, time.Millisecond, maxDuration, func(d time.Duration) { c.handshakeTimeout = d })
	})
}

// WithMaxConns bounds the connections open at once; above it a client is answered 503. 0 means no bound of the engine's
// own. Those that Dial opened count, but Dial is not bounded. Default: the process's limit of descriptors less a reserve
// of 64 or an eighth, whichever is less.
func WithMaxConns(n int) Option {
	return engineOption(func(c *config) error {
		c.maxConnsSet = true
		return between("WithMaxConns", n, 0, 1<<30, func(n int) { c.maxConns = n })
	})
}

// WithAcceptHook asks f about every accepted connection, before anything is read; ok false refuses it with 503. When it
// is admitted and release is not nil, release is called once when the connection has ended, on its loop, or on a goroutine
// of net/http's if it ended as an HTTP connection (WithHTTPHandler): so f can count connections per address. remote is the
// zero AddrPort for unix sockets. f runs on a loop and must not block; several loops may call it at once. A panic in it
// refuses. A release costs its connection 128 B and the function.
func WithAcceptHook(f func(remote netip.AddrPort) (release func(), ok bool)) Option {
	return engineOption(func(c *config) error { c.acceptHook = f; return nil })
}

// WithNoDelay sets TCP_NODELAY on connections, accepted or dialed; those that net/http accepted stay as they are. Default on.
func WithNoDelay(on bool) Option {
	return engineOption(func(c *config) error { c.noDelay = on; return nil })
}

// WithKeepAlive sets the period of TCP keep-alive probes, rounded up to seconds; 0 turns them off. Default 2 min.
func WithKeepAlive(d time.Duration) Option {
	return engineOption(func(c *config) error {
		return between("WithKeepAlive", d, 0, maxDuration, func(d time.Duration) { c.keepAlive = d })
	})
}

// WithTCPUserTimeout sets how long sent data may stay unacknowledged before the kernel gives the connection up
// (TCP_USER_TIMEOUT, Linux only; elsewhere it has no effect). 0, the default, leaves it to the kernel.
func WithTCPUserTimeout(d time.Duration) Option {
	return engineOption(func(c *config) error {
		return between("WithTCPUserTimeout", d, 0, maxDuration, func(d time.Duration) { c.userTimeout = d })
	})
}

// WithReusePort sets SO_REUSEPORT on listeners that the engine opens, so that several processes share a port. Default
// off. Serving fails where the system has no such option.
func WithReusePort(on bool) Option {
	return engineOption(func(c *config) error { c.reusePort = on; return nil })
}

// WithProxyProtocol makes the connections of peers in trusted, balancers, begin with a header of the PROXY protocol,
// version 1 or 2 (haproxy.org, doc/proxy-protocol.txt). It comes below TLS and HTTP, and RemoteAddr is the source named in
// it, also in requests and for WithHTTPHandler; a balancer that speaks for itself (LOCAL, UNKNOWN) names none, and keeps its
// own. A peer that sends no header, or a malformed one, or one of more than 4 KiB, is closed without an answer, counted in
// Stats and logged at level Debug; one that takes too long, after WithHandshakeTimeout. The connections of others are served
// as ever, and a header from them is a malformed request. Peers on unix sockets, which have no address, count as 127.0.0.1
// and ::1. WithAcceptHook is asked before the header, about the balancer.
//
// It holds for listeners that the engine serves, not for what it takes over from net/http. A connection with a source in
// its header takes about 210 B more. Default: no header is looked for.
func WithProxyProtocol(trusted ...netip.Prefix) Option {
	return engineOption(func(c *config) error {
		if len(trusted) == 0 {
			return &OptionError{"WithProxyProtocol", "nobody is trusted"}
		}
		list := make([]netip.Prefix, len(trusted))
		for i, p := range trusted {
			if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
				p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
			}
			if !p.IsValid() || p.Addr().Is4In6() {
				return &OptionError{"WithProxyProtocol", fmt.Sprintf("%v is no prefix of IPv4 or IPv6 addresses", trusted[i])}
			}
			list[i] = p
		}
		c.trustedProxies = list
		return nil
	})
}

// WithLogger sets where the engine logs: panics of handlers, refused connections, faults of the system. Default:
// nothing is logged.
func WithLogger(l *slog.Logger) Option {
	return engineOption(func(c *config) error {
		if l == nil {
			return &OptionError{"WithLogger", "nil"}
		}
		c.logger = l
		return nil
	})
}
