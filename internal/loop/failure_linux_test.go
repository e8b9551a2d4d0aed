package loop_test

import (
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"zeroframe/internal/loop"
)

// pollers lists the descriptors of the process's epoll instances, lowest first.
func pollers(t *testing.T) (list []int) {
	for _, f := range openFiles(t) {
		number, to, _ := strings.Cut(f, " ")
		if strings.Contains(to, "[eventpoll]") {
			fd, err := strconv.Atoi(number)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, fd)
		}
	}
	slices.Sort(list)
	return list
}

// One loop's poller fails, which only a fault of the system or a stranger's close(2) can make it do: what the loop had
// ends with the error, its listener too, and the other loop goes on and gets what comes.
func TestALoopWhosePollerFailsEndsWhatItHad(t *testing.T) {
	before := pollers(t)
	accepted := make(chan *probe, 1)
	w := start(t, loop.Config{Loops: 2, NewConn: func(func()) *loop.Conn {
		p := newProbe(t)
		accepted <- p
		return &p.Conn
	}})
	// A listener, and connections on each loop. The listener must be served before there are connections, or it goes
	// to the loop that has fewer.
	ln := listen(t)
	served := make(chan error, 1)
	go func() { served <- w.Serve(ln, nil, nil) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	within(t, within(t, accepted).opened)
	probes := map[*loop.Loop]*probe{}
	for range 2 {
		p := newProbe(t)
		w.connect(p)
		within(t, p.opened)
		probes[p.Loop()] = p
	}
	failing, other := probes[w.Loops()[0]], probes[w.Loops()[1]] // the first serves the listener: none had connections
	if failing == nil || other == nil {
		t.Fatal("both connections are on one loop")
	}

	fd := pollers(t)[slices.IndexFunc(pollers(t), func(fd int) bool { return !slices.Contains(before, fd) })]
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	if err := unix.Dup3(int(null.Fd()), fd, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	failing.Loop().Do(func() {}) // wakes it

	if err := within(t, failing.closed); err == nil {
		t.Error("the connection heard of no error")
	}
	if err := within(t, served); err == nil || err == loop.ErrClosed {
		t.Errorf("Serve returned %v", err)
	}
	for range 3 {
		p := newProbe(t)
		p.onData = func(b []byte) { p.send(b) }
		c := w.connect(p)
		within(t, p.opened)
		c.Write([]byte("still here"))
		expect(t, c, []byte("still here"))
	}
}
