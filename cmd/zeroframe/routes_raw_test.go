package main

import (
	"io"
	"testing"

	"zeroframe/frame"
)

func TestRawRouteSendsBackEveryFrameAsItCame(t *testing.T) {
	url := start(t, "serve", "--listen", "127.0.0.1:0").line("listening on ")
	for name, last := range map[string]string{"a code and a text": "\x03\xE8bye", "a code": "\x0F\xA0", "nothing": ""} {
		t.Run("closed with "+name, func(t *testing.T) {
			c := openWire(t, url, "/raw")
			for _, f := range []wireFrame{
				{frame.Text, true, "hello"},
				{frame.Text, true, "not UTF-8: \xFF"},
				{frame.Binary, true, ""},
				{frame.Ping, true, "are you there?"},
				{frame.Pong, true, "unasked"},
				{frame.Text, false, "in "},
				{frame.Continuation, false, "three "},
				{frame.Ping, true, "amid"},
				{frame.Continuation, true, "parts"},
				{frame.Binary, true, string(make([]byte, 300<<10))},
				{frame.Binary, false, string(make([]byte, 70<<10))},
				{frame.Continuation, true, ""},
				{frame.Close, true, last},
			} {
				if err := c.send(f); err != nil {
					t.Fatal(err)
				}
				if got := c.read(); got != f {
					t.Fatalf("%v came back as %v", f, got)
				}
			}
			if rest, err := io.ReadAll(c.r); err != nil || len(rest) != 0 {
				t.Errorf("behind the close frame: %q, %v", rest, err)
			}
		})
	}
}

func TestRawRouteStillRefusesWhatBreaksTheProtocol(t *testing.T) {
	url := start(t, "serve", "--listen", "127.0.0.1:0", "--max-frame", "1KiB").line("listening on ")
	for want, f := range map[frame.CloseCode]wireFrame{
		frame.CloseProtocolError: {frame.Continuation, true, "of nothing"},
		frame.CloseMessageTooBig: {frame.Binary, true, string(make([]byte, 1<<10+1))},
	} {
		c := openWire(t, url, "/raw")
		if err := c.send(f); err != nil {
			t.Fatal(err)
		}
		if code, _ := c.readClose(); code != want {
			t.Errorf("%v is answered by %v, want %v", f, code, want)
		}
	}
}
