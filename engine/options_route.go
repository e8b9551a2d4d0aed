package engine

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"zeroframe/frame"
)

// WithMaxFrameSize bounds the payload of one frame, in bytes; equality is allowed. It is checked at the header, before a
// byte is kept. A larger frame is answered by close 1009. Default 16 MiB; 125 B to 1 TiB.
func WithMaxFrameSize(bytes int64) Setting {
	return setting(func(s *settings) error {
		return between("WithMaxFrameSize", bytes, 125, maxSize, func(n int64) { s.maxFrame = n })
	})
}

// WithMaxMessageSize bounds a message, the sum of its fragments, in bytes; equality is allowed. A larger one is answered
// by close 1009 at the header that exceeds it. Default 16 MiB; 1 B to 1 TiB.
func WithMaxMessageSize(bytes int64) Setting {
	return setting(func(s *settings) error {
		return between("WithMaxMessageSize", bytes, 1, maxSize, func(n int64) { s.maxMessage = n })
	})
}

// WithMaxBackpressure bounds the bytes queued for a peer that does not read. A message is judged, by its size before
// compression, against what is queued already: an empty queue takes any. Default 1 MiB; 1 B to 1 TiB.
func WithMaxBackpressure(bytes int) Setting {
	return setting(func(s *settings) error {
		return between("WithMaxBackpressure", int64(bytes), 1, maxSize, func(n int64) { s.maxBackpressure = int(n) })
	})
}

// WithBackpressurePolicy chooses what happens to a message that does not fit. Default PolicyRefuse.
func WithBackpressurePolicy(p Policy) Setting {
	return setting(func(s *settings) error {
		if p > PolicyClose {
			return &OptionError{"WithBackpressurePolicy", "unknown policy"}
		}
		s.policy = p
		return nil
	})
}

// WithReadWhileFull keeps reading a peer whose output is above MaxBackpressure. Replies and pongs are not bounded then: use
// it only where handlers answer with Send alone. It does not concern sessions, whose peers are read on anyway, but for one
// that asks for more than 64 KiB of pongs meanwhile. Default off.
func WithReadWhileFull(on bool) Setting {
	return setting(func(s *settings) error { s.readWhileFull = on; return nil })
}

// WithSessionQueue bounds what a session has been sent and has not received: when so many messages, or so many bytes of
// payload, wait, WithOverflow says what happens. An empty queue takes a message of any size. Default 8 messages and
// 1 MiB; 1 to 1,000,000 messages, 1 B to 1 TiB.
func WithSessionQueue(messages int, bytes int) Setting {
	return setting(func(s *settings) error {
		if err := between("WithSessionQueue", messages, 1, 1e6, func(n int) { s.queueMessages = n }); err != nil {
			return err
		}
		return between("WithSessionQueue", int64(bytes), 1, maxSize, func(n int64) { s.queueBytes = int(n) })
	})
}

// WithOverflow chooses what happens when a session's queue of received messages is full, in, and when MaxBackpressure
// has no room for what a session sends, out. Default OverflowSuspend for both. With OverflowClose for in, what was
// queued can still be received. Session.Send does not ask WithBackpressurePolicy, which is for Conn.Send.
func WithOverflow(in, out Overflow) Setting {
	return setting(func(s *settings) error {
		if in > OverflowClose || out > OverflowClose {
			return &OptionError{"WithOverflow", "unknown overflow"}
		}
		s.overflowIn, s.overflowOut = in, out
		return nil
	})
}

// WithCodec sets how SendValue and ReceiveValue translate values. Default JSON.
func WithCodec(c Codec) Setting {
	return setting(func(s *settings) error {
		if c == nil {
			return &OptionError{"WithCodec", "nil"}
		}
		s.codec = c
		return nil
	})
}

// WithOnUpgrade asks f about every request before it is answered: as Upgrader says, whose OnUpgrade is called before f
// when the route's handler has one. f runs where OnUpgrade does, and on a loop must not block. A request whose context f
// replaces, in u.Request, hands that one's values on to the session's, but not its end. Default: nobody is asked.
func WithOnUpgrade(f func(u *Upgrade) error) Setting {
	return setting(func(s *settings) error { s.onUpgrade = f; return nil })
}

// WithOnPing shows f the pings that come, on routes of sessions too, and to what Dial opens: as PingHandler says, whose
// OnPing is called before f when the handler has one. f runs on a loop and must not block. Raw routes, which see every
// frame, do not ask it. Default: nobody is told.
func WithOnPing(f func(c *Conn, payload []byte)) Setting {
	return setting(func(s *settings) error { s.sawPing = f; return nil })
}

// WithOnPong is WithOnPing for pongs, those for the engine's own pings included; see PongHandler. Default: nobody is
// told.
func WithOnPong(f func(c *Conn, payload []byte)) Setting {
	return setting(func(s *settings) error { s.sawPong = f; return nil })
}

// WithReservedBits admits frames with these of frame.RSV1 to RSV3 set on a raw route, whose handler and peers have agreed
// what they mean. Default none: such a frame is answered by 1002.
func WithReservedBits(bits byte) RouteOption {
	return setting(func(s *settings) error {
		if bits&^(frame.RSV1|frame.RSV2|frame.RSV3) != 0 {
			return &OptionError{"WithReservedBits", "not reserved bits"}
		}
		s.reserved = bits
		return nil
	})
}

// WithPingInterval sets how long after the last pong the next ping goes out; the first goes after a random part of it
// between a half and the whole. 0 or less: no pings. Default 30 s; 1 ms to 10 days.
func WithPingInterval(d time.Duration) Setting {
	return setting(func(s *settings) error {
		if d <= 0 {
			s.pingInterval = 0
			return nil
		}
		return between("WithPingInterval", d, time.Millisecond, maxDuration, func(d time.Duration) { s.pingInterval = d })
	})
}

