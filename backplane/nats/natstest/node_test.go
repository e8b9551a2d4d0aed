package natstest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"zeroframe/backplane/nats"
	"zeroframe/engine"
	"zeroframe/frame"
)

// node is an engine on the backplane.
type node struct {
	*engine.Engine
	t    *testing.T
	addr string
	logs *logBuffer
}

// quick are options with which tests need not wait long.
func quick(name string, more ...nats.Option) []nats.Option {
	return append([]nats.Option{
		nats.WithReconnect(time.Millisecond, 50*time.Millisecond),
		nats.WithPresence(10*time.Millisecond, 2*time.Second),
		nats.WithClient(natsgo.Name(name)),
	}, more...)
}

// startNode starts an engine, connected or not.
func startNode(t *testing.T, url, name string, more ...nats.Option) *node {
	t.Helper()
	b, err := nats.New(url, quick(name, more...)...)
	if err != nil {
		t.Fatal(err)
	}
	logs := new(logBuffer)
	e, err := engine.New(engine.WithBackplane(b), engine.WithLoops(1), engine.WithPingInterval(0),
		engine.WithLogger(slog.New(slog.NewTextHandler(logs, nil))))
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Handle("/", subscriber{}); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- e.Serve(ln) }()
	t.Cleanup(func() {
		e.Close()
		if err := <-served; !errors.Is(err, engine.ErrServerClosed) {
			t.Errorf("Serve returned %v", err)
		}
	})
	return &node{e, t, ln.Addr().String(), logs}
}

// connectedNodes starts engines and waits until the server has them.
func connectedNodes(t *testing.T, url string, names ...string) (nodes []*node) {
	t.Helper()
	for _, name := range names {
		nodes = append(nodes, startNode(t, url, name))
	}
	for _, n := range nodes {
		n.connected()
	}
	return nodes
}

func (n *node) connected() {
	n.t.Helper()
	until(n.t, "connected", func() bool { return n.Stats().Backplane.Connected })
}

func (n *node) disconnected() {
	n.t.Helper()
	until(n.t, "disconnected", func() bool { return !n.Stats().Backplane.Connected })
}

// knows waits until the engine knows of that many members everywhere. They get what it publishes from then on: who is
// counted is subscribed.
func (n *node) knows(topic string, members int) {
	n.t.Helper()
	until(n.t, "the number of members of "+topic, func() bool { return n.SubscribersEverywhere(topic) == members })
}

func (n *node) publish(topic, text string) {
	n.t.Helper()
	if err := n.Publish(topic, frame.Text, []byte(text)); err != nil {
		n.t.Fatal(err)
	}
}

// subscriber subscribes a connection to the topic in a message "+topic", unsubscribes it with "-topic", and publishes for
// it with "!topic text". It answers "?topic" by whether the engine is connected, and how many members it knows of.
type subscriber struct{ engine.NopHandler }

func (subscriber) OnMessage(c *engine.Conn, op frame.OpCode, payload []byte) {
	rest := payload[1:]
	switch payload[0] {
	case '+':
		if err := c.Subscribe(string(rest)); err != nil {
			c.Terminate()
		}
		c.Reply(op, payload)
	case '-':
		c.Unsubscribe(string(rest))
		c.Reply(op, payload)
	case '!':
		topic, text, _ := bytes.Cut(rest, []byte(" "))
		c.Publish(string(topic), frame.Text, text)
	case '?':
		e := c.Engine()
		c.SendText(fmt.Sprint(e.Stats().Backplane.Connected, e.SubscribersEverywhere(string(rest))))
	}
}

// member is a client of a node.
type member struct {
	*engine.Session
	t *testing.T
}

// member returns a client that is subscribed to topics, on its engine.
func (n *node) member(topics ...string) *member {
	n.t.Helper()
	s, err := n.DialSession(patiently(n.t), "ws://"+n.addr+"/", nil,
		engine.WithMaxMessageSize(64<<20), engine.WithMaxFrameSize(64<<20))
	if err != nil {
		n.t.Fatal(err)
	}
	m := &member{s, n.t}
	for _, topic := range topics {
		m.ask("+" + topic)
	}
	return m
}

// ask sends an order and waits until it is obeyed.
func (m *member) ask(order string) {
	m.t.Helper()
	m.order(order)
	m.expect(frame.Binary, order)
}

func (m *member) order(order string) {
	m.t.Helper()
	if err := m.SendBinary(patiently(m.t), []byte(order)); err != nil {
		m.t.Fatal(err)
	}
}

func (m *member) expect(op frame.OpCode, payload string) {
	m.t.Helper()
	got := m.next()
	if got.OpCode != op || string(got.Payload) != payload {
		m.t.Fatalf("received %v %.100q (%d bytes), want %v %.100q (%d bytes)",
			got.OpCode, got.Payload, len(got.Payload), op, payload, len(payload))
	}
}

func (m *member) next() engine.Message {
	m.t.Helper()
	got, err := m.Receive(patiently(m.t))
	if err != nil {
		m.t.Fatal(err)
	}
	return got
}

func (m *member) expectText(texts ...string) {
	m.t.Helper()
	for _, text := range texts {
		m.expect(frame.Text, text)
	}
}

// patiently returns a context that ends when a test has waited long enough.
func patiently(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// logBuffer is what an engine has logged.
type logBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func (l *logBuffer) text() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.String()
}
