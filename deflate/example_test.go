package deflate_test

import (
	"errors"
	"fmt"
	"math"
	"strings"

	"zeroframe/deflate"
	"zeroframe/internal/utf8x"
)

// A loop has one of each, for all its connections.
func Example() {
	compressor, decompressor := new(deflate.Compressor), new(deflate.Decompressor)

	// What a connection keeps was negotiated; without context takeover it is nil.
	params := deflate.Params{ClientNoContextTakeover: true, ServerMaxWindowBits: 15, ClientMaxWindowBits: 15}
	sent := deflate.NewHistory(params.ServerHistory(deflate.DefaultHistory))
	received := deflate.NewHistory(params.ClientHistory(math.MaxInt))
	fmt.Println(sent != nil, received != nil)

	peer := deflate.NewHistory(params.ServerHistory(math.MaxInt))
	for range 2 {
		message := []byte(`{"type":"tick","symbol":"ZFR","price":101.25}`)
		setting := deflate.Setting{WindowBits: params.ServerMaxWindowBits}
		payload, ok := compressor.Shrink(nil, message, setting, sent)
		if !ok {
			continue // to be sent as it is, without RSV1
		}
		inflated, err := decompressor.Decompress(nil, payload, 1<<20, peer)
		fmt.Println(len(message), len(payload), string(inflated) == string(message), err)
	}
	// Output:
	// true false
	// 45 47 true <nil>
	// 45 4 true <nil>
}

// Text is validated as it is produced: a bad byte ends a long message at once.
func ExampleDecompressor_Step() {
	text := "valid up to here \xff" + strings.Repeat("never looked at ", 1<<20)
	message := new(deflate.Compressor).Compress(nil, []byte(text), deflate.Setting{}, nil)

	inflate := func(d *deflate.Decompressor, buf []byte) ([]byte, error) {
		if err := d.Start(message, 64<<20, nil); err != nil {
			return buf, err
		}
		var state utf8x.State
		for done := false; !done; {
			checked := len(buf)
			var err error
			if buf, done, err = d.Step(buf); err != nil {
				return buf, err
			}
			if !state.Next(buf[checked:]) {
				return buf, errors.New("invalid UTF-8")
			}
			if len(buf) == cap(buf) && !done { // or a larger buffer from a pool
				buf = append(make([]byte, 0, 2*cap(buf)), buf...)
			}
		}
		return buf, nil
	}
	out, err := inflate(new(deflate.Decompressor), make([]byte, 0, 4096))
	fmt.Println(len(out), err)
	// Output: 4096 invalid UTF-8
}
