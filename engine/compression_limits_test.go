package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"zeroframe/deflate"
	"zeroframe/engine"
	"zeroframe/frame"
)

// bomb is a compressed message of n MiB of zeros, in about n KiB.
func bomb(n int) []byte {
	d := deflater{takeover: true}
	first := append(d.message(make([]byte, 1<<20)), flushTail...)
	next := append(d.message(make([]byte, 1<<20)), flushTail...) // which refers to zeros before it
	return bytes.TrimSuffix(append(first, bytes.Repeat(next, n-1)...), []byte(flushTail))
}

// A bomb is answered by 1009 when it has cost what MaxMessageSize allows, wherever it is inflated.
func TestBombsCostNoMoreThanTheLimit(t *testing.T) {
	for _, layer := range layers {
		t.Run(layer.name, func(t *testing.T) {
			onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
				mib, limit := 1024, 2<<20
				if (&server{t: t}).cut() {
					mib, limit = 16, 64<<10
				}
				charge := bomb(mib)
				s := start(engine.WithPingInterval(0), engine.WithLoops(1), engine.WithMaxMessageSize(int64(limit)))
				layer.start(s, engine.WithCompression(full))
				other := s.openDeflate("/", offered)
				other.writeDeflated(frame.Text, prose(600, 1))
				other.expectMessage(frame.Text, prose(600, 1))
				for _, offer := range []string{offered, offeredAlone} {
					c := s.openDeflate("/", offer)
					wire := deflated(frame.Binary, charge)
					var before, after runtime.MemStats
					runtime.ReadMemStats(&before)
					go c.Write(wire)
					c.answerClose(frame.CloseMessageTooBig, fmt.Sprintf("message of more than %d bytes when inflated", limit))
					runtime.ReadMemStats(&after)
					// The bytes of the wire, and buffers that double up to the limit.
					if got, most := int(after.TotalAlloc-before.TotalAlloc), 2*len(wire)+3*limit+4<<20+256<<10; got > most {
						t.Errorf("%d KiB were allocated for a bomb of %d KiB that makes %d MiB, at most %d KiB are meant", got>>10, len(wire)>>10, mib, most>>10)
					}
				}
				other.writeDeflated(frame.Text, prose(600, 1))
				other.expectMessage(frame.Text, prose(600, 1))
			})
		})
	}
}

// The compressed bytes are bounded too, at the header that says so.
func TestCompressedBytesAreBoundedAtTheHeader(t *testing.T) {
	onEachLayer(t, full, func(t *testing.T, s *server) {
		c := s.openDeflate("/", offered)
		c.send(deflated(frame.Binary, c.out.message(pattern(1000))))
		c.expectMessage(frame.Binary, pattern(1000))
		h := header(true, frame.Binary, 1001)
		h[0] |= frame.RSV1
		c.send(h)
		c.expectClose(frame.CloseMessageTooBig)
		c = s.openDeflate("/", offered)
		c.send(deflated(frame.Binary, c.out.message(noise(600, 1)), 300)[:6+2+300])
		c.send(header(false, frame.Continuation, 701))
		c.expectClose(frame.CloseMessageTooBig)
		c = s.openDeflate("/", offered)
		c.writeDeflated(frame.Binary, pattern(1001)) // and so is what they make
		c.answerClose(frame.CloseMessageTooBig, "message of more than 1000 bytes when inflated")
	}, engine.WithMaxMessageSize(1000))
}

// faults are compressed messages that are none.
var faults = []struct {
	name       string
	compressed string
}{
	{"nothing", ""},
	{"a reserved block type", "\x07\x00"},
	{"lengths that do not agree", "\x00\x05\x00\x00\x00Hello\x00"},
	{"a distance beyond the window", "\xf2\x00\x11\x00\x00"},
	{"cut in a fixed block", "\xf2\x48\xcd"},
	{"cut in a stored block", "\x00\x05\x00\xfa\xffHel"},
	{"cut in a header", "\x00\x05\x00"},
	{"the tail that is to be left out", "\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xff\xff"},
	{"a tail that is none", "\xf2\x48\xcd\xc9\xc9\x07\x00\x00\x00\xfe\xff"},
	{"data behind BFINAL", "\xf3\x48\xcd\xc9\xc9\x07\x00\x06\xffdata"},
	{"incomplete codes", "\x04\xff\xff\xff\xff\xff\xff\xff\x00"},
	{"noise", "\x5d\xe1\x02\x99\xf7\x01\x33\xc5\xee\x70\x1f\xa8"},
}

