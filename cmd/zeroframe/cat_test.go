package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"zeroframe/engine"
	"zeroframe/frame"
)

func TestCatSendsLinesAndPrintsMessages(t *testing.T) {
	t.Parallel()
	url, ends := sessionsHere(t, tellTypes)
	r := cat(t, "hello\n\nw\u00f6rld\r\na\rb\nlast", url, "--linger", "1s")
	r.expect(t, "text \"hello\"\ntext \"\"\ntext \"w\u00f6rld\"\ntext \"a\\rb\"\ntext \"last\"\n")
	if end := within(t, ends); end.Code != frame.CloseNormal || !end.Remote {
		t.Errorf("the server saw %+v", end)
	}
	cat(t, "a\r\n\xff\x00\n/x\n", url, "--binary", soon).expect(t, "binary \"a\\r\"\nbinary \"\\xff\\x00\"\nbinary \"/x\"\n")
	cat(t, "", url, soon).expect(t, "")
}

func TestCatPrintsMessagesAsTheyComeWhileInputIsOpen(t *testing.T) {
	t.Parallel()
	url, _ := sessionsHere(t, tellTypes)
	c := startCat(t, url)
	for i := range 3 {
		c.write(fmt.Sprint(i))
		c.line(fmt.Sprintf("text \"%d\"", i))
	}
	c.in.Close()
	c.expectEnd(exitOK, "closed: 1000")
}

func TestCatPrintsBinaryMessages(t *testing.T) {
	t.Parallel()
	url, _ := serveHere(t)
	url += "/echo"
	data := "\x00\xffsome more bytes\r\n\nend\n"
	cat(t, data, url, "-b", soon).expect(t, data)
	cat(t, data, url, "-b", soon, "--binary-as", "raw").expect(t, data)
	cat(t, "\x00\xff\n\n", url, "-b", soon, "--binary-as", "base64").expect(t, "AP8=\n\n")
	cat(t, "\x00\xff\n\n", url, "-b", soon, "--binary-as", "hex").expect(t,
		"00000000  00 ff                                             |..|\n\n")
	cat(t, "text stays\n", url, soon, "--binary-as", "hex").expect(t, "text stays\n")
}

func TestCatPrintsAndTakesJSON(t *testing.T) {
	t.Parallel()
	url, _ := serveHere(t)
	r := cat(t, `{"n":41,"<&>":"\n"}`+"\n", url+"/json", "--json", soon)
	if got := jsonLines(t, r.out); !slices.Equal(got, []shown{{Type: "text", Data: `{"n":42,"<&>":"\n"}`}}) || strings.Contains(r.out, `\u003c`) {
		t.Errorf("%q", r.out)
	}
	input := `{"type":"text","data":"h\u00e9\n"}` + "\n\n" + `{"type":"binary","data":"AP8="}` + "\n" + `{"type":"ping","data":"AAE="}` + "\n"
	want := []shown{{Type: "text", Data: "h\u00e9\n"}, {Type: "binary", Data: "AP8="}, {Type: "pong", Data: "AAE="}}
	r = cat(t, input, url+"/echo", "--json", "--json-input", "--show-ping-pong", soon)
	got := jsonLines(t, r.out)
	slices.SortStableFunc(got, func(a, b shown) int {
		return strings.Index("text binary pong", a.Type) - strings.Index("text binary pong", b.Type)
	})
	if !slices.Equal(got, want) || r.code != exitOK { // a pong is printed beside messages, in no order
		t.Errorf("%q %q", r.out, r.errors)
	}
	// What one prints another takes.
	printed := cat(t, input, url+"/echo", "--json", "--json-input", soon)
	again := cat(t, printed.out, url+"/echo", "--json", "--json-input", soon)
	if got := jsonLines(t, again.out); !slices.Equal(got, want[:2]) {
		t.Errorf("%q %q", again.out, again.errors)
	}
	r = cat(t, `{"type":"close","code":4001,"reason":"enough"}`+"\n", url+"/echo", "--json-input")
	if r.code != exitOK || r.errors != "closed: 4001 \"enough\"\n" {
		t.Errorf("exit code %d: %q", r.code, r.errors)
	}
}

