package peers

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"
)

// webSockets are the servers that echo messages.
var webSockets = slices.Concat(Servers, Variants)

func TestServersSendBackBinaryAndTextOfEverySize(t *testing.T) {
	each(t, webSockets, Options{}, func(t *testing.T, s *Server) {
		c, _, _ := dialed(t, started(t, s, Options{}), nil, coder.CompressionDisabled)
		sizes := []int{0, 1, 125, 126, 1000, 65535, 65536, 100_000, 1 << 20}
		if losesEmpty(s) {
			sizes = sizes[1:]
		}
		for _, size := range sizes {
			if err := exchange(c, coder.MessageBinary, random(1, size)); err != nil {
				t.Fatalf("binary, %d bytes: %v", size, err)
			}
			if err := exchange(c, coder.MessageText, []byte(strings.Repeat("世界 and the rest. ", size/20)+"!")); err != nil {
				t.Fatalf("text, %d bytes: %v", size, err)
			}
		}
	})
}

// losesEmpty reports whether a server does not tell its user of empty messages.
func losesEmpty(s *Server) bool { return strings.HasPrefix(s.Name, "nbio") }

func TestServersSendBackPipelinedMessagesInOrder(t *testing.T) {
	each(t, webSockets, Options{}, func(t *testing.T, s *Server) {
		p := started(t, s, Options{Size: 32})
		for _, size := range []int{32, 5000, 20_000} {
			w := wired(t, p)
			var out []byte
			const count = 200
			for i := range uint64(count) {
				out = append(out, masked(ws.NewBinaryFrame(random(i, size)))...)
			}
			sent := make(chan error, 1)
			go func() { _, err := w.Write(out); sent <- err }()
			for i := range uint64(count) {
				if err := w.want(ws.OpBinary, random(i, size)); err != nil {
					t.Fatalf("message %d of %d bytes: %v", i, size, err)
				}
			}
			if err := <-sent; err != nil {
				t.Error(err)
			}
		}
	})
}

// Each piece is a segment of its own: TCP_NODELAY is set, as Go does. That the server reads each alone is likely, and
// not needed for the test to hold.
func TestServersPutMessagesTogetherThatComeInPieces(t *testing.T) {
	each(t, webSockets, Options{}, func(t *testing.T, s *Server) {
		w := wired(t, started(t, s, Options{}))
		var out []byte
		sizes := []int{0, 5, 130, 70_000}
		if losesEmpty(s) {
			sizes = sizes[1:]
		}
		for i, size := range sizes {
			out = append(out, masked(ws.NewBinaryFrame(random(uint64(i), size)))...)
		}
		sent := make(chan error, 1)
		go func() {
			for at, i := 0, 0; at < len(out); i++ {
				n := min(1+i%3, len(out)-at)
				if at > 1000 {
					n = min(1000+i, len(out)-at)
				}
				if _, err := w.Write(out[at : at+n]); err != nil {
					sent <- err
					return
				}
				at += n
			}
			sent <- nil
		}()
		for i, size := range sizes {
			if err := w.want(ws.OpBinary, random(uint64(i), size)); err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
	})
}

func TestServersPutFragmentsTogetherAndAnswerPings(t *testing.T) {
	each(t, webSockets, Options{}, func(t *testing.T, s *Server) {
		w := wired(t, started(t, s, Options{}))
		w.Write(masked(ws.NewPingFrame([]byte("there?"))))
		if err := w.want(ws.OpPong, []byte("there?")); err != nil {
			t.Fatal(err)
		}
		w.Write(slices.Concat(masked(ws.NewFrame(ws.OpText, false, []byte("a mes"))), masked(ws.NewFrame(ws.OpContinuation, false, []byte("sa"))),
			masked(ws.NewFrame(ws.OpContinuation, true, []byte("ge")))))
		if err := w.want(ws.OpText, []byte("a message")); err != nil {
			t.Error(err)
		}
	})
}

func TestServersCloseWhenTheyAreAskedTo(t *testing.T) {
	each(t, webSockets, Options{}, func(t *testing.T, s *Server) {
		w := wired(t, started(t, s, Options{}))
		w.Write(masked(ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusNormalClosure, ""))))
		op, _, err := w.message()
		if err == nil && op != ws.OpClose {
			t.Errorf("opcode %d came", op)
		}
		if _, err := io.Copy(io.Discard, w.in); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the connection stays open")
		}
	})
}

