// Command chat is a chat with rooms: a page, and the WebSocket that it opens, on one port.
//
//	go run ./examples/chat      # and open http://127.0.0.1:9001 in two windows
//
// A room is a topic. Who opens a WebSocket on /room/{room}?name={name} is a member of it for as long as the connection
// lives; what they send as text goes to all members.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"zeroframe/engine"
	"zeroframe/frame"
)

const (
	maxName    = 32       // characters of a room's name or a person's
	maxMessage = 4 << 10  // bytes; the page lets 1000 characters be typed, which are less
	burst      = 10       // messages that may come at once
	perSecond  = 2        // and then so many in a second
	maxWaiting = 64 << 10 // bytes for somebody who does not read; then they are disconnected, and come back
)

func main() {
	addr := flag.String("addr", "127.0.0.1:9001", "where to listen")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	e, err := newServer()
	if err != nil {
		log.Fatal(err)
	}
	ln, err := e.Listen("tcp", *addr)
	if err != nil {
		log.Fatal(err)
	}
	log.Printf("open http://%v in two windows", ln.Addr())
	if err := serve(ctx, e, ln); err != nil {
		log.Fatal(err)
	}
}

// newServer makes the engine. Pages of other origins are refused by default.
func newServer() (*engine.Engine, error) {
	e, err := engine.New(
		engine.WithHTTPHandler(pages()),
		engine.WithOnSubscribe(func(c *engine.Conn, room string, _ int) { present(c, room, "joins") }),
		engine.WithOnUnsubscribe(func(c *engine.Conn, room string, _ int) { present(c, room, "leaves") }))
	if err != nil {
		return nil, err
	}
	return e, e.Handle("/room/{room}", rooms{},
		engine.WithMaxMessageSize(maxMessage),
		engine.WithMaxBackpressure(maxWaiting), engine.WithBackpressurePolicy(engine.PolicyClose))
}

// serve serves until ctx ends; then everybody is told that the server goes away.
func serve(ctx context.Context, e *engine.Engine, ln net.Listener) error {
	ended := make(chan error, 1)
	go func() { ended <- e.Serve(ln) }()
	select {
	case err := <-ended:
		return errors.Join(err, e.Close())
	case <-ctx.Done():
	}
	farewell, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	err := e.Shutdown(farewell)
	<-ended
	return err
}

// said is what members of a room are sent: a message, or that somebody joins or leaves.
type said struct {
	From string    `json:"from"`
	At   time.Time `json:"at"`
	Text string    `json:"text,omitempty"`
	Mine bool      `json:"mine,omitempty"` // to who has sent it
	Does string    `json:"does,omitempty"` // "joins" or "leaves"
	Here int       `json:"here,omitempty"` // how many members there are then
}

func (s said) encoded() []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // there is nothing in it that cannot be encoded
	}
	return b
}

// person is somebody's connection. Only its loop touches it.
type person struct {
	name, room string
	allowance  float64 // messages
	counted    time.Time
}

// mayTalk takes one message off the allowance, if that is not used up.
func (p *person) mayTalk(now time.Time) bool {
	p.allowance = min(burst, p.allowance+perSecond*now.Sub(p.counted).Seconds())
	p.counted = now
	if p.allowance < 1 {
		return false
	}
	p.allowance--
	return true
}

// rooms handles the connections of all rooms, on their loops.
type rooms struct{ engine.NopHandler }

// OnUpgrade learns who wants to come in, and where.
func (rooms) OnUpgrade(u *engine.Upgrade) error {
	p := &person{name: u.Request.URL.Query().Get("name"), room: u.Request.PathValue("room"), allowance: burst, counted: time.Now()}
	if !isName(p.name) || !isName(p.room) {
		return &engine.Rejection{Status: http.StatusBadRequest, Reason: "a name and a room are needed, of at most 32 characters"}
	}
	u.UserData = p
	return nil
}

// OnOpen lets them in.
func (rooms) OnOpen(c *engine.Conn) {
	if err := c.Subscribe(c.UserData().(*person).room); err != nil {
		c.Close(frame.CloseInternalError, "the room is closed")
	}
}

// OnMessage tells everybody in the room.
func (rooms) OnMessage(c *engine.Conn, op frame.OpCode, payload []byte) {
	p := c.UserData().(*person)
	switch text := strings.TrimSpace(string(payload)); {
	case op != frame.Text:
		c.Close(frame.CloseUnsupportedData, "only text, please")
	case !p.mayTalk(time.Now()):
		c.Close(frame.ClosePolicyViolation, "too many messages")
	case text != "":
		s := said{From: p.name, At: time.Now().UTC(), Text: text}
		c.Publish(p.room, frame.Text, s.encoded()) // to all others
		s.Mine = true
		c.Send(frame.Text, s.encoded())
	}
}

// counting has the numbers of members reach all of them in the order in which they were right.
var counting sync.Mutex

// present tells a room who joins or leaves. An engine counts its own members; behind a backplane SubscribersEverywhere
// counts all.
func present(c *engine.Conn, room, does string) {
	counting.Lock()
	defer counting.Unlock()
	e := c.Engine()
	s := said{From: c.UserData().(*person).name, At: time.Now().UTC(), Does: does, Here: e.Subscribers(room)}
	e.Publish(room, frame.Text, s.encoded())
}

// isName reports whether s can be shown as a name.
func isName(s string) bool {
	return s != "" && s == strings.TrimSpace(s) && utf8.ValidString(s) && utf8.RuneCountInString(s) <= maxName &&
		!strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
