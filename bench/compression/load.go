//go:build linux

package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"zeroframe/bench/peers"
	"zeroframe/deflate"
	"zeroframe/frame"
)

// load is a client that does as little as possible for a message: it sends one of the frames that are there, and counts
// the bytes that come back up to the end of the reply. One goroutine, one epoll. It looks into none but the replies of
// its first connection, which it keeps.
type load struct {
	messages *messages
	frames   [][]byte
	mode     peers.Mode
	epoll    int
	conns    []*conn
	events   []unix.EpollEvent
	buf      []byte
	pending  int  // connections with a message in flight
	going    bool // a reply is followed by the next message
	quota    int  // how many messages a connection may send; negative: no bound
	received uint64
	wire     uint64 // bytes of replies, headers included
	kept     []reply
}

// conn is one connection.
type conn struct {
	fd      int
	next    int // the message to send
	sent    int
	head    [10]byte
	have    int    // bytes of head
	left    uint64 // of the frame's payload
	inFrame bool
	fin     bool
	begun   bool // a frame of the message came before
	keep    bool
}

func newLoad(m *messages, mode peers.Mode) (*load, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	return &load{
		messages: m, mode: mode, frames: m.frames[mode != peers.Off],
		epoll: epoll, events: make([]unix.EpollEvent, 128), buf: make([]byte, 256<<10),
	}, err
}

func (l *load) close() {
	for _, c := range l.conns {
		unix.Close(c.fd)
	}
	l.conns = nil
	unix.Close(l.epoll)
}

// open adds n connections.
func (l *load) open(to netip.AddrPort, n int) error {
	for range n {
		fd, err := l.dial(to)
		if err != nil {
			return err
		}
		i := len(l.conns)
		l.conns = append(l.conns, &conn{fd: fd, next: i * 7 % variety, keep: i == 0})
		if err := unix.SetNonblock(fd, true); err != nil {
			return err
		}
		event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(i)}
		if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, fd, &event); err != nil {
			return err
		}
	}
	return nil
}

// terms are what the client offers: it takes nothing over itself.
func (l *load) terms() deflate.Config {
	return deflate.Config{ServerContextTakeover: l.mode == peers.Takeover}
}

// dial makes the handshake on a socket that blocks.
func (l *load) dial(to netip.AddrPort) (fd int, err error) {
	if fd, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return 0, err
	}
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, 1<<20),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: int64(patience / time.Second)}),
		uninterrupted(func() error {
			return unix.Connect(fd, &unix.SockaddrInet4{Addr: to.Addr().As4(), Port: int(to.Port())})
		}))
	if err != nil {
		return 0, err
	}
	request := "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	if l.mode != peers.Off {
		request += "Sec-WebSocket-Extensions: " + l.terms().Offer() + "\r\n"
	}
	err = uninterrupted(func() error { _, err := unix.Write(fd, []byte(request+"\r\n")); return err })
	if err != nil {
		return 0, err
	}
	var head []byte
	for !bytes.HasSuffix(head, []byte("\r\n\r\n")) {
		var n int
		err := uninterrupted(func() (err error) { n, err = unix.Read(fd, l.buf); return err })
		if err == nil && n == 0 {
			err = errors.New("no answer to the handshake")
		}
		if err != nil {
			return 0, err
		}
		head = append(head, l.buf[:n]...)
	}
	response, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(head)), nil)
	if err != nil {
		return 0, err
	}
	return fd, l.accept(response)
}

// uninterrupted repeats a call that a signal, such as the Go scheduler's, has ended.
func uninterrupted(call func() error) error {
	for {
		err := call()
		switch err {
		case unix.EINTR, unix.EALREADY: // the latter of a connect that goes on
		case unix.EISCONN:
			return nil
		default:
			return err
		}
	}
}

// accept looks whether the server agreed to what is to be measured.
func (l *load) accept(r *http.Response) error {
	answer := r.Header.Get("Sec-WebSocket-Extensions")
	if r.StatusCode != http.StatusSwitchingProtocols {
		return errors.New(r.Status)
	}
	if l.mode == peers.Off {
		if answer != "" {
			return fmt.Errorf("the server names extensions unasked: %q", answer)
		}
		return nil
	}
	p, err := l.terms().Accept(answer)
	if err == nil && p.ServerNoContextTakeover != (l.mode == peers.NoTakeover) {
		err = fmt.Errorf("the server does not agree to %s: %q", l.mode, answer)
	}
	return err
}

// patience is how long a reply may take.
const patience = 20 * time.Second

// window is what was seen of a run while it lasted.
type window struct {
	elapsed        time.Duration
	messages, wire uint64
	client, server time.Duration // CPU
}

