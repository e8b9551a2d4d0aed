package interop

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/coder/websocket"
)

type coderClient struct{ *websocket.Conn }

func dialCoder(url string, subprotocols ...string) (peer, error) {
	ctx, cancel := bounded()
	defer cancel()
	c, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{Subprotocols: subprotocols, HTTPClient: coderHTTP()})
	if err != nil {
		return nil, err
	}
	c.SetReadLimit(-1)
	return coderClient{c}, nil
}

// coderHTTP is what the library dials with.
func coderHTTP() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: trusting()}}
}

func bounded() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}

func (c coderClient) subprotocol() string { return c.Conn.Subprotocol() }

func (c coderClient) drop() { c.CloseNow() }

func coderType(text bool) websocket.MessageType {
	if text {
		return websocket.MessageText
	}
	return websocket.MessageBinary
}

func (c coderClient) send(text bool, payload []byte) error {
	ctx, cancel := bounded()
	defer cancel()
	return c.Write(ctx, coderType(text), payload)
}

func (c coderClient) sendFragments(text bool, parts ...[]byte) error {
	ctx, cancel := bounded()
	defer cancel()
	w, err := c.Writer(ctx, coderType(text))
	if err != nil {
		return err
	}
	for _, p := range parts { // a frame each
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return w.Close()
}

func (c coderClient) receive() (bool, []byte, error) {
	ctx, cancel := bounded()
	defer cancel()
	kind, p, err := c.Read(ctx)
	return kind == websocket.MessageText, p, err
}

// ping: the payload is the library's own.
func (c coderClient) ping(string) error {
	ctx, cancel := bounded()
	defer cancel()
	pong := make(chan error, 1)
	go func() { pong <- c.Ping(ctx) }()
	for { // the pong is seen by whoever reads
		if err := c.send(true, nil); err != nil {
			return err
		}
		if _, _, err := c.receive(); err != nil {
			return err
		}
		select {
		case err := <-pong:
			return err
		default:
		}
	}
}

// close: the library checks the answer, and does not show it.
func (c coderClient) close(code int, reason string) (int, string, error) {
	return code, reason, c.Conn.Close(websocket.StatusCode(code), reason)
}

func (c coderClient) awaitClose() (int, string, error) {
	_, p, err := c.receive()
	var ce websocket.CloseError
	if errors.As(err, &ce) {
		return int(ce.Code), ce.Reason, nil
	}
	return 0, "", fmt.Errorf("%d bytes, %w", len(p), err)
}