// WithPingTimeout sets how long a pong may take, the sending of the ping included; after it the connection is closed with
// 1011. Default 15 s; 1 ms to 10 days.
func WithPingTimeout(d time.Duration) Setting {
	return setting(func(s *settings) error {
		return between("WithPingTimeout", d, time.Millisecond, maxDuration, func(d time.Duration) { s.pingTimeout = d })
	})
}

// WithPingPolicy chooses what answers a ping. Default PingStrict.
func WithPingPolicy(p PingPolicy) Setting {
	return setting(func(s *settings) error {
		if p > PingAnyTraffic {
			return &OptionError{"WithPingPolicy", "unknown policy"}
		}
		s.pingPolicy = p
		return nil
	})
}

// WithIdleTimeout closes, with 1001, a connection whose peer has sent nothing at all, pongs included, for d; use it with
// a ping interval of 0 or above d. 0, the default: off. Precision 10 ms; at most 10 days.
func WithIdleTimeout(d time.Duration) Setting {
	return setting(func(s *settings) error {
		return between("WithIdleTimeout", d, 0, maxDuration, func(d time.Duration) { s.idleTimeout = d })
	})
}

// WithLifetime closes, with 1001, a connection that is older than d. 0, the default: off. At most 10 days.
func WithLifetime(d time.Duration) Setting {
	return setting(func(s *settings) error {
		return between("WithLifetime", d, 0, maxDuration, func(d time.Duration) { s.lifetime = d })
	})
}

// WithCloseTimeout bounds the wait for the peer's close frame after ours, and then for the end of its stream. Default
// 5 s; 1 ms to 10 days.
func WithCloseTimeout(d time.Duration) Setting {
	return setting(func(s *settings) error {
		return between("WithCloseTimeout", d, time.Millisecond, maxDuration, func(d time.Duration) { s.closeTimeout = d })
	})
}

// WithWriteTimeout ends a connection whose peer takes no byte of the queued output for d. 0: off. Default 30 s; at most
// 10 days.
func WithWriteTimeout(d time.Duration) Setting {
	return setting(func(s *settings) error {
		return between("WithWriteTimeout", d, 0, maxDuration, func(d time.Duration) { s.writeTimeout = d })
	})
}

// WithUTF8Check chooses whether text messages are checked (RFC 6455, section 8.1). Default on; off only where every
// reader of the text checks it.
func WithUTF8Check(on bool) Setting {
	return setting(func(s *settings) error { s.skipUTF8 = !on; return nil })
}

// WithAnyOrigin admits browsers from pages of every origin. Default off: the Origin header, when there is one, must
// name the host of the request (RFC 6455, section 10.2); others are answered 403. Of this, WithAllowedOrigins and
// WithCheckOrigin the one given last counts, so that a route's replaces the engine's.
func WithAnyOrigin() Setting { return originRule(true, nil, nil) }

// WithAllowedOrigins admits, besides the same host, pages of these origins: "https://example.com", compared without
// regard to case; one leading "*." after the scheme stands for any subdomain, "https://*.example.com". A port must be
// named unless it is the scheme's own, which browsers leave out. No origins: the same host alone.
func WithAllowedOrigins(origins ...string) Setting {
	list := make([]string, len(origins))
	for i, o := range origins {
		scheme, host, ok := strings.Cut(strings.ToLower(o), "://")
		if domain, _ := strings.CutPrefix(host, "*."); !ok || scheme == "" || domain == "" || strings.ContainsAny(domain, "/?# *") {
			return setting(func(*settings) error {
				return &OptionError{"WithAllowedOrigins", o + " is not scheme://host[:port]"}
			})
		}
		switch scheme {
		case "http":
			host = strings.TrimSuffix(host, ":80")
		case "https":
			host = strings.TrimSuffix(host, ":443")
		}
		list[i] = scheme + "://" + host
	}
	return originRule(false, list, nil)
}

// WithCheckOrigin decides in place of the built-in rules whether a request is admitted, one without an Origin header
// too; nil: the built-in rule. f runs where OnUpgrade does, and on a loop must not block.
func WithCheckOrigin(f func(r *http.Request) bool) Setting { return originRule(false, nil, f) }

func originRule(any bool, list []string, check func(*http.Request) bool) Setting {
	return setting(func(s *settings) error { s.anyOrigin, s.origins, s.checkOrigin = any, list, check; return nil })
}

// Subprotocols names the subprotocols a route speaks, the preferred one first. The first of them that the client offers
// is chosen; none: the connection has no subprotocol (RFC 6455, section 1.9). Default none; at most 200 names, each a token
// of HTTP.
func Subprotocols(names ...string) Setting { return subprotocols("Subprotocols", names, false) }

// RequireSubprotocol is Subprotocols, and a client that offers none of them is answered 400; given to Dial, it fails when
// the server chooses none.
func RequireSubprotocol(names ...string) Setting {
	return subprotocols("RequireSubprotocol", names, true)
}

func subprotocols(option string, names []string, required bool) Setting {
	names = slices.Clone(names)
	return setting(func(s *settings) error {
		if len(names) == 0 && required {
			return &OptionError{option, "no name"}
		}
		for _, n := range names {
			if !isToken(n) {
				return &OptionError{option, "not a token of HTTP: " + n}
			}
		}
		if len(names) > 200 {
			return &OptionError{option, "more than 200 names"}
		}
		s.subprotocols, s.needSubprotocol = names, required
		return nil
	})
}

// isToken reports whether s is a token of HTTP (RFC 9110, section 5.6.2).
func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7F || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return s != ""
}
