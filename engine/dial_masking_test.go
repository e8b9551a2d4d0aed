package engine_test

import (
	"math/bits"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// RFC 6455, section 5.3: keys come from a strong source of entropy, and a key tells nothing of the next.
func TestMaskingKeysAreEvenlySpreadAndNeverRepeated(t *testing.T) {
	s, p := bare(t, engine.WithPingInterval(0)), newPeer(t)
	const frames = 3000
	seen := map[uint32]int{}
	var ones, flips [32]int
	total := 0
	for range 2 { // connections, of which neither tells anything of the other
		done := make(chan *engine.Conn, 1)
		go func() { done <- s.dialURL(p.url("/"), newDialed()) }()
		c, _ := p.accept(switching + "\r\n")
		conn := within(t, done)
		go func() {
			for range frames {
				conn.Send(frame.Binary, []byte{1})
			}
		}()
		last := uint32(0)
		for range frames {
			_, key := c.readMasked()
			seen[key]++
			for b := range 32 {
				ones[b] += int(key >> b & 1)
				flips[b] += int((key ^ last) >> b & 1)
			}
			total += bits.OnesCount32(key ^ last)
			last = key
		}
		c.Close()
	}
	if repeated := 2*frames - len(seen); repeated > 2 { // 0.004 are to be expected
		t.Errorf("%d of %d keys came before", repeated, 2*frames)
	}
	for b := range 32 { // a standard deviation is 39
		if off := max(ones[b]-frames, frames-ones[b], flips[b]-frames, frames-flips[b]); off > 300 {
			t.Errorf("bit %d is set in %d keys of %d, and differs from the last key's in %d", b, ones[b], 2*frames, flips[b])
		}
	}
	if mean := float64(total) / (2 * frames); mean < 15.5 || mean > 16.5 {
		t.Errorf("%.2f bits differ from key to key", mean)
	}
}
