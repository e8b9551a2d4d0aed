package frame_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"zeroframe/frame"
)

// event is what an observer of a stream sees of one frame.
type event struct {
	header  frame.Header
	payload string // unmasked, as far as it arrived
	last    bool
}

// outcome is what became of a stream. Streams that differ only in how they were
// cut must have the same.
type outcome struct {
	events    []event
	err       error
	consumed  int
	inFrame   bool
	remaining int64
}

func (o outcome) equal(other outcome) bool {
	return slices.Equal(o.events, other.events) && o.err == other.err && o.consumed == other.consumed &&
		o.inFrame == other.inFrame && o.remaining == other.remaining
}

func (o outcome) String() string {
	return fmt.Sprintf("%+v, err %v after %d, in frame %v, remaining %d", o.events, o.err, o.consumed, o.inFrame, o.remaining)
}

// reference decodes a whole buffer in the plainest way: it looks at every frame
// from its start, with the RFC's rules in the order in which the bytes arrive.
func reference(b []byte, r frame.Rules) (o outcome) {
	fragmented := false
	fail := func(at int, err error) outcome {
		o.err, o.consumed, o.inFrame = err, at+1, true
		return o
	}
	pos := 0
	for pos < len(b) {
		o.inFrame = true
		o.consumed = len(b)
		h := b[pos:]
		fin, rsv, op := h[0]>>7 == 1, h[0]&0x70, frame.OpCode(h[0]&15)
		control := op == frame.Close || op == frame.Ping || op == frame.Pong
		first := op == frame.Text || op == frame.Binary
		if !control && !first && op != frame.Continuation {
			return fail(pos, frame.ErrReservedOpCode)
		}
		for bit := byte(0x10); bit <= 0x40; bit <<= 1 {
			allowed := !control && r.RSV&bit != 0 || first && r.FirstRSV&bit != 0
			if rsv&bit != 0 && !allowed {
				return fail(pos, frame.ErrReservedBits)
			}
		}
		if control && !fin {
			return fail(pos, frame.ErrFragmentedControl)
		}
		if op == frame.Continuation && !fragmented {
			return fail(pos, frame.ErrStrayContinuation)
		}
		if first && fragmented {
			return fail(pos, frame.ErrInterleavedData)
		}
		if len(h) < 2 {
			return o
		}
		masked, short := h[1] >= 128, int64(h[1]%128)
		if !masked && r.Role == frame.Server {
			return fail(pos+1, frame.ErrUnmasked)
		}
		if masked && r.Role == frame.Client {
			return fail(pos+1, frame.ErrMasked)
		}
		if control && short > 125 {
			return fail(pos+1, frame.ErrControlTooLong)
		}
		length, size, least := short, 2, int64(0)
		switch short {
		case 126:
			size, least = 4, 126
		case 127:
			size, least = 10, 65536
			if len(h) > 2 && h[2] >= 128 {
				return fail(pos+2, frame.ErrLengthTopBit)
			}
		}
		if len(h) < size {
			return o
		}
		if size > 2 {
			length = 0
			for _, x := range h[2:size] {
				length = length*256 + int64(x)
			}
		}
		if length < least {
			return fail(pos+size-1, frame.ErrLengthNotMinimal)
		}
		if r.MaxFrame != 0 && length > r.MaxFrame {
			return fail(pos+size-1, frame.ErrFrameTooBig)
		}
		var key [4]byte
		if masked {
			if len(h) < size+4 {
				return o
			}
			size += copy(key[:], h[size:])
		}
		if !control {
			fragmented = !fin
		}
		e := event{header: frame.Header{Length: length, OpCode: op, RSV: rsv, Fin: fin, Masked: masked}}
		e.header.Key = uint32(key[0]) | uint32(key[1])<<8 | uint32(key[2])<<16 | uint32(key[3])<<24
		var payload []byte
		for i := 0; int64(i) < length && size+i < len(h); i++ {
			payload = append(payload, h[size+i]^key[i%4])
		}
		e.payload = string(payload)
		e.last = int64(len(payload)) == length
		o.events = append(o.events, e)
		if !e.last {
			o.remaining = length - int64(len(payload))
			return o
		}
		pos += size + len(payload)
		o.consumed, o.inFrame = pos, false
	}
	return o
}

