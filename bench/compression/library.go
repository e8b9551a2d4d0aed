//go:build linux

package main

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"github.com/klauspost/compress/flate"

	"zeroframe/bench/peers"
	"zeroframe/deflate"
)

// libraryTime is how long the library is measured at a time.
const libraryTime = 100 * time.Millisecond

// measureLibrary takes the time that inflating what the client sends and compressing the answer takes by itself: with
// klauspost's flate, which all of it stands on, and with package deflate.
func (c *cell) measureLibrary() {
	if c.mode == peers.Off {
		return
	}
	c.flate = append(c.flate, perMessage(flateEcho(c.messages, c.mode == peers.Takeover)))
	c.own = append(c.own, perMessage(ownEcho(c.messages, c.mode == peers.Takeover)))
}

// perMessage calls echo with one message after the other.
func perMessage(echo func(i int)) time.Duration {
	for i := range variety { // fills the buffers and the history
		echo(i)
	}
	n, begin := 0, time.Now()
	for time.Since(begin) < libraryTime {
		for range 16 {
			echo(n % variety)
			n++
		}
	}
	return time.Since(begin) / time.Duration(n)
}

func must(err error) {
	if err != nil {
		panic(fmt.Sprint("compressing in memory: ", err))
	}
}

// flateEcho hands the newest 4 KiB of what was sent to the writer as its dictionary, as package deflate's default history
// has them.
func flateEcho(m *messages, over bool) func(int) {
	var source bytes.Reader
	in := flate.NewReader(&source)
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestSpeed)
	must(err)
	plain, ended := make([]byte, m.size), make([][]byte, variety)
	for i, d := range m.deflated {
		ended[i] = append(bytes.Clone(d), ending...)
	}
	var history []byte
	return func(i int) {
		source.Reset(ended[i])
		must(in.(flate.Resetter).Reset(&source, nil))
		_, err := io.ReadFull(in, plain)
		must(err)
		out.Reset()
		w.ResetDict(&out, history)
		_, err = w.Write(plain)
		must(err)
		must(w.Flush())
		if over {
			history = append(history, plain...)
			if extra := len(history) - deflate.DefaultHistory; extra > 0 {
				history = history[:copy(history, history[extra:])]
			}
		}
	}
}

func ownEcho(m *messages, over bool) func(int) {
	var in deflate.Decompressor
	var out deflate.Compressor
	var h *deflate.History
	if over {
		h = deflate.NewHistory(deflate.DefaultHistory)
	}
	plain, reply := make([]byte, 0, m.size), make([]byte, 0, m.size+64)
	return func(i int) {
		var err error
		plain, err = in.Decompress(plain[:0], m.deflated[i], m.size, nil)
		must(err)
		reply = out.Compress(reply[:0], plain, deflate.Setting{}, h)
	}
}
