package interop

import (
	"errors"
	"fmt"
	"time"

	"github.com/gorilla/websocket"
)

type gorillaClient struct{ *websocket.Conn }

func dialGorilla(url string, subprotocols ...string) (peer, error) {
	d := websocket.Dialer{WriteBufferSize: 512, Subprotocols: subprotocols, HandshakeTimeout: patience, TLSClientConfig: trusting()} // a small buffer makes small fragments
	c, _, err := d.Dial(url, nil)
	if err != nil {
		return nil, err
	}
	c.SetReadDeadline(time.Now().Add(patience))
	return gorillaClient{c}, nil
}

func (c gorillaClient) subprotocol() string { return c.Conn.Subprotocol() }

func (c gorillaClient) drop() { c.Conn.Close() }

func gorillaType(text bool) int {
	if text {
		return websocket.TextMessage
	}
	return websocket.BinaryMessage
}

func (c gorillaClient) send(text bool, payload []byte) error {
	return c.WriteMessage(gorillaType(text), payload)
}

func (c gorillaClient) sendFragments(text bool, parts ...[]byte) error {
	w, err := c.NextWriter(gorillaType(text))
	if err != nil {
		return err
	}
	for _, p := range parts {
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return w.Close()
}

func (c gorillaClient) receive() (bool, []byte, error) {
	kind, p, err := c.ReadMessage()
	return kind == websocket.TextMessage, p, err
}

func (c gorillaClient) ping(payload string) error {
	var pong *string
	c.SetPongHandler(func(s string) error { pong = &s; return nil })
	if err := c.WriteControl(websocket.PingMessage, []byte(payload), time.Time{}); err != nil {
		return err
	}
	if err := c.send(true, nil); err != nil { // its echo comes behind the pong
		return err
	}
	if _, _, err := c.receive(); err != nil {
		return err
	}
	if pong == nil || *pong != payload {
		return fmt.Errorf("pong %v, want %q", pong, payload)
	}
	return nil
}

func (c gorillaClient) close(code int, reason string) (int, string, error) {
	if err := c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Time{}); err != nil {
		return 0, "", err
	}
	return c.awaitClose()
}

func (c gorillaClient) awaitClose() (int, string, error) {
	_, p, err := c.ReadMessage()
	var ce *websocket.CloseError
	if errors.As(err, &ce) {
		return ce.Code, ce.Text, nil
	}
	return 0, "", fmt.Errorf("%d bytes, %w", len(p), err)
}
