//go:build linux

package main

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"

	"zeroframe/bench"
	"zeroframe/frame"
)

// variety is how many messages there are: with the smallest, 128 B, they are twice what the largest window holds, so that
// none is still there when it comes again.
const variety = 512

// messages are the JSON of one size, as such and as a client sends it.
type messages struct {
	size     int
	plain    [][]byte
	deflated [][]byte // each for itself, without the tail (RFC 7692, section 7.2.1)
	frames   map[bool][][]byte
}

const (
	tail   = "\x00\x00\xff\xff"
	ending = tail + "\x01\x00\x00\xff\xff" // an empty block that says that it is the last
)

// newMessages makes messages that are the same in every run. Clients compress at level 6, as zlib in browsers does.
func newMessages(size int) *messages {
	m := &messages{size: size, frames: make(map[bool][][]byte)}
	rnd := rand.New(rand.NewPCG(3, uint64(size)))
	var out bytes.Buffer
	w, _ := flate.NewWriter(&out, flate.DefaultCompression) // fails for other levels alone
	for range variety {
		plain := bench.Records(rnd, size)
		out.Reset()
		w.Reset(&out)
		w.Write(plain)
		w.Flush()
		deflated := bytes.Clone(bytes.TrimSuffix(out.Bytes(), []byte(tail)))
		m.plain, m.deflated = append(m.plain, plain), append(m.deflated, deflated)
		m.add(false, plain, rnd.Uint32())
		m.add(true, deflated, rnd.Uint32())
	}
	return m
}

func (m *messages) add(compressed bool, payload []byte, key uint32) {
	h := frame.Header{Fin: true, OpCode: frame.Text, Masked: true, Key: key, Length: int64(len(payload))}
	if compressed {
		h.RSV = frame.RSV1
	}
	m.frames[compressed] = append(m.frames[compressed], frame.AppendFrame(nil, h, payload))
}

// reply is a message as a server sent it.
type reply struct {
	compressed bool
	payload    []byte
}

// verify inflates the replies of one connection, with the standard library, and compares them with the messages from the
// first one on. With takeover they refer to what has been inflated before them.
func (m *messages) verify(replies []reply, first int, over bool) error {
	const window = 32 << 10
	var history []byte
	in := flate.NewReader(nil)
	got := make([]byte, m.size+1)
	for i, r := range replies {
		plain, want := r.payload, m.plain[(first+i)%variety]
		if r.compressed {
			source := io.MultiReader(bytes.NewReader(r.payload), bytes.NewReader([]byte(ending)))
			in.(flate.Resetter).Reset(source, history)
			n, err := io.ReadFull(in, got)
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				return fmt.Errorf("reply %d does not inflate to %d bytes: %d, %v", i, m.size, n, err)
			}
			if plain = got[:n]; over {
				history = append(history, plain...)
				history = history[max(0, len(history)-window):]
			}
		}
		if !bytes.Equal(plain, want) {
			return fmt.Errorf("reply %d of %d bytes is not the message of %d", i, len(plain), len(want))
		}
	}
	return nil
}