// RFC 7692, section 7.2.2; what cannot be inflated is answered by 1007, and others go on.
func TestCorruptMessagesAreAnsweredBy1007(t *testing.T) {
	onEachLayer(t, full, func(t *testing.T, s *server) {
		other := s.openDeflate("/", offered)
		for i, f := range faults {
			for _, lengths := range [][]int{nil, {len(f.compressed) / 2}} {
				c := s.openDeflate("/", offered)
				c.writeDeflated(frame.Text, []byte("ok"))
				c.expectMessage(frame.Text, []byte("ok"))
				c.send(deflated(frame.Binary, []byte(f.compressed), lengths...))
				c.write(frame.Binary, []byte("never delivered"))
				c.answerCorrupt(f.name)
				other.writeDeflated(frame.Text, prose(600, uint64(i)))
				other.expectMessage(frame.Text, prose(600, uint64(i)))
			}
		}
	})
}

// answerCorrupt requires that the next message of the server's own is its close frame, 1007, and answers that.
func (c *client) answerCorrupt(what string) {
	c.t.Helper()
	f := c.next()
	for f.op.IsData() || f.op == frame.Continuation { // a stream has echoed what it had
		if bytes.Contains(f.payload, []byte("never")) {
			c.t.Fatalf("%s: %v was delivered", what, f)
		}
		f = c.next()
	}
	if f.op != frame.Close || !bytes.HasPrefix(f.payload, closePayload(frame.CloseInvalidPayload, "")) {
		c.t.Fatalf("%s: got %v, want a close frame of 1007", what, f)
	}
	c.write(frame.Close, f.payload)
	c.expectEOF()
}

// Text is checked as it comes out, in pieces that end anywhere in a rune; not on raw routes.
func TestInflatedTextIsChecked(t *testing.T) {
	size := 100_000 // several steps of inflating
	whole := []byte(strings.Repeat("☃", size/3))
	var bad [][]byte
	for _, p := range []string{"\xff", "\xc3", "a\xe2\x98", "\xed\xa0\x80", "\xc0\x80", "\xf5\x80\x80\x80"} {
		bad = append(bad, []byte(p))
	}
	for _, at := range []int{32<<10 - 1, 32 << 10, 32<<10 + 1, 64 << 10, len(whole) - 1} {
		b := bytes.Clone(whole)
		b[at] = 'a'
		bad = append(bad, b)
	}
	bad = append(bad, whole[:len(whole)-1], whole[:len(whole)-2])
	onEachLayer(t, engine.Compression{TakeoverIn: true}, func(t *testing.T, s *server) {
		c := s.openDeflate("/", offered)
		texts := [][]byte{whole, whole[3:], []byte("☃")}
		if s.cut() { // what comes back raw or in many pieces takes long
			texts = texts[2:]
		}
		for _, text := range texts {
			c.writeDeflated(frame.Text, text)
			c.expectMessage(frame.Text, text)
		}
		if strings.Contains(t.Name(), "/raw/") {
			c.writeDeflated(frame.Text, bad[0])
			c.expectMessage(frame.Text, bad[0])
			return
		}
		for i, p := range bad {
			if s.cut() && len(p) > 100 {
				continue
			}
			c := s.openDeflate("/", offered)
			c.writeDeflated(frame.Binary, bad[0])
			c.expectMessage(frame.Binary, bad[0])
			c.writeDeflated(frame.Text, p)
			c.answerCorrupt(fmt.Sprintf("text %d", i))
		}
	})
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0), engine.WithUTF8Check(false), engine.WithCompression(full))
		s.handle("/", newEcho())
		c := s.openDeflate("/", offered)
		c.writeDeflated(frame.Text, bad[1])
		c.expectMessage(frame.Text, bad[1])
	})
}

