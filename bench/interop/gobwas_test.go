package interop

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
)

// gobwasClient works on the library's frames, which it leaves to the user.
type gobwasClient struct {
	net.Conn
	r        io.Reader
	protocol string
	pong     *string // the last that came
}

func dialGobwas(url string, subprotocols ...string) (peer, error) {
	d := ws.Dialer{Protocols: subprotocols, Timeout: patience, TLSConfig: trusting()}
	c, br, hs, err := d.Dial(context.Background(), url)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(patience))
	if br == nil { // nothing came behind the answer
		br = bufio.NewReader(c)
	}
	return &gobwasClient{Conn: c, r: br, protocol: hs.Protocol}, nil
}

func (c *gobwasClient) subprotocol() string { return c.protocol }

func (c *gobwasClient) drop() { c.Conn.Close() }

func gobwasType(text bool) ws.OpCode {
	if text {
		return ws.OpText
	}
	return ws.OpBinary
}

func (c *gobwasClient) send(text bool, payload []byte) error {
	return wsutil.WriteClientMessage(c.Conn, gobwasType(text), payload)
}

func (c *gobwasClient) sendFragments(text bool, parts ...[]byte) error {
	for i, p := range parts {
		op := ws.OpContinuation
		if i == 0 {
			op = gobwasType(text)
		}
		f := ws.NewFrame(op, i == len(parts)-1, append([]byte(nil), p...))
		if err := ws.WriteFrame(c.Conn, ws.MaskFrameInPlace(f)); err != nil {
			return err
		}
	}
	return nil
}

// next reads frames up to the end of a message or a close frame. The library checks each header.
func (c *gobwasClient) next() (ws.OpCode, []byte, error) {
	state := ws.StateClientSide
	var op ws.OpCode
	var message []byte
	for {
		f, err := ws.ReadFrame(c.r)
		if err != nil {
			return 0, nil, err
		}
		if err := ws.CheckHeader(f.Header, state); err != nil {
			return 0, nil, err
		}
		switch f.Header.OpCode {
		case ws.OpPing:
			err = ws.WriteFrame(c.Conn, ws.MaskFrameInPlace(ws.NewPongFrame(f.Payload)))
		case ws.OpPong:
			s := string(f.Payload)
			c.pong = &s
		case ws.OpClose:
			return ws.OpClose, f.Payload, nil
		default:
			if f.Header.OpCode != ws.OpContinuation {
				op = f.Header.OpCode
			}
			message = append(message, f.Payload...)
			state = state.Set(ws.StateFragmented)
			if f.Header.Fin {
				return op, message, nil
			}
		}
		if err != nil {
			return 0, nil, err
		}
	}
}

func (c *gobwasClient) receive() (bool, []byte, error) {
	op, p, err := c.next()
	if err == nil && op == ws.OpClose {
		err = fmt.Errorf("close frame %q", p)
	}
	return op == ws.OpText, p, err
}

func (c *gobwasClient) ping(payload string) error {
	if err := wsutil.WriteClientMessage(c.Conn, ws.OpPing, []byte(payload)); err != nil {
		return err
	}
	if err := c.send(true, nil); err != nil { // its echo comes behind the pong
		return err
	}
	if _, _, err := c.receive(); err != nil {
		return err
	}
	if c.pong == nil || *c.pong != payload {
		return fmt.Errorf("pong %v, want %q", c.pong, payload)
	}
	return nil
}

func (c *gobwasClient) close(code int, reason string) (int, string, error) {
	body := ws.NewCloseFrameBody(ws.StatusCode(code), reason)
	if err := wsutil.WriteClientMessage(c.Conn, ws.OpClose, body); err != nil {
		return 0, "", err
	}
	return c.readClose()
}

func (c *gobwasClient) readClose() (int, string, error) {
	op, p, err := c.next()
	if err != nil || op != ws.OpClose {
		return 0, "", fmt.Errorf("%v of %d bytes, %w", op, len(p), err)
	}
	code, reason := ws.ParseCloseFrameData(p)
	return int(code), reason, nil
}

func (c *gobwasClient) awaitClose() (int, string, error) {
	code, reason, err := c.readClose()
	if err != nil {
		return 0, "", err
	}
	return code, reason, wsutil.WriteClientMessage(c.Conn, ws.OpClose, ws.NewCloseFrameBody(ws.StatusCode(code), ""))
}
