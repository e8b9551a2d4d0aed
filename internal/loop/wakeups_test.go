//go:build unix

package loop_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"zeroframe/internal/loop"
)

// hesitant echoes what it gets. It pauses by chance, to be resumed from anywhere, and when its peer does not take the
// answers; reads go by chance to a target of its own, of odd sizes; and it ends when its peer has.
type hesitant struct {
	*probe
	rnd    *rand.Rand
	target []byte
	ended  bool
	full   bool // paused until the queue is short
}

func newHesitant(t *testing.T, seed uint64) *hesitant {
	h := &hesitant{probe: newProbe(t), rnd: rand.New(rand.NewPCG(seed, 1)), target: make([]byte, 8<<10)}
	h.onTarget = func() []byte { return h.target[:1+h.rnd.IntN(len(h.target))] }
	h.onOpened = func() {
		if h.rnd.IntN(2) == 0 {
			h.rest()
		}
	}
	h.onData = func(b []byte) {
		h.send(b)
		h.ReadDirect(h.rnd.IntN(3) == 0)
		if h.full = h.Queued() > 32<<10; h.full {
			h.PauseReading()
		} else if h.rnd.IntN(4) == 0 {
			h.rest()
		}
	}
	h.onMail = func(loop.Mail) {
		if !h.full {
			h.ResumeReading()
		}
	}
	h.onWritten = func(queued int) {
		if h.full && queued < 8<<10 {
			h.full = false
			h.ResumeReading()
		}
		h.end(queued)
	}
	h.onEOF = func() {
		h.ended = true
		h.Flush()
		if h.IsOpen() {
			h.end(h.Queued())
		}
	}
	return h
}

// rest pauses until the next turn, or until a goroutine's.
func (h *hesitant) rest() {
	h.PauseReading()
	switch h.rnd.IntN(3) {
	case 0:
		h.ResumeReading()
	case 1:
		h.Notify(loop.MailUser)
	case 2:
		go h.Notify(loop.MailUser)
	}
}

func (h *hesitant) end(queued int) {
	if h.ended && queued == 0 {
		h.Close(nil)
	}
}

// converse writes all in pieces of any size, ends its direction, and expects all back and then the end. Its buffers in the
// kernel are small, so that both directions stop now and then.
func converse(c net.Conn, all []byte, seed uint64) error {
	rnd := rand.New(rand.NewPCG(seed, 2))
	if c, ok := c.(interface {
		SetReadBuffer(int) error
		SetWriteBuffer(int) error
	}); ok && rnd.IntN(2) == 0 {
		c.SetReadBuffer(16 << 10) // below some segments' size TCP waits for its timers
		c.SetWriteBuffer(16 << 10)
	}
	written := make(chan error, 1)
	go func() {
		rnd := rand.New(rand.NewPCG(seed, 3))
		for rest := all; len(rest) > 0; {
			n := min(1+rnd.IntN(1<<rnd.IntN(16)), len(rest))
			if _, err := c.Write(rest[:n]); err != nil {
				written <- err
				return
			}
			rest = rest[n:]
			hesitate(rnd)
		}
		written <- c.(interface{ CloseWrite() error }).CloseWrite()
	}()
	got, buf := make([]byte, 0, len(all)), make([]byte, 16<<10)
	for {
		n, err := c.Read(buf[:1+rnd.IntN(len(buf))])
		got = append(got, buf[:n]...)
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("after %d bytes: %w", len(got), err)
		}
		hesitate(rnd)
	}
	if !bytes.Equal(got, all) {
		return fmt.Errorf("%d bytes of %d, or others", len(got), len(all))
	}
	return <-written
}

func hesitate(rnd *rand.Rand) {
	switch rnd.IntN(8) {
	case 0:
		runtime.Gosched()
	case 1:
		for end := time.Now().Add(time.Duration(rnd.IntN(50)) * time.Microsecond); time.Now().Before(end); {
		}
	}
}

// Whatever comes between two looks at a descriptor, it is noticed: data, the end, room for more. Bytes of which no event
// told would be waited for in vain.
func TestNoWakeUpIsLost(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = filepath.Join(t.TempDir(), "s")
			}
			ln, err := net.Listen(network, address)
			if err != nil {
				t.Fatal(err)
			}
			var seed uint64 // of the loop that accepts
			w := start(t, loop.Config{Loops: 2, ReadBuffer: 4 << 10, NewConn: func(func()) *loop.Conn {
				seed++
				return &newHesitant(t, seed).Conn
			}})
			served := make(chan error, 1)
			go func() { served <- w.Serve(ln, nil, nil) }()
			var clients sync.WaitGroup
			for i := range uint64(24) {
				clients.Go(func() {
					c, err := net.Dial(network, ln.Addr().String())
					if err != nil {
						t.Error(err)
						return
					}
					defer c.Close()
					c.SetDeadline(time.Now().Add(patience))
					if err := converse(c, numbered(1+int(i*7919)%(200<<10)), i); err != nil {
						t.Errorf("client %d: %v", i, err)
					}
				})
			}
			clients.Wait()
			if !soon(func() bool { return w.Len() == 0 }) {
				t.Errorf("%d connections have not noticed their end", w.Len())
			}
			w.Close()
			within(t, served)
		})
	}
}