// After a message that could not be inflated there is none, however many came behind it: a history that lacks it would
// make others of them.
func TestSessionsReceiveNothingAfterACorruptMessage(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		for _, way := range []string{"Receive", "NextReader"} {
			for _, offer := range []string{offered, offeredAlone} {
				s := start(engine.WithPingInterval(0))
				h := s.handOut("/", engine.WithCompression(full))
				c := s.openDeflate("/", offer)
				session := h.next(t)
				c.send(deflated(frame.Text, []byte("\xf2\x48\xcd\xc9\x07\x07\x07")))
				c.writeDeflated(frame.Text, prose(500, 1))
				c.write(frame.Text, []byte("raw"))
				s.until("all has come", func() bool { return s.Stats().MessagesIn == 3 })
				for i := range 3 {
					var err error
					switch way {
					case "Receive":
						_, err = session.Receive(patiently(t))
					default:
						var p []byte
						if p, err = readNext(t, session); err == nil {
							err = fmt.Errorf("%d bytes were read", len(p))
						}
					}
					var end *engine.CloseError
					if !errors.As(err, &end) || end.Reason.Code != frame.CloseInvalidPayload || !errors.Is(err, deflate.ErrCorrupt) {
						t.Fatalf("%s %d: %v, want a CloseError of 1007", way, i, err)
					}
				}
				c.answerCorrupt(way)
				h.finish(nil)
			}
		}
	})
}

// readNext reads the next message by NextReader.
func readNext(t testing.TB, s *engine.Session) ([]byte, error) {
	_, r, err := s.NextReader(patiently(t))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	_, err = b.ReadFrom(smallReads{r, 1000})
	return b.Bytes(), err
}

// A message that cannot be inflated is no orderly end, even when the peer has closed in good order behind it.
func TestACorruptMessageBeforeAnOrderlyCloseIsAnError(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := s.handOut("/", engine.WithCompression(full))
		c := s.openDeflate("/", offered)
		session := h.next(t)
		c.send(deflated(frame.Text, []byte("\x07\x00")))
		c.write(frame.Close, closePayload(frame.CloseNormal, ""))
		c.expectClose(frame.CloseNormal)
		for _, err := range session.Messages(patiently(t)) {
			if !errors.Is(err, deflate.ErrCorrupt) {
				t.Errorf("Messages: %v, want deflate.ErrCorrupt", err)
			}
			return
		}
		t.Error("Messages ended in good order")
	})
}

// Two connections with takeover on one loop, whose messages alternate: what one sends refers to nothing of the other's,
// or it would not inflate in a window that has its own bytes alone.
func TestConnectionsNeverReferToEachOther(t *testing.T) {
	common := prose(70_000, 1)
	for _, level := range []deflate.Level{deflate.DefaultLevel, deflate.BestLevel, deflate.Stateless} {
		// One that takes nothing over must not be given what the compressor was given for the other.
		for _, offers := range [][2]string{{offered, offered}, {offered, offeredAlone}, {offeredAlone, offeredAlone},
			{offered, deflate.Name + "; server_max_window_bits=10"}} {
			t.Run(fmt.Sprintf("level %d/%s", level, offers), func(t *testing.T) {
				c := engine.Compression{TakeoverOut: true, TakeoverIn: true, Threshold: -1, HistoryOut: 32 << 10, Level: level}
				for _, layer := range layers {
					if !slices.Contains([]string{"reply", "prepared", "stream"}, layer.name) {
						continue
					}
					s := onSocket(t, engine.WithPingInterval(0), engine.WithLoops(1))
					layer.start(s, engine.WithCompression(c))
					var clients [2]*deflateClient
					for i := range clients {
						clients[i] = s.openDeflate("/", offers[i])
					}
					for _, size := range []int{60, 300, 3000, 60, 20_000, 300, 60} {
						for i, c := range clients {
							secret := fmt.Appendf(nil, "secret of %d: %x ", i, noise(40, uint64(10+i)))
							payload := append(append(secret, common[:size]...), secret...)
							go c.Write(deflated(frame.Binary, c.out.message(payload)))
							c.expectMessage(frame.Binary, payload)
						}
					}
				}
			})
		}
	}
}

