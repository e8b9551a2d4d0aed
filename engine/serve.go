package engine

import (
	"context"
	"errors"
	"net"
	"syscall"

	"zeroframe/internal/loop"
)

// ListenAndServe listens on addr and serves until Shutdown or Close; it always returns an error, ErrServerClosed then.
// network is "tcp", "tcp4", "tcp6" or "unix".
func (e *Engine) ListenAndServe(network, addr string) error {
	ln, err := e.Listen(network, addr)
	if err != nil {
		return err
	}
	return e.Serve(ln)
}

// Listen opens a listener as the engine's options say, for Serve: its Addr tells the port when addr asked for ":0".
func (e *Engine) Listen(network, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false) // a listener for it makes every connection pay
	if e.config.reusePort {
		lc.Control = func(_, _ string, raw syscall.RawConn) error {
			var opErr error
			if err := raw.Control(func(fd uintptr) { opErr = setReusePort(int(fd)) }); err != nil {
				return err
			}
			return opErr
		}
	}
	return lc.Listen(context.Background(), network, addr)
}

// Serve accepts the connections of ln, a TCP or unix listener of the net package or one inherited from systemd, until
// Shutdown or Close, or until ln fails; it always returns an error, ErrServerClosed after the first two. It closes ln.
// Several calls may serve several listeners.
func (e *Engine) Serve(ln net.Listener) error { return e.serve(ln, nil, nil) }

// serve is Serve with what stands on the descriptors, if that is not nil: layer is given what it is to stand on, nil for a
// descriptor. refusal is what it says to a peer for whom there is no room.
func (e *Engine) serve(ln net.Listener, layer func(lower loop.Stream) loop.Stream, refusal []byte) error {
	if e.closing.Load() {
		ln.Close()
		return ErrServerClosed
	}
	var over *loop.Layer
	if stream := e.behindProxies(layer); stream != nil {
		over = &loop.Layer{Stream: stream, Refusal: refusal}
	}
	err := e.group.Serve(ln, e.up.Done(), over)
	if errors.Is(err, loop.ErrClosed) && e.closing.Load() {
		return ErrServerClosed
	}
	return err
}
