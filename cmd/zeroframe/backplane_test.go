package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"zeroframe/bench"
	"zeroframe/frame"
)

// natsServer is as much of a NATS server as two servers of ours need: it sends each message to all others that have
// subscribed to exactly its subject.
type natsServer struct {
	net.Listener
	mu    sync.Mutex
	conns map[*natsConn]struct{}
	ended sync.WaitGroup
}

type natsConn struct {
	net.Conn
	subjects map[string]string // by subscription
}

func startNATS(t *testing.T) *natsServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &natsServer{Listener: ln, conns: make(map[*natsConn]struct{})}
	s.ended.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.ended.Go(func() { s.serve(&natsConn{c, make(map[string]string)}) })
		}
	})
	t.Cleanup(s.stop)
	return s
}

func (s *natsServer) stop() {
	s.Close()
	s.mu.Lock()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.ended.Wait()
}

func (s *natsServer) serve(c *natsConn) {
	defer c.Close()
	s.mu.Lock()
	s.conns[c] = struct{}{}
	fmt.Fprint(c, `INFO {"server_id":"test","version":"2.10.0","proto":1,"headers":true,"max_payload":1048576}`+"\r\n")
	s.mu.Unlock()
	for in := bufio.NewReader(c); ; {
		line, err := in.ReadString('\n')
		s.mu.Lock()
		if err != nil {
			delete(s.conns, c)
			s.mu.Unlock()
			return
		}
		switch words := strings.Fields(line); strings.ToUpper(words[0]) {
		case "PING":
			fmt.Fprint(c, "PONG\r\n")
		case "SUB":
			c.subjects[words[len(words)-1]] = words[1]
		case "UNSUB":
			delete(c.subjects, words[1])
		case "PUB":
			n, _ := strconv.Atoi(words[len(words)-1])
			payload := make([]byte, n+len("\r\n"))
			io.ReadFull(in, payload)
			for to := range s.conns {
				for sid, subject := range to.subjects {
					if to != c && subject == words[1] {
						fmt.Fprintf(to, "MSG %s %s %d\r\n%s", subject, sid, n, payload)
					}
				}
			}
		}
		s.mu.Unlock()
	}
}

func TestServersWithABackplaneShareTheirTopics(t *testing.T) {
	broker := startNATS(t)
	address := "nats://" + broker.Addr().String()
	e := client(t)
	var members []*heard
	for range 2 {
		p := start(t, "serve", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--backplane", address)
		metrics, url := p.line("metrics on "), p.line("listening on ")
		h, c := topicMember(t, e, metrics, url+"topic/room", 1)
		defer c.Close(frame.CloseNormal, "")
		shot := snapshotWhen(t, metrics, func(s bench.Snapshot) bool { return s.Engine.Backplane.Connected })
		if b := shot.Engine.Backplane; b.Err != nil || b.Since.IsZero() {
			t.Errorf("%+v", b)
		}
		members = append(members, h)
		if len(members) == 2 {
			// A subscription that is on its way is nowhere told: what is published before it has come is lost.
			for got := false; !got; {
				c.SendText("hello")
				select {
				case m := <-members[0].messages:
					if m != fmt.Sprint(frame.Text, " hello") {
						t.Errorf("%q", m)
					}
					got = true
				case <-time.After(50 * time.Millisecond):
				}
			}
			if got := within(t, h.messages); got != fmt.Sprint(frame.Text, " hello") {
				t.Errorf("%q", got)
			}
		}
	}
}

func TestServeSaysWhyItsBackplaneIsAway(t *testing.T) {
	broker := startNATS(t)
	address := "nats://" + broker.Addr().String()
	broker.stop()
	p := start(t, "serve", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--backplane", address)
	metrics, url := p.line("metrics on "), p.line("listening on ")
	h, c := topicMember(t, client(t), metrics, url+"topic/room", 1)
	c.SendText("hello")
	if got := within(t, h.messages); got != fmt.Sprint(frame.Text, " hello") {
		t.Errorf("%q", got)
	}
	shot := snapshotWhen(t, metrics, func(s bench.Snapshot) bool {
		return s.Engine.Backplane.Err != nil && strings.Contains(s.Engine.Backplane.Err.Error(), "refused")
	})
	if shot.Engine.Backplane.Connected {
		t.Errorf("%+v", shot.Engine.Backplane)
	}
	p.Process.Signal(os.Interrupt)
	if code := p.exit(); code != exitOK {
		t.Errorf("exit code %d: %s", code, p.errors())
	}
}