func TestCatEndsAtALineThatCannotBeSent(t *testing.T) {
	t.Parallel()
	url, ends := sessionsHere(t, func(ctx context.Context, s *engine.Session) error {
		for _, err := range s.Messages(ctx) {
			if err != nil {
				return err
			}
		}
		return nil
	})
	for _, tt := range []struct{ input, args, message string }{
		{"good\nb\xffd\nnever\n", "", "line 2: it is not UTF-8; --binary"},
		{"good\n123456789012345678\r\n1234567890123456789\nnever\n", "--max-message 18", "line 3 is longer than --max-message, 18 B"},
		{"good\n" + strings.Repeat("x", 1<<20) + "\n", "--max-message 18", "line 2 is longer than --max-message, 18 B"},
		{"{\"type\":\"text\"}\ngood\n", "--json-input", "line 2: invalid character"},
		{"{\"type\":\"text\"}\n{\"type\":\"text\",\"data\":1}\n", "--json-input", "line 2: json: cannot unmarshal"},
		{"{\"type\":\"text\"}\n{\"type\":\"text\",\"dat\":\"\"}\n", "--json-input", "line 2: json: unknown field"},
		{"{\"type\":\"text\"} {}\n", "--json-input", "line 1: there is more than one object"},
		{"{\"type\":\"pong\"}\n", "--json-input", `line 1: the type "pong" is not text, binary, ping or close`},
		{"{\"type\":\"binary\",\"data\":\"x\"}\n", "--json-input", `line 1: the data of type "binary"`},
		{"{\"type\":\"close\",\"code\":1006}\n", "--json-input", "line 1: engine: close code not allowed"},
		{"{\"type\":\"ping\",\"data\":\"" + strings.Repeat("AAAA", 42) + "\"}\n", "--json-input", "line 1: engine: message too big"},
	} {
		r := cat(t, tt.input, append(strings.Fields(tt.args), url)...)
		r.expectFailure(t, tt.message)
		if end := within(t, ends); end.Code != frame.CloseNormal || !strings.Contains(r.errors, "closed: 1000") {
			t.Errorf("%q: the server saw %+v; standard error: %s", tt.message, end, r.errors)
		}
	}
}

func TestCatTakesLinesUpToTheirLimit(t *testing.T) {
	t.Parallel()
	for _, n := range []int{65536, 1 << 20} {
		for name, ending := range map[string]string{"none": "", "CRLF": "\r\n"} {
			t.Run(fmt.Sprint(n, name), func(t *testing.T) {
				t.Parallel()
				url, _ := serveHere(t)
				line := strings.Repeat("x", n)
				cat(t, line+ending, url+"/session", soon, "--max-message", fmt.Sprint(n)).expect(t, line+"\n")
			})
		}
	}
}

func TestCatObeysSlashCommands(t *testing.T) {
	t.Parallel()
	url, _ := sessionsHere(t, tellTypes)
	c := startCat(t, url, "--slash", "--show-ping-pong")
	c.write("//text")
	c.line(`text "/text"`)
	c.write("/ping")
	c.write("/ping some  text ")
	c.write("/shout")
	c.write("/close 1006")
	c.write("/close x")
	c.write("/ping " + strings.Repeat("x", 126))
	c.write("still here")
	c.line(`text "still here"`)
	c.write("/close 4999 bye bye")
	c.expectEnd(exitOK, "closed: 4999 \"bye bye\"\n")
	for _, want := range []string{"pong \"\"\n", "pong \"some  text\"\n", "/shout: there are /ping", "/close: engine: close code not allowed", "/ping: engine: message too big"} {
		if !strings.Contains(c.errors(), want) {
			t.Errorf("%q is missing in %q", want, c.errors())
		}
	}
	cat(t, "/ping\n//\n", url, soon).expect(t, "text \"/ping\"\ntext \"//\"\n")
}

func TestCatShowsThePingsOfTheServerAndThePongsForItsOwn(t *testing.T) {
	t.Parallel()
	url, _ := sessionsHere(t, func(ctx context.Context, s *engine.Session) error {
		s.Conn().Ping([]byte("are you\x00there?"))
		return hold(ctx, s)
	})
	c := startCat(t, url, "-P", "--ping-interval", "10ms")
	for end := time.Now().Add(patience); strings.Count(c.errors(), "pong ") < 3; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("no three pongs: %q", c.errors())
		}
	}
	if got := c.errors(); strings.Count(got, `ping "are you\x00there?"`+"\n") != 1 {
		t.Errorf("%q", got)
	}
	c.in.Close()
	c.expectEnd(exitOK, "closed: 1000")
}

