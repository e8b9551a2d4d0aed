package bench

import (
	"fmt"
	"slices"

	"zeroframe/deflate"
)

// Compression is what a load found of permessage-deflate. Bytes are those of payloads, without headers of frames.
type Compression struct {
	Agreed int `json:"agreed"` // connections whose server agreed

	Sent        uint64  `json:"sent_bytes"`      // of the messages, as we made them
	SentWire    uint64  `json:"sent_wire_bytes"` // as they left: compressed, where that was shorter
	SentRatio   float64 `json:"sent_ratio"`      // Sent over SentWire; 1 when nothing was sent
	Echoed      uint64  `json:"echoed_bytes"`
	EchoedWire  uint64  `json:"echoed_wire_bytes"` // as they came from the server
	EchoedRatio float64 `json:"echoed_ratio"`
}

// squeezed counts what compression has taken off since Open: exact as soon as nothing is in flight.
type squeezed struct{ sent, received uint64 }

func (l *Load) squeezed() (q squeezed) {
	for _, lane := range l.lanes {
		s := lane.client.stats()
		q.sent += s.Deflated - s.DeflatedWire
		q.received += s.Inflated - s.InflatedWire
	}
	return q
}

// compression reports on a run, before which so much had been taken off; nil if none was wanted.
func (l *Load) compression(before squeezed) *Compression {
	if !l.config.Compress {
		return nil
	}
	c := new(Compression)
	for _, p := range l.peers {
		if w, ok := p.wire.(*socket); ok && slices.Contains(w.conn.Extensions(), deflate.Name) {
			c.Agreed++
		}
	}
	for _, lane := range l.lanes {
		c.Sent += lane.sent * uint64(l.config.Payload)
		c.Echoed += lane.echoes * uint64(l.config.Payload)
	}
	now := l.squeezed()
	c.SentWire, c.SentRatio = onWire(c.Sent, now.sent-before.sent)
	c.EchoedWire, c.EchoedRatio = onWire(c.Echoed, now.received-before.received)
	return c
}

// onWire returns what is left of bytes, and how many times less that is.
func onWire(bytes, less uint64) (left uint64, ratio float64) {
	left = bytes - min(less, bytes) // after errors more may have been compressed than came back
	if left == 0 {
		return 0, 1
	}
	return left, float64(bytes) / float64(left)
}

// String says it in a line.
func (c *Compression) String() string {
	if c.Agreed == 0 {
		return "declined by the server"
	}
	return fmt.Sprintf("permessage-deflate on %d connections; out %.1f MB as %.1f MB on the wire, %.2f : 1; back %.1f MB as %.1f MB, %.2f : 1",
		c.Agreed, float64(c.Sent)/1e6, float64(c.SentWire)/1e6, c.SentRatio, float64(c.Echoed)/1e6, float64(c.EchoedWire)/1e6, c.EchoedRatio)
}
