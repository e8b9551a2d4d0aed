package main

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"zeroframe/bench"
	"zeroframe/engine"
)

// size is a flag's value in bytes, "65536" or "64KiB".
type size int64

// UnmarshalText is called for what the command line says.
func (s *size) UnmarshalText(b []byte) error {
	n, err := bench.ParseSize(string(b))
	*s = size(n)
	return err
}

// int returns the size for options that take an int.
func (s size) int() int { return int(min(int64(s), int64(^uint(0)>>1))) }

// networks is a flag's value for ranges of addresses, "10.0.0.0/8,::1".
type networks []netip.Prefix

// UnmarshalText is called for what the command line says. Nothing, of a variable that is not set, is no list.
func (n *networks) UnmarshalText(b []byte) error {
	*n = nil
	for one := range strings.SplitSeq(string(b), ",") {
		p, err := netip.ParsePrefix(one)
		if address, notOne := netip.ParseAddr(one); notOne == nil && address.Zone() == "" {
			p, err = netip.PrefixFrom(address, address.BitLen()), nil
		}
		if err != nil {
			return fmt.Errorf("%q is neither an address nor ADDRESS/BITS", one)
		}
		*n = append(*n, p)
	}
	return nil
}

// defaults are the values that flags have from the engine's options.
func defaults() kong.Vars {
	bytes := func(n int64) string { return strings.ReplaceAll(bench.FormatSize(n), " ", "") }
	return kong.Vars{
		"loops":             strconv.Itoa(runtime.GOMAXPROCS(0)),
		"max_message":       bytes(engine.DefaultMaxMessageSize),
		"max_frame":         bytes(engine.DefaultMaxFrameSize),
		"max_backpressure":  bytes(engine.DefaultMaxBackpressure),
		"read_buffer":       bytes(engine.DefaultReadBuffer),
		"ping_interval":     engine.DefaultPingInterval.String(),
		"ping_timeout":      engine.DefaultPingTimeout.String(),
		"handshake_timeout": engine.DefaultHandshakeTimeout.String(),
		"close_timeout":     engine.DefaultCloseTimeout.String(),
		"write_timeout":     engine.DefaultWriteTimeout.String(),
		"session_messages":  strconv.Itoa(engine.DefaultSessionMessages),
		"session_bytes":     bytes(engine.DefaultSessionBytes),
		"policy":            engine.PolicyRefuse.String(),

		"compress_threshold": bytes(engine.DefaultCompressionThreshold),
	}
}

// optionFlags are the flags that options and fields of the packages below come from.
var optionFlags = map[string]string{
	"WithLoops":              "--loops",
	"WithMaxMessageSize":     "--max-message",
	"WithMaxFrameSize":       "--max-frame",
	"WithPingInterval":       "--ping-interval",
	"WithPingTimeout":        "--ping-timeout",
	"WithIdleTimeout":        "--idle-timeout",
	"WithHandshakeTimeout":   "--handshake-timeout",
	"WithCloseTimeout":       "--close-timeout",
	"WithWriteTimeout":       "--write-timeout",
	"WithLifetime":           "--lifetime",
	"WithMaxConns":           "--max-conns",
	"WithMaxBackpressure":    "--max-backpressure",
	"WithBackpressurePolicy": "--backpressure-policy",
	"WithSessionQueue":       "--session-queue-messages, --session-queue-bytes",
	"WithReadBuffer":         "--read-buffer",
	"WithReusePort":          "--reuse-port",
	"WithProxyProtocol":      "--proxy-protocol",
	"Subprotocols":           "--subprotocols",

	"URL":      "--url",
	"Conns":    "--conns",
	"Payload":  "--payload",
	"InFlight": "--inflight",
	"Loops":    "--loops",

	"Subscribers": "--subscribers",
	"Publishers":  "--publishers",
	"NotReading":  "--not-reading",

	"PingInterval": "--ping-interval",
	"PingTimeout":  "--ping-timeout",
	"Tolerance":    "--tolerance",
	"Duration":     "--duration",
	"Echoes":       "--echoes",
	"Mute":         "--mute",
	"GOGC":         "--gogc",
}

// nameFlag says in terms of the command line what an option's error is about.
func nameFlag(err error) error {
	var option *engine.OptionError
	if errors.As(err, &option) && optionFlags[option.Option] != "" {
		return usageError{fmt.Errorf("%s: %s", optionFlags[option.Option], option.Reason)}
	}
	var config *bench.ConfigError
	if errors.As(err, &config) && optionFlags[config.Field] != "" {
		return usageError{fmt.Errorf("%s: %s", optionFlags[config.Field], config.Reason)}
	}
	return err
}