// runFor keeps one message in flight on each connection, then waits for what is on its way. cpu reads both sides' times.
func (l *load) runFor(d time.Duration, cpu func() (client, server time.Duration, err error)) (w window, err error) {
	l.quota = -1
	client, server, err := cpu()
	if err != nil {
		return w, err
	}
	messages, wire, begin := l.received, l.wire, time.Now()
	if err := l.begin(); err != nil {
		return w, err
	}
	for time.Since(begin) < d {
		if err := l.turn(); err != nil {
			return w, err
		}
	}
	w.elapsed, w.messages, w.wire = time.Since(begin), l.received-messages, l.wire-wire
	if w.client, w.server, err = cpu(); err != nil {
		return w, err
	}
	w.client -= client
	w.server -= server
	l.going = false
	return w, l.drain()
}

// runCount sends n messages on each connection, and waits for the replies.
func (l *load) runCount(n int) error {
	l.quota = n
	for _, c := range l.conns {
		c.sent = 0
	}
	if err := l.begin(); err != nil {
		return err
	}
	return l.drain()
}

func (l *load) begin() error {
	l.going = true
	for _, c := range l.conns {
		if err := l.send(c); err != nil {
			return err
		}
		l.pending++
	}
	return nil
}

func (l *load) drain() error {
	for l.pending > 0 {
		if err := l.turn(); err != nil {
			return err
		}
	}
	return nil
}

func (l *load) send(c *conn) error {
	b := l.frames[c.next]
	c.next = (c.next + 1) % variety
	c.sent++
	for len(b) > 0 {
		n, err := unix.Write(c.fd, b)
		if err == unix.EAGAIN {
			_, err = unix.Poll([]unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLOUT}}, int(patience/time.Millisecond))
			n = 0
		}
		if err != nil && err != unix.EINTR {
			return err
		}
		b = b[max(0, n):]
	}
	return nil
}

// turn handles the events that are there.
func (l *load) turn() error {
	n, err := unix.EpollWait(l.epoll, l.events, int(patience/time.Millisecond))
	if err == unix.EINTR {
		return nil
	}
	if err != nil {
		return err
	}
	if n == 0 {
		return fmt.Errorf("no reply within %v", patience)
	}
	for i := range l.events[:n] {
		c := l.conns[l.events[i].Fd]
		k, err := unix.Read(c.fd, l.buf)
		switch {
		case err == unix.EAGAIN || err == unix.EINTR:
			continue
		case err != nil:
			return err
		case k == 0:
			return errors.New("the server has closed a connection")
		}
		l.wire += uint64(k)
		if err := l.receive(c, l.buf[:k]); err != nil {
			return err
		}
	}
	return nil
}

// receive follows the frames of a reply, of which there is one in flight.
func (l *load) receive(c *conn, b []byte) error {
	for len(b) > 0 || c.inFrame && c.left == 0 {
		if !c.inFrame {
			var done bool
			if b, done = c.header(b); !done {
				return nil
			}
			if err := l.check(c); err != nil {
				return err
			}
		}
		n := int(min(uint64(len(b)), c.left))
		if c.keep {
			last := &l.kept[len(l.kept)-1]
			last.payload = append(last.payload, b[:n]...)
		}
		c.left -= uint64(n)
		b = b[n:]
		if c.left > 0 {
			return nil
		}
		c.inFrame, c.begun = false, !c.fin
		if !c.fin {
			continue
		}
		l.received++
		if l.going && (l.quota < 0 || c.sent < l.quota) {
			if err := l.send(c); err != nil {
				return err
			}
		} else {
			l.pending--
		}
	}
	return nil
}

// header takes the bytes of a frame's header and returns what follows.
func (c *conn) header(b []byte) (rest []byte, done bool) {
	for len(b) > 0 {
		c.head[c.have] = b[0]
		c.have++
		b = b[1:]
		size := 2
		switch c.head[1] & 0x7F {
		case 126:
			size = 4
		case 127:
			size = 10
		}
		if c.have < 2 || c.have < size {
			continue
		}
		switch size {
		case 2:
			c.left = uint64(c.head[1] & 0x7F)
		case 4:
			c.left = uint64(binary.BigEndian.Uint16(c.head[2:]))
		case 10:
			c.left = binary.BigEndian.Uint64(c.head[2:])
		}
		c.have, c.inFrame, c.fin = 0, true, c.head[0]&0x80 != 0
		return b, true
	}
	return nil, false
}

// check looks at a header: data, unmasked, compressed at most where that was agreed on.
func (l *load) check(c *conn) error {
	op, compressed := frame.OpCode(c.head[0]&0x0F), c.head[0]&frame.RSV1 != 0
	want := frame.Text
	if c.begun {
		want = frame.Continuation
	}
	if op != want || c.head[1]&0x80 != 0 || compressed && (c.begun || l.mode == peers.Off) {
		return fmt.Errorf("an unexpected frame: % x, %d bytes", c.head[:2], c.left)
	}
	if c.keep && !c.begun {
		l.kept = append(l.kept, reply{compressed: compressed, payload: make([]byte, 0, c.left)})
	}
	return nil
}
