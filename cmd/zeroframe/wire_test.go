package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"zeroframe/frame"
)

// wire is a client that sends and reads frames one by one, and does nothing else: it answers neither pings nor close
// frames.
type wire struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

// openWire connects to a server that printed url as its address.
func openWire(t *testing.T, url, path string) *wire {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimSuffix(strings.TrimPrefix(url, "ws://"), "/"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return &wire{c, t, upgrade(t, c, path)}
}

// wireFrame is a frame as it stands on the wire.
type wireFrame struct {
	op      frame.OpCode
	fin     bool
	payload string
}

func (f wireFrame) String() string {
	return fmt.Sprintf("%v fin=%v %d bytes %.40q", f.op, f.fin, len(f.payload), f.payload)
}

func (w *wire) send(f wireFrame) error {
	h := frame.Header{Fin: f.fin, OpCode: f.op, Length: int64(len(f.payload)), Masked: true, Key: 0x12345678}
	_, err := w.Write(frame.AppendFrame(nil, h, []byte(f.payload)))
	return err
}

func (w *wire) read() wireFrame {
	w.t.Helper()
	var h [8]byte
	_, err := io.ReadFull(w.r, h[:2])
	f := wireFrame{op: frame.OpCode(h[0] & 0x0F), fin: h[0]&0x80 != 0}
	n := uint64(h[1])
	if err == nil && n == 126 {
		_, err = io.ReadFull(w.r, h[:2])
		n = uint64(binary.BigEndian.Uint16(h[:2]))
	} else if err == nil && n == 127 {
		_, err = io.ReadFull(w.r, h[:8])
		n = binary.BigEndian.Uint64(h[:8])
	}
	payload := make([]byte, n)
	if err == nil {
		_, err = io.ReadFull(w.r, payload)
	}
	if err != nil {
		w.t.Fatalf("reading a frame: %v", err)
	}
	f.payload = string(payload)
	return f
}

// readClose reads frames up to the close frame and returns what it says.
func (w *wire) readClose() (code frame.CloseCode, text string) {
	w.t.Helper()
	for {
		if f := w.read(); f.op == frame.Close {
			code, text, err := frame.ParseClosePayload([]byte(f.payload))
			if err != nil {
				w.t.Fatal(err)
			}
			return code, string(text)
		}
	}
}