// parse runs b through a Parser in pieces that end at the given cuts.
func parse(t *testing.T, b []byte, r frame.Rules, cuts ...int) (o outcome) {
	t.Helper()
	b = bytes.Clone(b)
	var p frame.Parser
	var c frame.Chunk
	inPayload := false
	for _, end := range append(cuts, len(b)) {
		for o.consumed < end && o.err == nil {
			n, err := p.Next(b[o.consumed:end], &r, &c)
			if c.Room > n-len(c.Payload) || c.Room > 0 && !c.First {
				t.Fatalf("room %d of %d before %d", c.Room, n, len(c.Payload))
			}
			o.consumed += n
			o.err = err
			if err != nil {
				break
			}
			if c.First == inPayload && (c.Last || len(c.Payload) > 0) {
				t.Fatalf("First = %v", c.First)
			}
			if c.First {
				o.events = append(o.events, event{header: c.Header})
				inPayload = true
			}
			if !inPayload {
				continue
			}
			e := &o.events[len(o.events)-1]
			if c.Header != e.header {
				t.Fatalf("header %+v became %+v", e.header, c.Header)
			}
			c.Unmask()
			e.payload += string(c.Payload)
			e.last = c.Last
			inPayload = !c.Last
		}
	}
	o.inFrame, o.remaining = p.InFrame(), p.Remaining()
	return o
}

// randomStream makes frames that mostly obey the rules and now and then break
// one, so that streams reach far and still fail in every way.
func randomStream(rnd *rand.Rand, r frame.Rules) []byte {
	sizes := []int{0, 1, 2, 5, 32, 124, 125, 126, 127, 300}
	var b []byte
	open := false
	for range 1 + rnd.IntN(6) {
		h := frame.Header{Fin: true, Masked: r.Role == frame.Server, Key: rnd.Uint32()}
		size := sizes[rnd.IntN(len(sizes))]
		if rnd.IntN(3) == 0 {
			h.OpCode = frame.Close + frame.OpCode(rnd.IntN(3))
			size = min(size, frame.MaxControlPayload)
		} else {
			h.OpCode = frame.Text + frame.OpCode(rnd.IntN(2))
			h.RSV = (r.RSV | r.FirstRSV) & byte(rnd.Uint32())
			if open {
				h.OpCode, h.RSV = frame.Continuation, r.RSV&byte(rnd.Uint32())
			}
			h.Fin = rnd.IntN(2) == 0
			open = !h.Fin
		}
		if !h.Masked {
			h.Key = 0
		}
		payload := make([]byte, size)
		for i := range payload {
			payload[i] = byte(rnd.Uint32())
		}
		start := len(b)
		b = frame.AppendFrame(b, h, payload)
		switch rnd.IntN(12) { // damage the header
		case 0, 1:
			b[start+rnd.IntN(min(10, len(b)-start))] ^= 1 << rnd.IntN(8)
		case 2:
			b[start+1] |= 126
		}
	}
	if !open && rnd.IntN(4) == 0 { // announce a long frame, by no means always well
		h := frame.Header{OpCode: frame.Binary, Fin: true, Masked: r.Role == frame.Server, Length: 1<<63 - 1}
		start := len(b)
		b = frame.AppendHeader(b, h)
		for i := range 8 {
			b[start+2+i] = byte(rnd.Uint32()) * byte(rnd.IntN(2))
		}
		b = append(b, "the beginning of it"...)
	}
	return b[:len(b)-rnd.IntN(min(8, len(b)))]
}

func TestEveryCutGivesWhatTheReferenceGives(t *testing.T) {
	rnd := rand.New(rand.NewPCG(6455, 7692))
	rulesets := []frame.Rules{
		{},
		{Role: frame.Client},
		{MaxFrame: 126, FirstRSV: frame.RSV1},
		{MaxFrame: 125, Role: frame.Client, RSV: frame.RSV2, FirstRSV: frame.RSV1},
	}
	rounds := 400
	if testing.Short() {
		rounds = 50
	}
	seen := map[error]int{}
	for round := range rounds {
		r := rulesets[round%len(rulesets)]
		b := randomStream(rnd, r)
		want := reference(b, r)
		seen[want.err]++
		check := func(cuts ...int) {
			if got := parse(t, b, r, cuts...); !got.equal(want) {
				t.Fatalf("rules %+v\nstream % x\ncuts %v\n got %v\nwant %v", r, b, cuts, got, want)
			}
		}
		check()
		for cut := range len(b) {
			check(cut)
		}
		every := make([]int, len(b))
		for i := range every {
			every[i] = i
		}
		check(every...)
		for range 20 {
			var cuts []int
			for at := rnd.IntN(12); at < len(b); at += 1 + rnd.IntN(12) {
				cuts = append(cuts, at)
			}
			check(cuts...)
		}
	}
	if !testing.Short() {
		for _, e := range allErrors[:11] { // those of headers
			if seen[e] == 0 {
				t.Errorf("no stream failed with %v", e)
			}
		}
	}
	if seen[nil] < rounds/10 {
		t.Errorf("only %d of %d streams were good", seen[nil], rounds)
	}
}
