package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/term"

	"zeroframe/engine"
	"zeroframe/frame"
)

type catCommand struct {
	URL string `arg:"" help:"What to connect to: ws://host[:port]/path, wss://..., or ws+unix:///path/to/socket:/path."`

	Binary    bool   `short:"b" help:"Send each line as a binary message."`
	JSON      bool   `name:"json" help:"Print each message as a JSON object on a line of its own."`
	JSONInput bool   `name:"json-input" help:"Take each line of input for such an object."`
	Slash     bool   `help:"Take lines that begin with a slash for commands."`
	BinaryAs  string `enum:"auto,raw,hex,base64" default:"auto" help:"How to print binary messages: as they are (raw), as a hex dump, or in base64; auto: as a hex dump on a terminal, and as they are elsewhere."`

	Header      []string `short:"H" sep:"none" placeholder:"NAME:VALUE" help:"Add this to the request; may be repeated."`
	Subprotocol []string `short:"s" aliases:"subprotocols" placeholder:"A,B" help:"Subprotocols to offer, the preferred one first; may be repeated."`
	Compress    bool     `help:"Offer permessage-deflate, with context takeover both ways."`
	Insecure    bool     `short:"k" help:"Take any certificate of the server's."`
	MaxMessage  size     `default:"${max_message}" help:"Largest message received, and longest line sent."`

	PingInterval time.Duration `default:"0s" help:"Time between pings; 0: none."`
	PingTimeout  time.Duration `default:"${ping_timeout}" help:"How long the server may take to answer one, or to send anything else."`
	ShowPingPong bool          `short:"P" help:"Show the pings and pongs that come."`

	Linger           time.Duration `default:"1s" help:"At the end of input, how long no message may have come before the connection is closed."`
	HandshakeTimeout time.Duration `default:"${handshake_timeout}" help:"How long connecting may take, all in all."`
	CloseTimeout     time.Duration `default:"${close_timeout}" help:"How long the server may take to answer a close frame."`
}

// Help is what `zeroframe cat --help` says beyond the flags.
func (catCommand) Help() string {
	return `Each line of standard input is sent as a text message, and each message that comes is printed, with a newline behind
it. At the end of input it waits until no message has come for --linger, and closes with 1000. An interrupt closes with
1000 at once; a second one ends the program. How the connection ended is told on standard error.

With --json a message is {"type":"text","data":"...","time":"..."}. The data of types other than text (binary, and with
--show-ping-pong ping and pong) is in base64. With --json-input lines are such objects, with type text, binary or ping;
{"type":"close","code":1000,"reason":"..."} closes the connection.

With --slash:
  /ping [TEXT]           sends a ping
  /close [CODE [TEXT]]   closes the connection
  //TEXT                 sends /TEXT

It exits with 0 when the connection was closed in order: by this end, and the server answered, or by the server with 1000,
1001 or no code.`
}

// Run talks to the server until the connection ends.
func (c *catCommand) Run(o output) error {
	u, header, err := c.check()
	if err != nil {
		return err
	}
	show := newShower(o.out, c.JSON, c.BinaryAs)
	var opts []engine.RouteOption
	if c.ShowPingPong {
		controls := newControls(show, o.err)
		defer controls.stop() // after e.Close
		opts = append(opts, engine.WithOnPing(controls.note("ping")), engine.WithOnPong(controls.note("pong")))
	}
	if c.Compress {
		opts = append(opts, engine.WithCompression(engine.Compression{TakeoverOut: true, TakeoverIn: true}))
	}
	e, err := engine.New(
		engine.WithLoops(1),
		engine.WithMaxMessageSize(int64(c.MaxMessage)),
		engine.WithMaxFrameSize(max(int64(c.MaxMessage), frame.MaxControlPayload)),
		engine.WithHandshakeTimeout(c.HandshakeTimeout),
		engine.WithCloseTimeout(c.CloseTimeout),
		engine.WithPingInterval(c.PingInterval),
		engine.WithPingTimeout(c.PingTimeout),
		engine.WithPingPolicy(engine.PingAnyTraffic),
		engine.WithWriteTimeout(0), // a server may take its time
		engine.Subprotocols(c.Subprotocol...),
		engine.WithClientTLS(&tls.Config{InsecureSkipVerify: c.Insecure}),
	)
	if err != nil {
		return nameFlag(err)
	}
	defer e.Close()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(signals)
	signal.Ignore(syscall.SIGPIPE) // so that the connection is closed in order when nobody reads what is printed
	defer signal.Reset(syscall.SIGPIPE)

	s, err := c.dial(e, header, opts, signals)
	if err != nil {
		return err
	}
	if f, ok := o.in.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		fmt.Fprintln(o.err, greeting(u.Redacted(), s.Subprotocol()))
	}
	in := &input{session: s, lines: newLines(o.in, c.MaxMessage.int()), note: o.err, binary: c.Binary, slash: c.Slash, json: c.JSONInput}
	return c.converse(s, in, show, o, signals)
}

// check looks at what the engine does not, and returns the URL and the request's fields.
func (c *catCommand) check() (*url.URL, http.Header, error) {
	u, err := url.Parse(c.URL)
	if err != nil {
		return nil, nil, usageError{err.(*url.Error).Err} // not the URL, in which there may be a password
	}
	switch u.Scheme {
	case "ws", "wss", "ws+unix", "wss+unix":
	default:
		return nil, nil, usageError{fmt.Errorf("%q is not ws://host[:port]/path, wss://... or ws+unix:///path/to/socket:/path", u.Redacted())}
	}
	switch {
	case c.JSONInput && c.Binary:
		return nil, nil, usageError{errors.New("--json-input: --binary is given, too; the type of each object says what is sent")}
	case c.JSONInput && c.Slash:
		return nil, nil, usageError{errors.New("--json-input: --slash is given, too")}
	case c.JSON && c.BinaryAs != "auto":
		return nil, nil, usageError{errors.New("--binary-as: --json is given, too, which prints base64")}
	case c.Linger < 0:
		return nil, nil, usageError{fmt.Errorf("--linger: %v is below 0", c.Linger)}
	}
	header := make(http.Header)
	for _, field := range c.Header {
		name, value, err := parseField(field)
		if err != nil {
			return nil, nil, usageError{fmt.Errorf("--header: %w", err)}
		}
		header.Add(name, value)
	}
	return u, header, nil
}

