package interop

import (
	"bytes"
	"fmt"
	"testing"
)

// peer is a client of another library, as far as these tests use it.
type peer interface {
	subprotocol() string
	send(text bool, payload []byte) error
	// sendFragments sends a message in several frames, cut where the library cuts.
	sendFragments(text bool, parts ...[]byte) error
	// receive returns the next message, answering pings meanwhile.
	receive() (text bool, payload []byte, err error)
	// ping sends a ping and waits for its pong.
	ping(payload string) error
	// close sends a close frame, and returns the code and reason of the answer, as far as the library tells.
	close(code int, reason string) (gotCode int, gotReason string, err error)
	// awaitClose reads up to the server's close frame, answers it as the library does, and returns it.
	awaitClose() (code int, reason string, err error)
	drop()
}

// dialers are the libraries.
var dialers = []struct {
	name string
	dial func(url string, subprotocols ...string) (peer, error)
}{
	{"gorilla", dialGorilla},
	{"coder", dialCoder},
	{"gws", dialGWS},
	{"gobwas", dialGobwas},
}

// forEachPeer dials a server with each library, without and with TLS.
func forEachPeer(t *testing.T, path string, f func(t *testing.T, s *served, p peer)) {
	for i := range 2 * len(dialers) {
		d := dialers[i/2]
		name := d.name
		if i%2 == 1 {
			name += "/tls"
		}
		t.Run(name, func(t *testing.T) {
			s := serve(t)
			url := []string{s.url, s.wss}[i%2]
			p, err := d.dial(url+path, "v1", "v2")
			if err != nil {
				t.Fatal(err)
			}
			defer p.drop()
			if got := p.subprotocol(); got != "v2" {
				t.Errorf("subprotocol %q, want the server's first", got)
			}
			f(t, s, p)
		})
	}
}

var sizes = []int{0, 1, 125, 126, 65535, 65536, 1 << 20}

func (s *served) expectEcho(t *testing.T, p peer, text bool, want []byte) {
	t.Helper()
	gotText, got, err := p.receive()
	if err != nil || gotText != text || !bytes.Equal(got, want) {
		t.Fatalf("text %v, %d bytes, %v; want text %v, %d bytes", gotText, len(got), err, text, len(want))
	}
}

func TestEveryClientGetsItsEchoes(t *testing.T) {
	forEachPeer(t, "/echo", func(t *testing.T, s *served, p peer) {
		for _, n := range sizes {
			for _, text := range []bool{true, false} {
				if err := p.send(text, pattern(n)); err != nil {
					t.Fatal(err)
				}
				s.expectEcho(t, p, text, pattern(n))
			}
		}
		for i := range 50 { // several under way
			p.send(true, fmt.Appendf(nil, "pipelined %d", i))
		}
		for i := range 50 {
			s.expectEcho(t, p, true, fmt.Appendf(nil, "pipelined %d", i))
		}
		if err := p.send(true, []byte("grüße, 世界 🌍")); err != nil {
			t.Fatal(err)
		}
		s.expectEcho(t, p, true, []byte("grüße, 世界 🌍"))
	})
}

func TestEveryClientMaySendFragments(t *testing.T) {
	forEachPeer(t, "/echo", func(t *testing.T, s *served, p peer) {
		for _, text := range []bool{true, false} {
			parts := [][]byte{pattern(3000), pattern(1), pattern(70_000), pattern(200_000)}
			if err := p.sendFragments(text, parts...); err != nil {
				t.Fatal(err)
			}
			s.expectEcho(t, p, text, bytes.Join(parts, nil))
		}
	})
}

func TestEveryClientJoinsOurFragments(t *testing.T) {
	forEachPeer(t, "/scripted", func(t *testing.T, s *served, p peer) {
		if err := p.send(true, []byte("fragments one|two|three")); err != nil {
			t.Fatal(err)
		}
		s.expectEcho(t, p, true, []byte("onetwothree"))
		if err := p.send(true, []byte("fragments |x")); err != nil {
			t.Fatal(err)
		}
		s.expectEcho(t, p, true, []byte("x"))
	})
}

func TestEveryClientsPingIsAnswered(t *testing.T) {
	forEachPeer(t, "/echo", func(t *testing.T, s *served, p peer) {
		for _, payload := range []string{"", "are you there?", string(pattern(125))} {
			if err := p.ping(payload); err != nil {
				t.Fatalf("ping of %d bytes: %v", len(payload), err)
			}
		}
	})
}

func TestEveryClientAnswersOurPing(t *testing.T) {
	forEachPeer(t, "/scripted", func(t *testing.T, s *served, p peer) {
		for _, payload := range []string{"", "hello", string(pattern(125))} {
			if err := p.send(true, []byte("ping "+payload)); err != nil {
				t.Fatal(err)
			}
			if err := p.send(true, []byte("fragments "+payload)); err != nil {
				t.Fatal(err)
			}
			s.expectEcho(t, p, true, []byte(payload)) // while this is read, the ping is answered
			if got := within(t, s.pongs); got != payload {
				t.Errorf("pong %q, want %q", got, payload)
			}
			within(t, s.pongs) // of the ping between the fragments
		}
	})
}

var closes = []struct {
	code   int
	reason string
}{{1000, "done"}, {1000, ""}, {1001, "leaving"}, {1011, "oops"}, {3000, "registered"}, {4999, string(pattern(123))}}

func TestEveryClientsCloseIsEchoed(t *testing.T) {
	for _, tt := range closes {
		t.Run(fmt.Sprint(tt.code, tt.reason != ""), func(t *testing.T) {
			forEachPeer(t, "/echo", func(t *testing.T, s *served, p peer) {
				code, _, err := p.close(tt.code, tt.reason)
				if err != nil || code != tt.code {
					t.Errorf("the answer is %d, %v", code, err)
				}
				if r := within(t, s.closed); int(r.Code) != tt.code || r.Text != tt.reason || !r.Remote {
					t.Errorf("the server heard %+v, want %d %q", r, tt.code, tt.reason)
				}
			})
		})
	}
}

func TestEveryClientAnswersOurClose(t *testing.T) {
	for _, tt := range closes {
		t.Run(fmt.Sprint(tt.code, tt.reason != ""), func(t *testing.T) {
			forEachPeer(t, "/scripted", func(t *testing.T, s *served, p peer) {
				if err := p.send(true, fmt.Appendf(nil, "close %d %s", tt.code, tt.reason)); err != nil {
					t.Fatal(err)
				}
				if code, reason, err := p.awaitClose(); err != nil || code != tt.code || reason != tt.reason {
					t.Errorf("the client heard %d %q, %v; want %d %q", code, reason, err, tt.code, tt.reason)
				}
				p.drop()
				if r := within(t, s.closed); int(r.Code) != tt.code || r.Text != tt.reason || r.Remote || r.Err != nil {
					t.Errorf("the server ends with %+v, want %d %q", r, tt.code, tt.reason)
				}
			})
		})
	}
}