func TestCatEndsWhenPingsAreNotAnswered(t *testing.T) {
	t.Parallel()
	startCat(t, silentHere(t), "--ping-interval", "10ms", "--ping-timeout", "50ms", "--close-timeout", "50ms").
		expectEnd(exitFailed, `closed: 1011 (internal error) "Ping timeout"`)
}

func TestCatSendsTheFieldsAndSubprotocolsItIsGiven(t *testing.T) {
	t.Parallel()
	requests := make(chan *http.Request, 1)
	url, _ := sessionsHere(t, func(ctx context.Context, s *engine.Session) error {
		requests <- s.Request()
		s.SendText(ctx, s.Subprotocol())
		return hold(ctx, s)
	}, engine.Subprotocols("second", "third"))
	cat(t, "", url, soon, "-H", "X-A: one, two ", "--header", "x-a:three", "-H", "Cookie: a=b:c", "--subprotocol", "first,second", "-s", "third").
		expect(t, "second\n")
	h := within(t, requests).Header
	if !slices.Equal(h["X-A"], []string{"one, two", "three"}) || h.Get("Cookie") != "a=b:c" ||
		h.Get("Sec-WebSocket-Protocol") != "first, second, third" || h.Get("Sec-WebSocket-Extensions") != "" {
		t.Errorf("%v", h)
	}
}

func TestCatOffersCompression(t *testing.T) {
	t.Parallel()
	url, e := serveHere(t, engine.WithCompression(engine.Compression{TakeoverIn: true, TakeoverOut: true}))
	line := string(bytes.ReplaceAll(records(1, 20_000), []byte("\n"), []byte(" ")))
	cat(t, line+"\n"+line, url+"/session", "--compress", soon).expect(t, line+"\n"+line+"\n")
	for end := time.Now().Add(patience); e.Stats().Inflated != 40_000 || e.Stats().Deflated != 40_000; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%+v", e.Stats())
		}
	}
}

// The server closes while standard input is open and nothing comes from it.
func TestCatEndsWithTheConnectionAndSaysHow(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		close   func(*engine.Session)
		code    int
		message string
	}{
		{func(s *engine.Session) { s.Close(1000, "") }, exitOK, "closed by the server: 1000 (normal closure)\n"},
		{func(s *engine.Session) { s.Close(1001, "going") }, exitOK, "closed by the server: 1001 (going away) \"going\"\n"},
		{func(s *engine.Session) { s.Close(1005, "") }, exitOK, "closed by the server: 1005 (no status received)\n"},
		{func(s *engine.Session) { s.Close(1011, "t\u00f6\n") }, exitFailed, "zeroframe: error: closed by the server: 1011 (internal error) \"t\u00f6\\n\"\n"},
		{func(s *engine.Session) { s.Close(4000, "") }, exitFailed, "zeroframe: error: closed by the server: 4000\n"},
		{(*engine.Session).Terminate, exitFailed, "zeroframe: error: connection lost"},
	} {
		url, _ := sessionsHere(t, func(ctx context.Context, s *engine.Session) error {
			s.SendText(ctx, "last words")
			s.Flush(ctx)
			tt.close(s)
			return nil
		})
		c := startCat(t, url)
		c.line("last words")
		c.expectEnd(tt.code, tt.message)
	}
}

func TestCatPrintsNoMessageThatWasCutOff(t *testing.T) {
	t.Parallel()
	url, _ := sessionsHere(t, func(ctx context.Context, s *engine.Session) error {
		s.SendText(ctx, "whole")
		w, err := s.NextWriter(ctx, frame.Text)
		if err == nil {
			_, err = w.Write(records(1, 200_000))
		}
		s.Flush(ctx)
		s.Terminate()
		return err
	})
	r := cat(t, "", url, "--linger", "1m")
	r.expectFailure(t, "connection lost")
	if r.out != "whole\n" {
		t.Errorf("%d bytes printed", len(r.out))
	}
}

