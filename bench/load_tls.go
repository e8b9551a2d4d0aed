package bench

import (
	"crypto/tls"
	"fmt"
	"strings"
	"sync"
	"time"
)

// TLS is what a load found of the handshakes with which its connections were opened.
type TLS struct {
	Handshakes uint64        `json:"handshakes"`
	Resumed    uint64        `json:"resumed"` // of them, those that went on with a session of one before
	Version    string        `json:"version"` // of the first
	Suite      string        `json:"cipher_suite"`
	Opening    time.Duration `json:"opening_ns"` // from the first dial until all connections were open, 64 at a time
}

// String writes what was agreed, and how long it took.
func (t *TLS) String() string {
	return fmt.Sprintf("%s with %s, %s handshakes in %v, %s of them resumed",
		t.Version, t.Suite, grouped(t.Handshakes), t.Opening.Round(time.Millisecond), grouped(t.Resumed))
}

// handshakes counts those of a load.
type handshakes struct {
	sync.Mutex
	TLS
}

// counting returns a copy of c whose handshakes are counted.
func (h *handshakes) counting(c *tls.Config) *tls.Config {
	if c = c.Clone(); c == nil {
		c = new(tls.Config)
	}
	verify := c.VerifyConnection
	c.VerifyConnection = func(state tls.ConnectionState) error {
		if verify != nil {
			if err := verify(state); err != nil {
				return err
			}
		}
		h.made(state)
		return nil
	}
	return c
}

func (h *handshakes) made(state tls.ConnectionState) {
	h.Lock()
	defer h.Unlock()
	if h.Handshakes == 0 {
		h.Version, h.Suite = tls.VersionName(state.Version), tls.CipherSuiteName(state.CipherSuite)
	}
	h.Handshakes++
	if state.DidResume {
		h.Resumed++
	}
}

// reset forgets what has been counted.
func (h *handshakes) reset() {
	h.Lock()
	defer h.Unlock()
	h.TLS = TLS{}
}

// found returns what is reported; nil without TLS.
func (h *handshakes) found(url string) *TLS {
	if !strings.HasPrefix(url, "wss") {
		return nil
	}
	h.Lock()
	defer h.Unlock()
	found := h.TLS
	return &found
}
