package fuzz

import (
	"bytes"
	stdflate "compress/flate"
	"io"
	"slices"
	"testing"

	"github.com/klauspost/compress/flate"

	"zeroframe/deflate"
)

const (
	deflateTail    = "\x00\x00\xff\xff"
	deflateClosing = deflateTail + "\x01\x00\x00\xff\xff"
)

// inflation is a message to be judged by readers that are not ours.
type inflation struct {
	message, dict []byte
	window        int // of the history, or 0
	limit         int
}

// verdict is what a reader makes of a message.
type verdict int

const (
	isWhole verdict = iota
	isTooLong
	isRefused
	// isUnclear is what compress/flate takes for whole, but ours need not: it
	// reads a few bits ahead, and so finds the tail among the data.
	isUnclear
)

// whole checks what ours made of the message, whole.
func (in inflation) whole(t *testing.T, got []byte, err error) {
	if len(in.message) > in.limit+in.limit/8+1024 {
		if err != deflate.ErrTooBig {
			t.Fatalf("%d bytes, at most %d inflated: %v", len(in.message), in.limit, err)
		}
		return
	}
	for name, newReader := range map[string]func(io.Reader, []byte) io.ReadCloser{
		"compress/flate": stdflate.NewReaderDict, "klauspost's": flate.NewReaderDict,
	} {
		want, v := in.by(newReader)
		switch {
		case v == isWhole && err == nil && bytes.Equal(got, want):
		case v == isTooLong && err == deflate.ErrTooBig:
		case v == isTooLong && err == deflate.ErrCorrupt && in.bothFaults():
		case v == isRefused && err == deflate.ErrCorrupt:
		case name == "compress/flate" && v == isRefused:
			// A symbol by the empty code of a block behind others is taken by ours, as
			// by all that read with klauspost's, which tells what it is.
		case name == "compress/flate" && v == isUnclear && err == deflate.ErrCorrupt:
		default:
			t.Fatalf("%q, %v; %s: %q, verdict %d", got, err, name, want, v)
		}
	}
}

// bothFaults reports whether the message is refused when it may be longer than
// any reader looks ahead, or so long that it is not looked at.
func (in inflation) bothFaults() bool {
	if len(in.message) > in.limit+in.limit/8+1024 {
		return true
	}
	in.limit += 64 << 10
	_, v := in.by(flate.NewReaderDict)
	return v == isRefused
}

// by inflates up to one byte beyond the limit with a new reader for each final
// block, going on behind them as often as ours does. Like ours it takes a message
// that ends with one, and refuses what takes the tail for data.
func (in inflation) by(newReader func(io.Reader, []byte) io.ReadCloser) (out []byte, v verdict) {
	window := in.window
	if window == 0 {
		window = 32768
	}
	src := bytes.NewReader(slices.Concat(in.message, []byte(deflateClosing)))
	all := src.Len()
	unclear := false
	text := slices.Clone(in.dict)
	b := make([]byte, 4<<10)
	for finals := 0; finals <= 64+(all-src.Len())/64; finals++ {
		r := newReader(src, text[max(0, len(text)-window):])
		for {
			n, err := r.Read(b[:min(len(b), in.limit+1-len(out))])
			out, text = append(out, b[:n]...), append(text, b[:n]...)
			left := src.Len()
			switch {
			case len(out) > in.limit:
				return out, isTooLong
			case n > 0 && left < len(deflateClosing)-len(deflateTail):
				return out, isRefused // the tail has come out
			}
			unclear = unclear || n > 0 && left < len(deflateClosing) && left != len(deflateClosing)-len(deflateTail)
			if err == io.EOF {
				break
			} else if err != nil {
				return out, isRefused
			}
		}
		switch left := src.Len(); {
		case left == len(deflateClosing)-len(deflateTail) && bytes.HasSuffix(out, []byte(deflateTail)):
			return out, isRefused
		case left == 0 && unclear:
			return out, isUnclear
		case left == 0, left == len(deflateClosing), left == len(deflateClosing)-len(deflateTail):
			return out, isWhole
		case left < len(deflateClosing):
			return out, isRefused
		}
	}
	return out, isRefused // more final blocks than are allowed
}