func TestCatSaysWhyItCannotConnect(t *testing.T) {
	t.Parallel()
	url, _ := serveHere(t)
	cat(t, "x\n", url+"/none").expectFailure(t, "404: Not Found")
	cat(t, "x\n", url+"/flood/x").expectFailure(t, `400: Bad Request: "/flood/{bytes} takes a number from 1 to`)
	cat(t, "x\n", url+"//echo").expectFailure(t, "307: Temporary Redirect to /echo")
	cat(t, "x\n", "ws://127.0.0.1:1/").expectFailure(t, "refused")
}

func TestCatReachesServersOverTLSAndUnixSockets(t *testing.T) {
	t.Parallel()
	certificate, key, _ := pemFiles(t)
	secure := []string{"--tls-cert", certificate, "--tls-key", key}
	url := start(t, append([]string{"serve", "--listen", "127.0.0.1:0"}, secure...)...).line("listening on ")
	cat(t, "hello\n", url+"session", soon).expectFailure(t, "certificate signed by unknown authority; --insecure takes any certificate")
	cat(t, "hello\n", url+"session", soon, "--insecure").expect(t, "hello\n")
	cat(t, "hello\n", strings.Replace(url, "wss:", "ws:", 1)+"session").expectFailure(t, "handshake failed")

	path := filepath.Join(t.TempDir(), "s")
	start(t, "serve", "--listen", "unix:"+path).line("listening on ")
	cat(t, "hello\n", "ws+unix://"+path+":/session", soon).expect(t, "hello\n")
	cat(t, "hello\n", "wss+unix://"+path+":/session", "-k").expectFailure(t, "tls:")
	path = filepath.Join(t.TempDir(), "t")
	start(t, append([]string{"serve", "--listen", "unix:" + path}, secure...)...).line("listening on ")
	cat(t, "hello\n", "wss+unix://"+path+":/session", soon, "-k").expect(t, "hello\n")
	cat(t, "hello\n", "ws+unix://"+path+"x:/session").expectFailure(t, "no such file")
}

func TestCatSendsManyLinesOverTLSBothWays(t *testing.T) {
	t.Parallel()
	url := start(t, "serve", "--listen", "127.0.0.1:0", "--tls-self-signed").line("listening on ")
	var lines bytes.Buffer
	for lines.Len() < 5<<20 {
		lines.Write(records(lines.Len(), 1+lines.Len()%30_000))
		lines.WriteByte('\n')
	}
	cat(t, lines.String(), url+"session", "-k", "-b", soon).expect(t, lines.String())
}

func TestCatStopsAtAnInterrupt(t *testing.T) {
	t.Parallel()
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		url, ends := sessionsHere(t, tellTypes)
		c := startCat(t, url)
		c.write("x")
		c.line(`text "x"`)
		c.Process.Signal(signal)
		c.expectEnd(exitOK, "closed: 1000 (normal closure)\n")
		if end := within(t, ends); end.Code != frame.CloseNormal || !end.Remote {
			t.Errorf("the server saw %+v", end)
		}
	}
}

func TestASecondInterruptEndsCatAtOnce(t *testing.T) {
	t.Parallel()
	closing := make(chan struct{}, 1)
	url, _ := serveRoutes(t, func(e *engine.Engine) error { return e.HandleRaw("/", noticing{closing}) })
	c := startCat(t, url, "--close-timeout", "1h")
	c.write("x")
	within(t, closing) // the message
	c.Process.Signal(os.Interrupt)
	within(t, closing) // the close frame, which is not answered
	c.Process.Signal(os.Interrupt)
	c.expectEnd(exitFailed, "ended by a second signal")
}

func TestCatGivesUpOnAServerThatDoesNotAnswerItsCloseFrame(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	cat(t, "x\n", silentHere(t), soon, "--close-timeout", "100ms").
		expectFailure(t, "zeroframe: error: the server did not answer the close frame: 1006 (abnormal closure)\n")
	if took := time.Since(begin); took > patience/2 {
		t.Errorf("it took %v", took)
	}
}

