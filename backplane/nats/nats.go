package nats

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	natsgo "github.com/nats-io/nats.go"

	"zeroframe/engine"
	"zeroframe/frame"
)

var (
	// ErrFull is returned by Publish for a message that WithBuffer leaves no room for.
	ErrFull = errors.New("nats: too much waits to be sent")
	// ErrTooLarge is returned by Publish for a message above the server's max_payload.
	ErrTooLarge = errors.New("nats: message above the server's max_payload")
	// ErrClosed is returned for what comes after Close.
	ErrClosed = errors.New("nats: backplane closed")
	// ErrUnsent is returned by Close when messages were published that the server has not taken.
	ErrUnsent = errors.New("nats: closed with messages unsent")
)

// Backplane connects an engine with others by NATS. It is an engine.Backplane: give it to one engine, which closes it.
// Its methods may be called from any goroutine and never wait for the network.
type Backplane struct {
	config   config
	id       engineID
	subjects subjects
	out      outbox
	interest interest
	presence *presence // nil: none
	status   status

	maxPayload              atomic.Int64 // of the server; 0: not known yet
	sent, received, dropped atomic.Uint64
	complained              atomic.Int64 // when trouble was logged

	attached atomic.Bool
	closing  sync.Once
	unsent   atomic.Bool   // when it ended
	wake     chan struct{} // the link has something to do
	stop     chan struct{} // closed by Close
	ended    sync.WaitGroup
	abort    func() // ends what the link may be waiting for
	log      *slog.Logger
	deliver  func(topic string, op frame.OpCode, payload []byte)
	in       chan *natsgo.Msg
}

var _ engine.Backplane = (*Backplane)(nil)

// waitIn is how many messages may wait in an engine that is behind. Then it loses some, rather than the connection.
const waitIn = 8192

// New makes a Backplane for the NATS servers at url: one URL, or several of one cluster with commas between, with scheme
// nats, tls, ws or wss. They are connected to when an engine starts with it, tried again until one answers, and again
// whenever the connection is lost. The error is an *engine.OptionError, or says what is wrong with url.
func New(url string, opts ...Option) (*Backplane, error) {
	c := defaults()
	for _, o := range opts {
		if err := o(&c); err != nil {
			return nil, err
		}
	}
	servers, err := parseServers(url)
	if err != nil {
		return nil, err
	}
	c.client.Servers = servers
	b := &Backplane{
		config: c,
		wake:   make(chan struct{}, 1),
		stop:   make(chan struct{}),
		in:     make(chan *natsgo.Msg, waitIn),
		abort:  func() {},
	}
	rand.Read(b.id[:])
	b.subjects = newSubjects(c.prefix, b.id)
	b.out.limit = c.buffer
	b.interest.topics = make(map[string]string)
	b.interest.changed = make(map[string]struct{})
	if c.presenceEvery != 0 {
		b.presence = newPresence(b.id, &b.subjects, c.presenceEvery, c.presenceForget)
	}
	b.status.since = time.Now()
	b.status.err = errNotYet
	return b, nil
}

var (
	errNotYet = errors.New("nats: not connected yet")
	errLost   = errors.New("nats: connection lost")
)

func parseServers(list string) (servers []string, err error) {
	for s := range strings.SplitSeq(list, ",") {
		if s = strings.TrimSpace(s); s == "" {
			continue
		}
		if !strings.Contains(s, "://") {
			s = "nats://" + s
		}
		// The error of url.Parse would show a password.
		u, err := url.Parse(s)
		if err != nil || u.Hostname() == "" {
			return nil, fmt.Errorf("nats: server %d of the URL is malformed", len(servers)+1)
		}
		switch u.Scheme {
		case "nats", "tls", "ws", "wss":
			servers = append(servers, s)
		default:
			return nil, fmt.Errorf("nats: scheme %q is not nats, tls, ws or wss", u.Scheme)
		}
	}
	if len(servers) == 0 {
		return nil, errors.New("nats: no URL of a server")
	}
	return servers, nil
}

// Attach starts connecting and returns. The engine calls it.
func (b *Backplane) Attach(deliver func(topic string, op frame.OpCode, payload []byte), log *slog.Logger) error {
	if b.attached.Swap(true) {
		return errors.New("nats: a Backplane is for one engine")
	}
	b.deliver, b.log = deliver, log
	l := newLink(b)
	b.ended.Go(l.run)
	return nil
}

// Publish copies a message into the buffer of those that wait to be sent. The errors are ErrFull, ErrTooLarge,
// ErrClosed, and engine.ErrTopicName. Status counts the message as dropped then.
func (b *Backplane) Publish(topic string, op frame.OpCode, payload []byte) error {
	err := b.publish(topic, op, payload)
	if err != nil {
		b.dropped.Add(1)
	}
	return err
}

func (b *Backplane) publish(topic string, op frame.OpCode, payload []byte) error {
	if topic == "" || len(topic) > engine.MaxTopicName {
		return engine.ErrTopicName
	}
	if !op.IsData() {
		return engine.ErrFragment
	}
	if most := b.maxPayload.Load(); most != 0 && int64(headerSize+len(payload)) > most {
		return ErrTooLarge
	}
	var room [256]byte // for most subjects
	first, err := b.out.put(b.subjects.appendTopic(room[:0], topic), kind(op), b.id, payload)
	if first {
		b.rouse()
	}
	return err
}

// Subscribe asks for the messages of a topic. The error is ErrClosed.
func (b *Backplane) Subscribe(topic string) error {
	select {
	case <-b.stop:
		return ErrClosed
	default:
	}
	if b.interest.set(string(b.subjects.appendTopic(nil, topic)), topic, true) {
		b.rouse()
	}
	return nil
}

// Unsubscribe ends that. Messages may still come, and are ignored.
func (b *Backplane) Unsubscribe(topic string) {
	if b.interest.set(string(b.subjects.appendTopic(nil, topic)), topic, false) {
		b.rouse()
	}
}

// Count tells the other engines, by and by, that a topic has local members here.
func (b *Backplane) Count(topic string, local int) {
	if b.presence != nil {
		b.presence.count(topic, local)
	}
}

// Elsewhere returns how many members a topic has on other engines, as they have told. It is 0 without presence.
func (b *Backplane) Elsewhere(topic string) int {
	if b.presence == nil {
		return 0
	}
	return b.presence.elsewhere(topic)
}

// Status says how the connection is. It is connected when the server knows all subscriptions.
func (b *Backplane) Status() engine.BackplaneStatus {
	s := b.status.get()
	s.Sent, s.Received, s.Dropped = b.sent.Load(), b.received.Load(), b.dropped.Load()
	return s
}

// closeWithin bounds Close, with closeAborted for what is cut short then.
const (
	closeWithin  = 2 * time.Second
	closeAborted = 2 * time.Second
)

// Close sends what waits, says goodbye, and ends the connection: within 2 s, or at once if there is none. The error is
// ErrUnsent.
func (b *Backplane) Close() error {
	b.closing.Do(func() {
		b.out.close()
		close(b.stop)
		if !b.attached.Load() {
			return
		}
		if !b.status.get().Connected {
			b.abort()
		}
		done := make(chan struct{})
		go func() { b.ended.Wait(); close(done) }()
		select {
		case <-done:
			return
		case <-time.After(closeWithin):
			b.abort()
		}
		select {
		case <-done:
		case <-time.After(closeAborted): // a dialer of the user's, or the resolver, is not back yet
			b.unsent.Store(true)
		}
	})
	if b.unsent.Load() {
		return ErrUnsent
	}
	return nil
}

// rouse makes the link look what there is to do.
func (b *Backplane) rouse() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}