// dial opens the connection, unless a signal comes first.
func (c *catCommand) dial(e *engine.Engine, header http.Header, opts []engine.RouteOption, signals <-chan os.Signal) (*engine.Session, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	type result struct {
		s   *engine.Session
		err error
	}
	dialed := make(chan result, 1)
	go func() {
		s, err := e.DialSession(ctx, c.URL, header, opts...)
		dialed <- result{s, err}
	}()
	select {
	case r := <-dialed:
		if r.err != nil {
			return nil, nameFlag(explain(r.err))
		}
		return r.s, nil
	case sig := <-signals:
		return nil, fmt.Errorf("connecting ended by a signal: %v", sig)
	}
}

// explain adds what helps to mend a failed dial: what the server wrote, or which flag there is.
func explain(err error) error {
	var refused *engine.HandshakeError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &certificate):
		return fmt.Errorf("%w; --insecure takes any certificate", err)
	case !errors.As(err, &refused):
		return err
	}
	if to := refused.Header.Get("Location"); to != "" {
		return fmt.Errorf("%w to %s", err, to)
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(refused.Body)), "\n")
	if kind, _, _ := mime.ParseMediaType(refused.Header.Get("Content-Type")); kind == "text/plain" && line != "" {
		return fmt.Errorf("%w: %.200q", err, line)
	}
	return err
}

// converse sends and prints until the connection has ended, and says how it did.
func (c *catCommand) converse(s *engine.Session, in *input, show *shower, o output, signals <-chan os.Signal) error {
	sent := make(chan error, 1)
	go func() { sent <- in.run() }() // which may never return: standard input has no end before somebody closes it
	received := make(chan error, 1)
	quiet := new(quiet)
	go func() { received <- printAll(s, show, quiet) }()
	var failure error
	var silence, patience <-chan time.Time
	for stopping, ended := false, false; !ended; {
		select {
		case err := <-sent:
			if failure = err; err != nil {
				s.Close(frame.CloseNormal, "")
			} else {
				silence = time.After(c.Linger)
			}
		case <-silence:
			silence = nil
			if left := quiet.left(c.Linger); left > 0 {
				silence = time.After(left)
			} else {
				s.Close(frame.CloseNormal, "")
			}
		case err := <-received:
			failure, ended = errors.Join(failure, err), true
		case <-signals:
			if stopping {
				fmt.Fprintln(o.err, "zeroframe: ended by a second signal")
				os.Exit(exitFailed)
			}
			stopping = true
			s.Close(frame.CloseNormal, "")
			patience = time.After(c.CloseTimeout + time.Second)
		case <-patience: // nobody reads what is printed
			ended = true
		}
	}
	reason, err := s.CloseReason(context.Background())
	if err != nil {
		return err
	}
	if unanswered(s) {
		reason = engine.CloseReason{Code: frame.CloseAbnormal, Err: engine.ErrCloseTimeout}
	}
	text, orderly := ending(reason)
	if !orderly {
		return errors.Join(failure, errors.New(text))
	}
	fmt.Fprintln(o.err, text)
	return failure
}

// printAll prints what comes until the connection has ended. The error is that of printing.
func printAll(s *engine.Session, show *shower, q *quiet) error {
	ctx := context.Background()
	failed := func() error {
		for {
			op, r, err := s.NextReader(ctx)
			if err != nil {
				return nil // the session's end
			}
			q.begin()
			if err := show.message(op, r); err != nil {
				return err
			}
			q.end()
		}
	}()
	if failed != nil {
		s.Close(frame.CloseNormal, "")
	}
	<-s.Context().Done() // the closing handshake is over
	return failed
}

// unanswered reports whether the server left our close frame without an answer for --close-timeout.
func unanswered(s *engine.Session) bool {
	select {
	case <-s.Context().Done():
		return errors.Is(context.Cause(s.Context()), engine.ErrCloseTimeout)
	default: // patience has ended
		return true
	}
}

// ending says how a connection ended, and whether that was in order.
func ending(r engine.CloseReason) (text string, orderly bool) {
	var b strings.Builder
	switch {
	case errors.Is(r.Err, engine.ErrCloseTimeout):
		return fmt.Sprintf("the server did not answer the close frame: %v", r.Code), false
	case r.Code == frame.CloseAbnormal:
		fmt.Fprintf(&b, "connection lost: %v", r.Code)
	case r.Remote:
		fmt.Fprintf(&b, "closed by the server: %v", r.Code)
		orderly = r.Code == frame.CloseNormal || r.Code == frame.CloseGoingAway || r.Code == frame.CloseNoStatus
	default:
		fmt.Fprintf(&b, "closed: %v", r.Code)
		orderly = r.Err == nil
	}
	if r.Text != "" {
		fmt.Fprintf(&b, " %q", r.Text)
	}
	if r.Err != nil {
		fmt.Fprintf(&b, ": %v", r.Err)
	}
	return b.String(), orderly
}

// greeting is what somebody at a terminal is told.
func greeting(url, subprotocol string) string {
	if subprotocol != "" {
		url += ", subprotocol " + subprotocol
	}
	return "connected to " + url
}
