package engine_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"zeroframe/deflate"
	"zeroframe/engine"
	"zeroframe/frame"
)

// full takes over both ways with whole windows.
var full = engine.Compression{TakeoverOut: true, TakeoverIn: true, Threshold: -1}

// RFC 7692, sections 5 and 7.1: what a server answers to what is offered.
func TestCompressionIsNegotiated(t *testing.T) {
	const name = deflate.Name
	alone := engine.Compression{}
	tests := []struct {
		name   string
		c      engine.Compression
		fields []string // of the request
		answer string   // "": no extension
	}{
		{"no field", full, nil, ""},
		{"the bare offer", full, []string{name}, name},
		{"the bare offer, no takeover", alone, []string{name}, name + "; " + serverAlone + "; " + clientAlone},
		{"server_no_context_takeover", full, []string{name + "; " + serverAlone}, name + "; " + serverAlone},
		{"client_no_context_takeover", full, []string{name + "; " + clientAlone}, name + "; " + clientAlone},
		{"server_max_window_bits", full, []string{name + "; server_max_window_bits=10"}, name + "; server_max_window_bits=10"},
		{"server_max_window_bits of 8", full, []string{name + "; server_max_window_bits=8"}, name + "; server_max_window_bits=8"},
		{"server_max_window_bits above ours", engine.Compression{TakeoverOut: true, TakeoverIn: true, WindowBitsOut: 10},
			[]string{name + "; server_max_window_bits=12"}, name + "; server_max_window_bits=10"},
		{"our window, unasked", engine.Compression{TakeoverOut: true, TakeoverIn: true, WindowBitsOut: 10},
			[]string{name}, name + "; server_max_window_bits=10"},
		{"client_max_window_bits without a value", full, []string{offered}, name + "; client_max_window_bits=15"},
		{"client_max_window_bits with one", full, []string{name + "; client_max_window_bits=11"}, name + "; client_max_window_bits=11"},
		{"client_max_window_bits that we bound", engine.Compression{TakeoverOut: true, TakeoverIn: true, WindowBitsIn: 9},
			[]string{offered}, name + "; client_max_window_bits=9"},
		{"client_max_window_bits not offered and bounded", engine.Compression{TakeoverOut: true, TakeoverIn: true, WindowBitsIn: 9},
			[]string{name}, name + "; " + clientAlone},
		{"all four", full, []string{name + "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9; client_max_window_bits=9"},
			name + "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9; client_max_window_bits=9"},
		{"a quoted value", full, []string{name + `; server_max_window_bits="12"`}, name + "; server_max_window_bits=12"},
		{"a quoted value with an escape", full, []string{name + `; server_max_window_bits="\1\2"`}, name + "; server_max_window_bits=12"},
		{"white space", full, []string{" " + name + "\t;  server_max_window_bits = 12 "}, name + "; server_max_window_bits=12"},
		{"the first of several offers", full, []string{name + "; server_max_window_bits=9, " + name}, name + "; server_max_window_bits=9"},
		{"the first acceptable one", full, []string{name + "; server_max_window_bits=7, " + name + "; unknown, " + name + "; client_no_context_takeover"},
			name + "; client_no_context_takeover"},
		{"behind other extensions", full, []string{"x-other; a=1, permessage-bzip2, " + name}, name},
		{"in another line", full, []string{"x-other", name + "; what=ever", name + "; server_no_context_takeover"}, name + "; " + serverAlone},
		{"empty elements", full, []string{", ,", name + ","}, name},

		{"an unknown parameter", full, []string{name + "; unknown"}, ""},
		{"an unknown parameter with a value", full, []string{name + "; client_max_window=10"}, ""},
		{"a repeated parameter", full, []string{name + "; server_no_context_takeover; server_no_context_takeover"}, ""},
		{"a repeated window", full, []string{name + "; client_max_window_bits; client_max_window_bits=10"}, ""},
		{"a flag with a value", full, []string{name + "; client_no_context_takeover=1"}, ""},
		{"a window of 7", full, []string{name + "; server_max_window_bits=7"}, ""},
		{"a window of 16", full, []string{name + "; client_max_window_bits=16"}, ""},
		{"a window of 08", full, []string{name + "; server_max_window_bits=08"}, ""},
		{"a window of nothing", full, []string{name + "; server_max_window_bits"}, ""},
		{"a window that is no number", full, []string{name + "; client_max_window_bits=ten"}, ""},
		{"another extension", full, []string{"x-webkit-deflate-frame"}, ""},
		{"a name that only begins so", full, []string{name + "2"}, ""},
		{"no list of extensions", full, []string{name + "; ="}, ""},
		{"a quotation without end", full, []string{name + `; server_max_window_bits="12`}, ""},
	}
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				s := start(engine.WithCompression(tt.c), engine.WithPingInterval(0))
				h := replying()
				s.handle("/", h)
				var fields []string
				for _, f := range tt.fields {
					fields = append(fields, extensionsField+f)
				}
				c := s.connect()
				if got := c.upgrade("/", fields...); got != tt.answer {
					t.Fatalf("answered %q, want %q", got, tt.answer)
				}
				var names []string
				if tt.answer != "" {
					names = []string{name}
				}
				if got := within(t, h.opened).Extensions(); !slices.Equal(got, names) {
					t.Errorf("Extensions: %q, want %q", got, names)
				}
				c.write(frame.Text, []byte("as it is"))
				z := &deflateClient{client: c}
				z.expectMessage(frame.Text, []byte("as it is"))
				z.writeDeflated(frame.Text, []byte("compressed"))
				if tt.answer == "" {
					c.expectClose(frame.CloseProtocolError)
					return
				}
				z.expectMessage(frame.Text, []byte("compressed"))
			})
		}
	})
}

