package peers

import (
	"fmt"
	"net"
	"os"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"
)

// upFunc is told where a server listens.
type upFunc = func(net.Addr)

// gnetServer is what all servers on gnet need.
type gnetServer struct {
	gnet.BuiltinEventEngine
	up upFunc
}

// OnBoot is called when the socket listens.
func (s *gnetServer) OnBoot(e gnet.Engine) gnet.Action {
	at, err := gnetAddress(e)
	if err != nil {
		fmt.Fprintln(os.Stderr, "gnet:", err)
		return gnet.Shutdown
	}
	s.up(at)
	return gnet.None
}

// gnetAddress asks the kernel: gnet knows the port that it was given alone.
func gnetAddress(e gnet.Engine) (net.Addr, error) {
	fd, err := e.Dup()
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	at, err := unix.Getsockname(fd)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	to, ok := at.(*unix.SockaddrInet4)
	if !ok {
		return nil, fmt.Errorf("listens on %T", at)
	}
	return &net.TCPAddr{IP: to.Addr[:], Port: to.Port}, nil
}

// runGnet serves with one event loop.
func runGnet(h gnet.EventHandler) error {
	return gnet.Run(h, "tcp4://127.0.0.1:0", gnet.WithNumEventLoop(1), gnet.WithLogger(silence{}))
}

// silence is gnet's log.
type silence struct{}

func (silence) Debugf(string, ...any) {}
func (silence) Infof(string, ...any)  {}
func (silence) Warnf(string, ...any)  {}
func (silence) Errorf(string, ...any) {}
func (silence) Fatalf(string, ...any) {}
