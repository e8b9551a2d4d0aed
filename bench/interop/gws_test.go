package interop

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/lxzan/gws"
)

// gwsClient turns the library's callbacks into channels.
type gwsClient struct {
	gws.BuiltinEventHandler
	*gws.Conn
	messages chan gwsMessage
	pongs    chan string
	closed   chan error
}

type gwsMessage struct {
	text    bool
	payload []byte
}

func dialGWS(url string, subprotocols ...string) (peer, error) {
	c := &gwsClient{messages: make(chan gwsMessage, 100), pongs: make(chan string, 100), closed: make(chan error, 1)}
	header := http.Header{}
	header.Set("Sec-WebSocket-Protocol", strings.Join(subprotocols, ", "))
	conn, _, err := gws.NewClient(c, &gws.ClientOption{Addr: url, CheckUtf8Enabled: true, HandshakeTimeout: patience, RequestHeader: header, TlsConfig: trusting()})
	if err != nil {
		return nil, err
	}
	c.Conn = conn
	go conn.ReadLoop()
	return c, nil
}

func (c *gwsClient) OnMessage(_ *gws.Conn, m *gws.Message) {
	c.messages <- gwsMessage{m.Opcode == gws.OpcodeText, bytes.Clone(m.Bytes())}
	m.Close()
}

func (c *gwsClient) OnPing(conn *gws.Conn, payload []byte) { conn.WritePong(payload) }

func (c *gwsClient) OnPong(_ *gws.Conn, payload []byte) { c.pongs <- string(payload) }

func (c *gwsClient) OnClose(_ *gws.Conn, err error) { c.closed <- err }

func (c *gwsClient) subprotocol() string { return c.SubProtocol() }

func (c *gwsClient) drop() { c.NetConn().Close() }

func gwsType(text bool) gws.Opcode {
	if text {
		return gws.OpcodeText
	}
	return gws.OpcodeBinary
}

func (c *gwsClient) send(text bool, payload []byte) error {
	return c.WriteMessage(gwsType(text), payload)
}

// sendFragments: the library cuts every 128 KiB.
func (c *gwsClient) sendFragments(text bool, parts ...[]byte) error {
	var r []io.Reader
	for _, p := range parts {
		r = append(r, bytes.NewReader(p))
	}
	return c.WriteFile(gwsType(text), io.MultiReader(r...))
}

var errNothing = errors.New("nothing came in time")

func (c *gwsClient) receive() (bool, []byte, error) {
	select {
	case m := <-c.messages:
		return m.text, m.payload, nil
	case err := <-c.closed:
		return false, nil, err
	case <-time.After(patience):
		return false, nil, errNothing
	}
}

func (c *gwsClient) ping(payload string) error {
	if err := c.WritePing([]byte(payload)); err != nil {
		return err
	}
	select {
	case got := <-c.pongs:
		if got != payload {
			return fmt.Errorf("pong %q, want %q", got, payload)
		}
		return nil
	case <-time.After(patience):
		return errNothing
	}
}

// close: the library closes the socket behind its close frame, so that there is no answer to see.
func (c *gwsClient) close(code int, reason string) (int, string, error) {
	return code, reason, c.WriteClose(uint16(code), []byte(reason))
}

func (c *gwsClient) awaitClose() (int, string, error) {
	select {
	case err := <-c.closed:
		var ce *gws.CloseError
		if errors.As(err, &ce) {
			return int(ce.Code), string(ce.Reason), nil
		}
		return 0, "", err
	case <-time.After(patience):
		return 0, "", errNothing
	}
}
