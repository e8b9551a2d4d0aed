package main

import (
	"fmt"
	"strconv"

	"zeroframe/deflate"
	"zeroframe/engine"
)

// level is a flag's value for how hard to compress: 1 to 9, or a name.
type level deflate.Level

var levelNames = map[string]deflate.Level{
	"stateless": deflate.Stateless,
	"huffman":   deflate.HuffmanOnly,
}

// UnmarshalText is called for what the command line says.
func (l *level) UnmarshalText(b []byte) error {
	if named, ok := levelNames[string(b)]; ok {
		*l = level(named)
		return nil
	}
	n, err := strconv.Atoi(string(b))
	if err != nil || n < int(deflate.FastestLevel) || n > int(deflate.BestLevel) {
		return fmt.Errorf("%q is not 1 to 9, stateless or huffman", b)
	}
	*l = level(n)
	return nil
}

// compressFlags are those of serve for permessage-deflate.
type compressFlags struct {
	Compress          string `enum:"off,no-takeover,takeover" default:"off" help:"Agree to permessage-deflate where peers offer it: not at all (off), each message for itself (no-takeover), or with the messages before it, in both directions (takeover)."`
	CompressLevel     level  `default:"1" help:"How hard to compress: 1 (fastest) to 9 (best), stateless or huffman."`
	CompressThreshold size   `default:"${compress_threshold}" help:"Smallest message that is compressed; 0: every one."`
	WindowBits        int    `default:"15" help:"Bound the windows, in both directions, to so many bits, 8 to 15: to 256 bytes to 32 KiB."`
}

// option returns what the flags come to; nil without compression.
func (f *compressFlags) option() (engine.Setting, error) {
	if f.WindowBits < deflate.MinWindowBits || f.WindowBits > deflate.MaxWindowBits {
		return nil, usageError{fmt.Errorf("--window-bits: %d is not between %d and %d", f.WindowBits, deflate.MinWindowBits, deflate.MaxWindowBits)}
	}
	if f.Compress == "off" {
		return nil, nil
	}
	takeover := f.Compress == "takeover"
	threshold := f.CompressThreshold.int()
	if threshold == 0 {
		threshold = -1 // the engine takes 0 for its default
	}
	return engine.WithCompression(engine.Compression{
		TakeoverOut: takeover, TakeoverIn: takeover,
		WindowBitsOut: f.WindowBits, WindowBitsIn: f.WindowBits,
		Level: deflate.Level(f.CompressLevel), Threshold: threshold,
	}), nil
}
