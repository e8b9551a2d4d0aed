package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"time"

	coder "github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"
)

// writer sends one binary message as a client, which masks it.
type writer func(payload []byte) error

// gorillaWriter's buffer holds the largest message, so that each is one frame.
func gorillaWriter() (writer, error) {
	dialer := gorilla.Dialer{
		NetDialContext:  func(context.Context, string, string) (net.Conn, error) { return newSink(), nil },
		WriteBufferSize: largest + 64,
	}
	c, _, err := dialer.Dial("ws://sink/", nil)
	if err != nil {
		return nil, err
	}
	return func(p []byte) error { return c.WriteMessage(gorilla.BinaryMessage, p) }, nil
}

func gwsWriter() (writer, error) {
	c, _, err := gws.NewClientFromConn(gws.BuiltinEventHandler{}, &gws.ClientOption{Addr: "ws://sink/"}, newSink())
	if err != nil {
		return nil, err
	}
	return func(p []byte) error { return c.WriteMessage(gws.OpcodeBinary, p) }, nil
}

func coderWriter() (writer, error) {
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(context.Context, string, string) (net.Conn, error) { return newSink(), nil },
	}}
	ctx := context.Background()
	c, _, err := coder.Dial(ctx, "ws://sink/", &coder.DialOptions{HTTPClient: client})
	if err != nil {
		return nil, err
	}
	return func(p []byte) error { return c.Write(ctx, coder.MessageBinary, p) }, nil
}

// sink is a connection whose far side accepts the upgrade, then takes every
// byte and does nothing with it: a write costs what the library does. It never
// sends anything after the upgrade.
type sink struct {
	request  []byte      // the request head so far
	upgraded bool        // the head is answered
	answer   chan []byte // carries the answer to the reading side, once
	unread   []byte
}

func newSink() *sink { return &sink{answer: make(chan []byte, 1)} }

func (s *sink) Write(p []byte) (int, error) {
	if s.upgraded {
		return len(p), nil
	}
	s.request = append(s.request, p...)
	if bytes.HasSuffix(s.request, []byte("\r\n\r\n")) {
		answer, err := accept(s.request)
		if err != nil {
			return 0, err
		}
		s.upgraded = true
		s.answer <- answer
	}
	return len(p), nil
}

// Read waits for the answer to the upgrade, and after it for ever.
func (s *sink) Read(p []byte) (int, error) {
	if len(s.unread) == 0 {
		s.unread = <-s.answer
	}
	n := copy(p, s.unread)
	s.unread = s.unread[n:]
	return n, nil
}

func (s *sink) Close() error                     { return nil }
func (s *sink) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (s *sink) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (s *sink) SetDeadline(time.Time) error      { return nil }
func (s *sink) SetReadDeadline(time.Time) error  { return nil }
func (s *sink) SetWriteDeadline(time.Time) error { return nil }

// accept answers an upgrade request (RFC 6455, section 4.2.2).
func accept(head []byte) ([]byte, error) {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(head)))
	if err != nil {
		return nil, err
	}
	sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return fmt.Appendf(nil, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(sum[:])), nil
}
