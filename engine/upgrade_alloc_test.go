//go:build !race && linux && !netpoll

package engine_test

import (
	"bytes"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"zeroframe/engine"
)

// A connection's coming leaves no garbage: what it allocates, from accept to its first message, is what it keeps. Where it
// does not, the memory of a server is what its last storm of connections came to, until a collection, and not what they
// hold. A timer's and a table's share come in slabs and pages.
func TestAnUpgradeAllocatesTheConnectionAndNothingElse(t *testing.T) {
	browser := []string{"Origin: http://example.test", "Cookie: a=b; c=d", "Pragma: no-cache", "Accept-Language: en"}
	elsewhere := append(browser[1:len(browser):len(browser)], "Origin: https://a-longer-name-than-the-stack-has-room-for.example.com")
	allowed := engine.WithAllowedOrigins("https://*.example.org", "https://a-longer-name-than-the-stack-has-room-for.example.com")
	for _, way := range []struct {
		name    string
		path    string
		headers []string
		option  engine.Option
	}{
		{"plain", "/", nil, nil},
		{"from a browser", "/", browser, nil},
		{"from a page of another origin", "/", elsewhere, allowed},
		{"on a path of its own", "/chat/room", nil, nil},
		{"with a subprotocol", "/", []string{"Sec-WebSocket-Protocol: v1, v2"}, engine.Subprotocols("v2")},
		{"with compression", "/", append(browser, "Sec-WebSocket-Extensions: "+offered), engine.WithCompression(engine.Compression{})},
		{"pinged", "/", nil, engine.WithPingInterval(30 * time.Second)},
	} {
		t.Run(way.name, func(t *testing.T) {
			var options []engine.Option
			if way.option != nil {
				options = append(options, way.option)
			}
			addr, e := socketServer(t, replier{}, options...)
			if err := e.Handle("/chat/room", replier{}); err != nil {
				t.Fatal(err)
			}
			const conns, warm = 1000, 300
			const mostObjects, mostBytes = 1.1, 250 // 17 B of it are the table's, for the visitors have descriptors too
			v := newVisitor(t, addr, way.path, conns+warm, way.headers...)
			for range warm {
				v.come()
			}
			runtime.GC()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range conns {
				v.come()
			}
			runtime.ReadMemStats(&after)
			objects := float64(after.Mallocs-before.Mallocs) / conns
			size := int(after.TotalAlloc-before.TotalAlloc) / conns
			t.Logf("%.2f objects, %d B", objects, size)
			if objects > mostObjects {
				t.Errorf("%.2f objects per connection, at most %.1f are meant", objects, mostObjects)
			}
			if size > mostBytes {
				t.Errorf("%d B per connection, at most %d are meant", size, mostBytes)
			}
		})
	}
}

// visitor opens connections without allocating anything itself.
type visitor struct {
	t       testing.TB
	to      unix.SockaddrInet4
	request []byte
	message []byte
	answer  [1024]byte
	files   []int
}

func newVisitor(t testing.TB, addr, path string, conns int, headers ...string) *visitor {
	at := netip.MustParseAddrPort(addr)
	v := &visitor{t: t, request: upgradeRequest(path, headers...), message: encode(true, 2, []byte("hello")), files: make([]int, 0, conns)}
	v.to = unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	t.Cleanup(func() { closeAll(v.files) })
	return v
}

// come opens a connection, which stays, and has a message echoed.
func (v *visitor) come() {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		v.t.Fatal(err)
	}
	v.files = append(v.files, fd)
	if err := unix.Connect(fd, &v.to); err != nil {
		v.t.Fatal(err)
	}
	v.ask(fd, v.request, []byte("HTTP/1.1 101 "), []byte("\r\n\r\n"))
	v.ask(fd, v.message, []byte{0x82, 5}, []byte("hello"))
}

// ask writes request and reads an answer that begins and ends as it must.
func (v *visitor) ask(fd int, request, first, last []byte) {
	if n, err := unix.Write(fd, request); err != nil || n != len(request) {
		v.t.Fatal(n, err)
	}
	got := v.answer[:0]
	for !bytes.HasSuffix(got, last) {
		n, err := unix.Read(fd, v.answer[len(got):])
		if err != nil || n == 0 {
			v.t.Fatalf("%v after %q", err, got)
		}
		got = v.answer[:len(got)+n]
	}
	if !bytes.HasPrefix(got, first) {
		v.t.Fatalf("answered by %q", got)
	}
}
