package interop

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// tap passes connections on to a server and sees what is on the wire, whatever either side says of it.
type tap struct {
	url              string
	toServer, toPeer atomic.Int64 // bytes
	answers          chan string  // Sec-WebSocket-Extensions of each answer, "" for none
}

// tapOn returns a tap of the server at address until the test ends.
func tapOn(t *testing.T, address string) *tap {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &tap{url: "ws://" + ln.Addr().String(), answers: make(chan string, 100)}
	var open sync.WaitGroup
	var mu sync.Mutex
	var conns []net.Conn
	pass := func(to, from net.Conn, see io.Writer) {
		io.Copy(struct{ io.Writer }{to}, io.TeeReader(from, see))
		if c, ok := to.(*net.TCPConn); ok {
			c.CloseWrite()
		}
	}
	open.Go(func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", address)
			if err != nil {
				near.Close()
				continue
			}
			mu.Lock()
			conns = append(conns, near, far)
			mu.Unlock()
			open.Go(func() { pass(far, near, counter{&w.toServer}) })
			open.Go(func() { pass(near, far, io.MultiWriter(counter{&w.toPeer}, &headReader{answers: w.answers})) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		open.Wait()
	})
	return w
}

type counter struct{ n *atomic.Int64 }

func (c counter) Write(p []byte) (int, error) {
	c.n.Add(int64(len(p)))
	return len(p), nil
}

// headReader reads the head of an answer and no more.
type headReader struct {
	head    []byte
	done    bool
	answers chan<- string
}

func (h *headReader) Write(p []byte) (int, error) {
	if h.done {
		return len(p), nil
	}
	h.head = append(h.head, p...)
	head, _, whole := bytes.Cut(h.head, []byte("\r\n\r\n"))
	if !whole {
		return len(p), nil
	}
	h.done, h.head = true, nil
	var extensions []string
	for line := range strings.SplitSeq(string(head), "\r\n") {
		if name, value, ok := strings.Cut(line, ":"); ok && http.CanonicalHeaderKey(name) == "Sec-Websocket-Extensions" {
			extensions = append(extensions, strings.TrimSpace(value))
		}
	}
	h.answers <- strings.Join(extensions, ", ")
	return len(p), nil
}