// What is agreed on is the route's, which has the engine's where it says nothing; a raw route has only its own.
func TestRoutesHaveTheirOwnCompression(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithCompression(engine.Compression{}), engine.WithPingInterval(0))
		s.handle("/engine", newEcho())
		s.handle("/route", newEcho(), engine.WithCompression(full))
		s.handle("/without", newEcho(), engine.WithoutCompression())
		s.handle("/again", newEcho(), engine.WithoutCompression(), engine.WithCompression(full))
		s.session("/session", echoSession, engine.WithCompression(full))
		s.session("/session/without", echoSession, engine.WithoutCompression())
		s.raw("/raw", rawEcho{})
		s.raw("/raw/own", rawEcho{}, engine.WithCompression(full))
		plain := start(engine.WithPingInterval(0))
		plain.handle("/engine", newEcho())
		plain.handle("/route", newEcho(), engine.WithCompression(full))
		plain.handle("/without", newEcho(), engine.WithoutCompression())
		const alone = deflate.Name + "; " + serverAlone + "; " + clientAlone
		for _, tt := range []struct {
			s            *server
			path, answer string
		}{
			{s, "/engine", alone},
			{s, "/route", deflate.Name},
			{s, "/without", ""},
			{s, "/again", deflate.Name},
			{s, "/session", deflate.Name},
			{s, "/session/without", ""},
			{s, "/raw", ""},
			{s, "/raw/own", deflate.Name},
			{plain, "/engine", ""},
			{plain, "/route", deflate.Name},
			{plain, "/without", ""},
		} {
			c := tt.s.connect()
			if got := c.upgrade(tt.path, extensionsField+deflate.Name); got != tt.answer {
				t.Errorf("%s: answered %q, want %q", tt.path, got, tt.answer)
			}
			z := &deflateClient{client: c}
			z.writeDeflated(frame.Binary, []byte("compressed"))
			if tt.answer == "" {
				c.expectClose(frame.CloseProtocolError)
			} else {
				z.expectMessage(frame.Binary, []byte("compressed"))
			}
		}
	})
}

