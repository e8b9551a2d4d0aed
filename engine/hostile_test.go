package engine_test

import (
	"bytes"
	"runtime"
	"testing"

	"zeroframe/frame"
)

// Seven bytes on the wire must not cost a copy of all that came before them: a burst of tiny fragments behind a large
// one, above the sizes that the pools keep, would hold up the loop for minutes. The memory allocated tells of copies.
func TestTinyFragmentsBehindALargeOneCostNoCopyEach(t *testing.T) {
	const large, tiny = 1200 << 10, 1000
	s := onSocket(t)
	s.handle("/", replying())
	c := s.open("/")
	want := pattern(large)
	c.send(encode(false, frame.Binary, want))
	c.write(frame.Ping, nil) // its pong tells that the fragment has been taken
	if f := c.next(); f.op != frame.Pong {
		t.Fatalf("got %v, want a pong", f)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	c.send(bytes.Repeat(encode(false, frame.Continuation, []byte("x")), tiny))
	c.write(frame.Ping, nil)
	if f := c.next(); f.op != frame.Pong {
		t.Fatalf("got %v, want a pong", f)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 8*large {
		t.Errorf("%d fragments of a byte behind %d bytes: %d bytes allocated", tiny, large, got)
	}
	c.send(encode(true, frame.Continuation, nil))
	c.expect(frame.Binary, append(want, bytes.Repeat([]byte("x"), tiny)...))
}
