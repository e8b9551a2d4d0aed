package peers

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	"github.com/gobwas/ws"
)

// patience bounds everything that a test waits for.
const patience = time.Minute

func TestMain(m *testing.M) {
	os.Setenv("GORACE", "atexit_sleep_ms=0") // or each process takes a second to end
	ServeIfChild()
	serveIfOther()
	os.Exit(m.Run())
}

// started is a server for as long as the test lasts; it must end as it should.
func started(t *testing.T, s *Server, o Options) *Process {
	t.Helper()
	p, err := s.Start(-1, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Stop(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// each runs a test on the servers for which that is asked, a subtest with the name of each.
func each(t *testing.T, servers []*Server, o Options, test func(t *testing.T, s *Server)) {
	for _, s := range servers {
		t.Run(s.Name, func(t *testing.T) {
			if raceDetector && strings.HasPrefix(s.Name, "nbio") {
				t.Skip("the race detector cannot see how nbio synchronises")
			}
			if err := s.Can(o); err != nil {
				t.Skip(err)
			}
			test(t, s)
		})
	}
}

// random makes bytes that are the same in every run.
func random(seed uint64, n int) []byte {
	rnd := rand.New(rand.NewPCG(seed, 7))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

// counted counts what comes.
type counted struct {
	net.Conn
	n *atomic.Int64
}

func (c counted) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.n.Add(int64(n))
	return n, err
}

// dialed is coder's client, and counts the bytes that come to it.
func dialed(t *testing.T, p *Process, certificate *Certificate, mode coder.CompressionMode) (*coder.Conn, *http.Response, *atomic.Int64) {
	t.Helper()
	received := new(atomic.Int64)
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, addr)
		return counted{c, received}, err
	}}
	if certificate != nil {
		transport.TLSClientConfig = certificate.Client()
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, response, err := coder.Dial(ctx, p.URL, &coder.DialOptions{
		HTTPClient: &http.Client{Transport: transport}, CompressionMode: mode, CompressionThreshold: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(-1)
	t.Cleanup(func() { c.CloseNow() })
	return c, response, received
}

// exchange sends a message and wants it back.
func exchange(c *coder.Conn, kind coder.MessageType, message []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	sent := make(chan error, 1)
	go func() { sent <- c.Write(ctx, kind, message) }()
	k, got, err := c.Read(ctx)
	if err == nil {
		err = <-sent
	}
	if err == nil && (k != kind || !bytes.Equal(got, message)) {
		err = fmt.Errorf("%d bytes, %v, came for %d bytes, %v", len(got), k, len(message), kind)
	}
	return err
}

// wire is a WebSocket whose frames are made by hand.
type wire struct {
	net.Conn
	in io.Reader
}

func wired(t *testing.T, p *Process) *wire {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c, rest, _, err := ws.Dial(ctx, p.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	w := &wire{c, c}
	if rest != nil {
		w.in = io.MultiReader(rest, c)
	}
	return w
}

// masked is a frame of a client's.
func masked(f ws.Frame) []byte { return ws.MustCompileFrame(ws.MaskFrame(f)) }

// message reads the frames of one.
func (w *wire) message() (op ws.OpCode, payload []byte, err error) {
	for {
		h, err := ws.ReadHeader(w.in)
		if err != nil {
			return 0, nil, err
		}
		if h.Masked || h.Rsv != 0 || h.Length > 1<<30 {
			return 0, nil, fmt.Errorf("a frame with header %+v", h)
		}
		if h.OpCode != ws.OpContinuation {
			op = h.OpCode
		}
		piece := make([]byte, h.Length)
		if _, err := io.ReadFull(w.in, piece); err != nil {
			return 0, nil, err
		}
		if payload = append(payload, piece...); h.Fin {
			return op, payload, nil
		}
	}
}

// want reads a message that is to be this one.
func (w *wire) want(op ws.OpCode, payload []byte) error {
	gotOp, got, err := w.message()
	if err == nil && (gotOp != op || !bytes.Equal(got, payload)) {
		err = fmt.Errorf("opcode %d with %d bytes came for opcode %d with %d bytes", gotOp, len(got), op, len(payload))
	}
	return err
}