func TestServersEchoOverTLS(t *testing.T) {
	certificate, err := NewCertificate(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Pair: certificate.Pair, Size: 1 << 20}
	each(t, webSockets, o, func(t *testing.T, s *Server) {
		p := started(t, s, o)
		if !strings.HasPrefix(p.URL, "wss://") {
			t.Error(p.URL)
		}
		c, _, _ := dialed(t, p, certificate, coder.CompressionDisabled)
		for _, size := range []int{10, 50_000, 1 << 20} {
			if err := exchange(c, coder.MessageBinary, random(2, size)); err != nil {
				t.Fatalf("%d bytes: %v", size, err)
			}
		}
	})
}

func TestServersCompressInTheModesThatTheyClaim(t *testing.T) {
	message := []byte(strings.Repeat("a message that is worth compressing, and then again; ", 100))
	for mode, clients := range map[Mode]coder.CompressionMode{
		Off: coder.CompressionNoContextTakeover, NoTakeover: coder.CompressionNoContextTakeover, Takeover: coder.CompressionContextTakeover,
	} {
		t.Run(string(mode), func(t *testing.T) {
			o := Options{Mode: mode, Size: len(message)}
			each(t, webSockets, o, func(t *testing.T, s *Server) {
				c, response, received := dialed(t, started(t, s, o), nil, clients)
				agreed := response.Header.Get("Sec-WebSocket-Extensions")
				if strings.HasPrefix(agreed, "permessage-deflate") != (mode != Off) {
					t.Fatalf("agreed on %q", agreed)
				}
				if strings.Contains(agreed, "server_no_context_takeover") != (mode == NoTakeover) {
					t.Errorf("agreed on %q", agreed)
				}
				var sizes []int64
				for range 3 {
					before := received.Load()
					if err := exchange(c, coder.MessageText, message); err != nil {
						t.Fatal(err)
					}
					sizes = append(sizes, received.Load()-before)
				}
				if small := sizes[2] < int64(len(message))/2; small != (mode != Off) {
					t.Errorf("replies to %d bytes are of %d", len(message), sizes)
				}
				if less := sizes[2] < sizes[0]; less != (mode == Takeover) {
					t.Errorf("replies to %d bytes are of %d", len(message), sizes)
				}
			})
		})
	}
}

// Nothing is read until the sockets and the server hold all that they take: writes of the server's take a part then, or
// nothing.
func TestBoundsSendBackBytesWhateverTheSocketsTake(t *testing.T) {
	each(t, Bounds, Options{}, func(t *testing.T, s *Server) {
		p := started(t, s, Options{})
		if want := fmt.Sprintf("tcp://%v/", p.Addr); p.URL != want {
			t.Errorf("%s, not %s", p.URL, want)
		}
		c, err := net.Dial("tcp4", p.Addr.String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		out := random(3, 32<<20)
		c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
		taken, err := c.Write(out)
		if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(patience))
		sent := make(chan error, 1)
		go func() { _, err := c.Write(out[taken:]); sent <- err }()
		got := make([]byte, len(out))
		if n, err := io.ReadFull(c, got); err != nil {
			t.Fatalf("%d bytes came, %v", n, err)
		}
		if err := <-sent; err != nil || !bytes.Equal(got, out) {
			t.Errorf("what came back differs, or %v", err)
		}
		c.(*net.TCPConn).CloseWrite()
		if n, err := c.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Errorf("%d, %v behind the end", n, err)
		}
	})
}

func TestServersSayWhatTheyCannotDo(t *testing.T) {
	find := func(name string) *Server {
		s, err := Find(All(), name)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, tt := range []struct {
		server string
		o      Options
	}{
		{"gobwas", Options{Pair: "pair.pem"}},
		{"gobwas", Options{Mode: NoTakeover}},
		{"gorilla", Options{Mode: Takeover}},
		{"coder", Options{Work: Topic}},
		{"tcp-net", Options{Work: Topic}},
		{"tcp-c", Options{Pair: "pair.pem"}},
		{"tcp-gnet", Options{Mode: Takeover}},
	} {
		if err := find(tt.server).Can(tt.o); err == nil {
			t.Errorf("%s takes %+v", tt.server, tt.o)
		}
		if _, err := find(tt.server).Start(-1, tt.o); err == nil {
			t.Errorf("%s starts with %+v", tt.server, tt.o)
		}
	}
}
