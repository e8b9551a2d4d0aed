package peers

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Others are servers of somebody else's, by the commands that start them.
type Others struct {
	Servers []*Server
	// Unmarked is what a command without a mark does; empty: Echo.
	Unmarked Work
	// Path is where to connect to on those that are WebSocket servers; empty: /.
	Path string
}

// use is what a command's mark says that the server does.
type use string

// The marks.
const (
	useEcho     use = "echo"
	useTopic    use = "topic"
	useTCP      use = "tcp"
	useTLS      use = "tls"
	useDeflate  use = "deflate"
	useTakeover use = "takeover"
)

var uses = []use{useEcho, useTopic, useTCP, useTLS, useDeflate, useTakeover}

// command is a line to be run, cut at its spaces.
type command struct {
	words []string
	from  *Others
}

// Add reads NAME=COMMAND, for a flag. {port} in the command is the port of 127.0.0.1 to listen on, without TLS unless
// {pair} is the PEM file of the certificate and the key to use. The command may follow a mark that says what the server
// does:
//
//	echo:      it sends each message back; so does one without a mark, unless Unmarked says otherwise
//	topic:     it sends each message to all connections
//	tcp:       it is a plain TCP echo, and no WebSocket server
//	tls:       it echoes over TLS
//	deflate:   it echoes, and compresses without context takeover
//	takeover:  it echoes, and compresses with context takeover
//
// Several commands with one name are one server, which does what any of them does.
func (l *Others) Add(s string) error {
	name, line, ok := strings.Cut(s, "=")
	c := &command{from: l}
	as := useEcho
	if l.Unmarked == Topic {
		as = useTopic
	}
	if mark, rest, marked := strings.Cut(line, ":"); marked && slices.Contains(uses, use(mark)) {
		as, line = use(mark), rest
	}
	if c.words = strings.Fields(line); !ok || name == "" || len(c.words) == 0 {
		return fmt.Errorf("%q is not NAME=COMMAND", s)
	}
	if _, err := Find(All(), name); err == nil {
		return fmt.Errorf("%q: %s is the name of a server that is there", s, name)
	}
	server, err := Find(l.Servers, name)
	if err != nil {
		server = &Server{Name: name, others: make(map[use]*command)}
		l.Servers = append(l.Servers, server)
	}
	if server.others[as] != nil {
		return fmt.Errorf("%q: there are two such commands of this name", s)
	}
	server.others[as] = c
	if _, is := server.others[useTCP]; is && len(server.others) > 1 {
		return fmt.Errorf("%q: a plain TCP echo can do nothing else", s)
	}
	says := strings.Join(c.words, " ")
	switch as {
	case useTopic:
		server.Publishing = says
	case useTCP:
		server.How, server.TCP = says, true
	case useTLS:
		server.TLS = true
	case useDeflate, useTakeover:
		server.Modes = append(server.Modes, map[use]Mode{useDeflate: NoTakeover, useTakeover: Takeover}[as])
		server.Compressing = strings.TrimPrefix(server.Compressing+"; "+says, "; ")
	default:
		server.How = says
		server.Modes = append([]Mode{Off}, server.Modes...)
	}
	return nil
}

// other returns the command for what is asked.
func (s *Server) other(o Options) (*command, error) {
	as := useEcho
	switch {
	case s.TCP:
		as = useTCP
	case o.Work == Topic:
		as = useTopic
	case o.Pair != "":
		as = useTLS
	case o.Mode == NoTakeover:
		as = useDeflate
	case o.Mode == Takeover:
		as = useTakeover
	}
	compressed := o.Mode != "" && o.Mode != Off
	if s.others[as] == nil || compressed && as != useDeflate && as != useTakeover || o.Pair != "" && as != useTLS || s.TCP && o.Work == Topic {
		return nil, errors.New("no command is given for that")
	}
	return s.others[as], nil
}

// start runs it, and waits until it listens.
func (c *command) start(core int, s *Server, o Options) (*Process, error) {
	ln, err := net.Listen("tcp4", "127.0.0.1:0") // a port that is free, or was a moment ago
	if err != nil {
		return nil, err
	}
	at := netip.MustParseAddrPort(ln.Addr().String())
	ln.Close()
	fill := strings.NewReplacer("{port}", strconv.Itoa(int(at.Port())), "{pair}", o.Pair)
	words := make([]string, len(c.words))
	for i, w := range c.words {
		words[i] = fill.Replace(w)
	}
	p := &Process{Server: s, Options: o, Addr: at, command: exec.Command(words[0], words[1:]...)}
	p.URL = fmt.Sprintf("%s://%v/%s", s.scheme(o), at, strings.TrimPrefix(c.from.Path, "/"))
	p.command.Stdout = &p.printed
	if err := p.launch(core); err != nil {
		return nil, err
	}
	go func() {
		p.err = p.command.Wait()
		close(p.exited)
	}()
	end := time.NewTimer(startTime)
	defer end.Stop()
	for again := time.NewTicker(10 * time.Millisecond); ; {
		conn, err := net.Dial("tcp4", at.String())
		if err == nil {
			conn.Close()
			return p, nil
		}
		select {
		case <-again.C:
		case <-p.exited:
			return nil, p.Stop()
		case <-end.C:
			return nil, errors.Join(fmt.Errorf("nobody listens on port %d after %v%v", at.Port(), startTime, &p.printed), p.Stop())
		}
	}
}