// Whoever sends, by whatever way: messages of one goroutine come in order, and all of them inflate.
func TestManyGoroutinesSendOnOneHistory(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		for _, offer := range []string{offered, offeredAlone} {
			s := start(engine.WithPingInterval(0))
			h := s.handOut("/", engine.WithCompression(full))
			c := s.openDeflate("/", offer)
			session := h.next(t)
			senders, each, large := 6, 40, 70_000
			if s.cut() {
				each, large = 12, 200
			}
			ctx := context.Background()
			var all sync.WaitGroup
			for i := range senders {
				all.Go(func() {
					for j := range each {
						text := fmt.Appendf(nil, "%d %d %s", i, j, prose(100+j, uint64(j)))
						var err error
						switch i {
						case 0:
							var m *engine.Prepared
							if m, err = engine.Prepare(frame.Binary, text); err == nil {
								err = session.SendPrepared(ctx, m)
							}
						case 1:
							w, e := session.NextWriter(ctx, frame.Binary)
							if err = e; err == nil {
								if j%8 == 0 {
									text = append(text, prose(large, 1)...)
								}
								w.Write(text[:len(text)/2])
								w.Write(text[len(text)/2:])
								err = w.Close()
							}
						case 2:
							err = session.SendBinary(ctx, append(text, noise(300, 1)...))
						default:
							err = session.SendBinary(ctx, text)
						}
						if err != nil {
							t.Error(err)
						}
					}
				})
			}
			next := make([]int, senders)
			for range senders * each {
				_, got, _ := c.message()
				var i, j int
				if n, _ := fmt.Sscanf(string(got[:min(len(got), 20)]), "%d %d", &i, &j); n != 2 || next[i] != j {
					t.Fatalf("message %d of sender %d, want %d: %.40q", j, i, next[i], got)
				}
				next[i]++
			}
			all.Wait()
		}
	})
}

// A prepared message enters the history of each connection, and reaches those without compression as it is. That it is
// compressed once for each set of parameters shows in TestCompressedEchoAllocatesNothing: each time makes a frame.
func TestPreparedMessagesReachConnectionsOfEveryKind(t *testing.T) {
	onEachTransport(t, func(t *testing.T, start func(...engine.Option) *server) {
		s := start(engine.WithPingInterval(0))
		h := newScript()
		s.handle("/", h, engine.WithCompression(full))
		s.handle("/plain", h)
		payload := prose(2000, 1)
		m, err := engine.Prepare(frame.Text, payload)
		if err != nil {
			t.Fatal(err)
		}
		noisy, _ := engine.Prepare(frame.Binary, noise(2000, 1))
		type subscriber struct {
			c    *deflateClient
			conn *engine.Conn
		}
		var all []subscriber
		for _, offer := range []string{offered, offeredAlone, "x-none", deflate.Name + "; server_max_window_bits=9", offered, offeredAlone} {
			c := s.openDeflateOr("/", offer)
			all = append(all, subscriber{c, within(t, h.opened)})
		}
		for round := range 3 {
			for _, to := range all {
				if err := to.conn.SendPrepared(m); err != nil {
					t.Fatal(err)
				}
				if err := to.conn.SendPrepared(noisy); err != nil {
					t.Fatal(err)
				}
				if err := to.conn.Send(frame.Text, payload[500:]); err != nil { // from the history, where there is one
					t.Fatal(err)
				}
			}
			for i, to := range all {
				if got := to.c.expectMessage(frame.Text, payload); got != (to.c.answer != "") {
					t.Errorf("round %d, connection %d, which agreed on %q: compressed %v", round, i, to.c.answer, got)
				}
				if to.c.expectMessage(frame.Binary, noise(2000, 1)) {
					t.Errorf("round %d, connection %d: noise was compressed", round, i)
				}
				to.c.expectMessage(frame.Text, payload[500:])
			}
		}
		// Both on five connections, three times.
		if got, want := s.Stats().Deflated, uint64(3*5*(2*len(payload)-500)); got != want {
			t.Errorf("%d bytes were sent compressed, want %d", got, want)
		}
	})
}