// What a client offers, and what it makes of answers (RFC 7692, section 7): a server that does not answer the offer
// fails the handshake.
func TestDialAgreesOnCompression(t *testing.T) {
	const (
		name  = deflate.Name
		alone = "; server_no_context_takeover"
	)
	bounded := engine.Compression{TakeoverOut: true, TakeoverIn: true, WindowBitsIn: 10, WindowBitsOut: 11}
	for _, tt := range []struct {
		name    string
		c       engine.Compression
		offer   string
		answers []string // the fields of the answer
		refused string   // what the error says; "": the answer is taken
	}{
		{"takeover", full, name + "; client_max_window_bits", []string{name}, ""},
		{"no takeover", engine.Compression{}, name + alone + "; client_no_context_takeover; client_max_window_bits", []string{name + alone}, ""},
		{"smaller windows", bounded, name + "; server_max_window_bits=10; client_max_window_bits=11", []string{name + "; server_max_window_bits=9; client_max_window_bits=8"}, ""},
		{"the windows offered", bounded, name + "; server_max_window_bits=10; client_max_window_bits=11", []string{name + "; server_max_window_bits=10"}, ""},
		{"no takeover, unasked", full, name + "; client_max_window_bits", []string{name + "; server_no_context_takeover; client_no_context_takeover"}, ""},
		{"declined", full, name + "; client_max_window_bits", nil, ""},

		{"a larger server window", bounded, "", []string{name + "; server_max_window_bits=11"}, "window larger than offered"},
		{"no server window", bounded, "", []string{name}, "window larger than offered"},
		{"a larger client window", bounded, "", []string{name + "; server_max_window_bits=10; client_max_window_bits=12"}, "window larger than offered"},
		{"a window without bits", full, "", []string{name + "; client_max_window_bits"}, "window without bits"},
		{"a window of 16", full, "", []string{name + "; server_max_window_bits=16"}, "invalid parameter"},
		{"an unknown parameter", full, "", []string{name + "; unknown"}, "unknown"},
		{"a parameter twice", full, "", []string{name + "; client_no_context_takeover; client_no_context_takeover"}, "repeated"},
		{"takeover that was not offered", engine.Compression{}, "", []string{name}, "server_no_context_takeover"},
		{"an extension that was not offered", full, "", []string{"x-other"}, "not offered"},
		{"one offered and one not", full, "", []string{name, "x-other"}, "not offered"},
		{"named twice", full, "", []string{name + ", " + name}, "twice"},
		{"named twice, in two fields", full, "", []string{name, name}, "twice"},
		{"not a list", full, "", []string{name + "; ="}, "alformed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s, p := bare(t), newPeer(t)
			answer := switching
			for _, a := range tt.answers {
				answer += extensionsField + a + "\r\n"
			}
			requests := make(chan *http.Request, 1)
			go func() {
				c, req := p.accept(answer + "\r\n")
				if requests <- req; c != nil {
					io.Copy(io.Discard, c)
					c.Close()
				}
			}()
			c, err := s.DialSession(patiently(t), p.url("/"), nil, engine.WithCompression(tt.c))
			if got := within(t, requests).Header.Values("Sec-WebSocket-Extensions"); tt.offer != "" && !slices.Equal(got, []string{tt.offer}) {
				t.Errorf("offered %q, want %q", got, tt.offer)
			}
			if tt.refused != "" {
				var he *engine.HandshakeError
				if !errors.As(err, &he) || he.Status != 101 || !strings.Contains(he.Reason, tt.refused) {
					t.Fatalf("Dial: %v, want a HandshakeError about %q", err, tt.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var want []string
			if tt.answers != nil {
				want = []string{name}
			}
			if got := c.Conn().Extensions(); !slices.Equal(got, want) {
				t.Errorf("Extensions: %q, want %q", got, want)
			}
			c.Terminate()
			within(t, c.Context().Done())
		})
	}
}

// The client keeps to what the server answered: takeover that was not offered to it, or was taken back, is not used.
func TestDialedConnectionsUseWhatWasAgreedOn(t *testing.T) {
	for _, tt := range []struct {
		answer   string
		takeover bool
	}{{deflate.Name, true}, {deflate.Name + "; client_no_context_takeover", false}, {deflate.Name + "; client_max_window_bits=9", true}} {
		t.Run(tt.answer, func(t *testing.T) {
			s, p := bare(t), newPeer(t)
			got := make(chan *client, 1)
			go func() {
				c, _ := p.accept(switching + extensionsField + tt.answer + "\r\n\r\n")
				got <- c
			}()
			c, err := s.DialSession(patiently(t), p.url("/"), nil, engine.WithCompression(full))
			if err != nil {
				t.Fatal(err)
			}
			far := within(t, got)
			defer far.Close()
			defer c.Terminate()
			in := inflater{takeover: tt.takeover}
			message := prose(400, 1)
			var sizes []int
			for range 3 {
				if err := c.SendText(context.Background(), string(message)); err != nil {
					t.Fatal(err)
				}
				f, _ := far.readMasked()
				if !f.fin || f.rsv != frame.RSV1 || f.op != frame.Text {
					t.Fatalf("got %v, want it compressed", f)
				}
				out, err := in.message(f.payload)
				if err != nil || string(out) != string(message) {
					t.Fatalf("inflated to %.50q, %v", out, err)
				}
				sizes = append(sizes, len(f.payload))
			}
			if refers := sizes[1] < sizes[0]/3; refers != tt.takeover {
				t.Errorf("the same message took %v bytes", sizes)
			}
			out := deflater{takeover: true}
			for _, m := range []string{string(message), "short", string(message)} {
				compressed := out.message([]byte(m))
				wire := append([]byte{0x80 | frame.RSV1 | byte(frame.Text), 126, byte(len(compressed) >> 8), byte(len(compressed))}, compressed...)
				if len(compressed) < 126 {
					wire = append([]byte{0x80 | frame.RSV1 | byte(frame.Text), byte(len(compressed))}, compressed...)
				}
				far.send(wire)
				expectMessage(t, c, frame.Text, []byte(m))
			}
			c.Receive(canceled()) // gives back the last payload
		})
	}
}

func TestCompressionOptionsHaveBounds(t *testing.T) {
	inside := []engine.Compression{
		{}, {HistoryOut: 32 << 10}, {HistoryOut: 1}, {WindowBitsOut: 8, WindowBitsIn: 8}, {WindowBitsOut: 15, WindowBitsIn: 15},
		{Level: deflate.HuffmanOnly}, {Level: deflate.Stateless}, {Level: deflate.BestLevel}, {Threshold: -1}, {Threshold: 1 << 30},
	}
	outside := []engine.Compression{
		{HistoryOut: -1}, {HistoryOut: 32<<10 + 1}, {WindowBitsOut: 7}, {WindowBitsOut: 16}, {WindowBitsOut: -1}, {WindowBitsIn: 7},
		{WindowBitsIn: 16}, {Level: deflate.HuffmanOnly - 1}, {Level: deflate.BestLevel + 1},
	}
	s := bare(t)
	for _, c := range inside {
		e, err := engine.New(engine.WithLoops(1), engine.WithCompression(c))
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		if err := e.Handle("/", newEcho(), engine.WithCompression(c)); err != nil {
			t.Errorf("%+v, on a route: %v", c, err)
		}
		e.Close()
	}
	for _, c := range outside {
		_, errNew := engine.New(engine.WithLoops(1), engine.WithCompression(c))
		_, errDial := s.Dial(canceled(), "ws://127.0.0.1:1/", nil, newEcho(), engine.WithCompression(c))
		for what, err := range map[string]error{
			"New": errNew, "Dial": errDial,
			"Handle":        s.Handle("/", newEcho(), engine.WithCompression(c)),
			"HandleSession": s.HandleSession("/", echoSession, engine.WithCompression(c)),
			"HandleRaw":     s.HandleRaw("/", rawEcho{}, engine.WithCompression(c)),
		} {
			var oe *engine.OptionError
			if !errors.As(err, &oe) || oe.Option != "WithCompression" || oe.Reason == "" {
				t.Errorf("%s with %+v: %v", what, c, err)
			}
		}
	}
}

// An option is a value: one may be given to many calls at once.
func TestOneCompressionServesManyGoroutines(t *testing.T) {
	s := bare(t)
	option := engine.WithCompression(engine.Compression{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			s.Dial(canceled(), "ws://127.0.0.1:1/", nil, newEcho(), option)
		})
	}
	all.Wait()
}