// The server reads when all input has been written to the pipe and its end is known, and then answers once.
func TestCatSendsAllOfItsInputToAServerThatReadsLate(t *testing.T) {
	t.Parallel()
	const count, size = 20_000, 1000 // more than the kernel's buffers and the queue hold
	read := make(chan struct{})
	url, _ := sessionsHere(t, func(ctx context.Context, s *engine.Session) error {
		<-read
		bytes := 0
		for i := range count {
			m, err := s.Receive(ctx)
			if err != nil {
				return fmt.Errorf("message %d: %w", i, err)
			}
			bytes += len(m.Payload)
		}
		s.SendText(ctx, fmt.Sprint(bytes))
		return hold(ctx, s)
	})
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	file.WriteString(strings.Repeat(strings.Repeat("x", size)+"\n", count))
	file.Seek(0, io.SeekStart)
	p := startReading(t, file, "cat", url, soon)
	stuck := func() bool { // the file's offset is shared with the child: it stands still in the middle
		at, _ := file.Seek(0, io.SeekCurrent)
		time.Sleep(600 * time.Millisecond) // more than the linger, which must not have begun
		again, _ := file.Seek(0, io.SeekCurrent)
		return at == again && at > 1<<20
	}
	for end := time.Now().Add(patience); !stuck(); {
		if time.Now().After(end) {
			t.Fatal("cat did not stop reading its input")
		}
	}
	close(read)
	p.line(fmt.Sprint(count * size))
	if code := p.exit(); code != exitOK {
		t.Errorf("exit code %d: %s", code, p.errors())
	}
}

func TestCatLingersAsLongAsMessagesCome(t *testing.T) {
	t.Parallel()
	url, _ := sessionsHere(t, func(ctx context.Context, s *engine.Session) error {
		s.Receive(ctx)
		for i := range 6 {
			select {
			case <-time.After(200 * time.Millisecond):
			case <-ctx.Done():
				return nil
			}
			s.SendText(ctx, fmt.Sprint(i))
		}
		return hold(ctx, s)
	})
	cat(t, "go\n", url).expect(t, "0\n1\n2\n3\n4\n5\n") // 1.2 s, and the default is 1 s
	cat(t, "go\n", url, "--linger", "0s").expect(t, "")
}

func TestCatClosesInOrderWhenNobodyReadsItsOutput(t *testing.T) {
	t.Parallel()
	url, ends := sessionsHere(t, func(ctx context.Context, s *engine.Session) error {
		for ctx.Err() == nil {
			if err := s.SendText(ctx, "more"); err != nil {
				return nil
			}
		}
		return nil
	})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	var errOut bytes.Buffer
	c := command("cat", url)
	c.Stdout, c.Stderr = w, &errOut
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	r.Read(make([]byte, 1))
	r.Close()
	c.Wait()
	if end := within(t, ends); end.Code != frame.CloseNormal || c.ProcessState.ExitCode() != exitFailed || !strings.Contains(errOut.String(), "broken pipe") {
		t.Errorf("the server saw %+v; exit code %d: %s", end, c.ProcessState.ExitCode(), &errOut)
	}
}

// Output that is never read holds up neither the end by a signal nor, before that, what is asked of the server: it waits.
func TestAnInterruptEndsACatWhoseOutputIsStuck(t *testing.T) {
	t.Parallel()
	url, ends := sessionsHere(t, func(ctx context.Context, s *engine.Session) error {
		for range 1000 {
			if err := s.SendBinary(ctx, make([]byte, 64<<10)); err != nil {
				return nil
			}
		}
		return errors.New("cat reads what it does not print")
	}, engine.WithWriteTimeout(0))
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var errOut bytes.Buffer
	c := command("cat", url, "--close-timeout", "200ms", "--linger", "1ms")
	c.Stdout, c.Stderr = w, &errOut
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	r.Read(make([]byte, 1))
	c.Process.Signal(os.Interrupt)
	c.Wait()
	if c.ProcessState.ExitCode() != exitOK || !strings.Contains(errOut.String(), "closed: 1000") {
		t.Errorf("exit code %d: %s", c.ProcessState.ExitCode(), &errOut)
	}
	if end := within(t, ends); end.Code == frame.CloseInternalError {
		t.Errorf("the server saw %+v", end)
	}
}
