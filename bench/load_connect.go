package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"

	"zeroframe/engine"
)

const (
	// dialers bounds the connections being opened at once: enough to hide a round trip, and less than any backlog.
	dialers = 64
	// openTime bounds the time from the answer to the handshake until the loop serves the connection.
	openTime = 10 * time.Second
)

// connect opens n connections to url, each by a call of open. The first failure ends it.
func connect(ctx context.Context, url string, n int, open func(ctx context.Context, i int) error) error {
	return connectBy(ctx, url, n, dialers, open)
}

// connectBy is connect with so many being opened at once.
func connectBy(ctx context.Context, url string, n, atOnce int, open func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var all sync.WaitGroup
	for range min(atOnce, n) {
		all.Go(func() {
			for i := range next {
				if err := open(ctx, i); err != nil {
					cancel(fmt.Errorf("connection %d of %d: %w", i+1, n, explainDial(err, url)))
					return
				}
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	all.Wait()
	return context.Cause(ctx)
}

// dial opens one, and waits until h has closed opened.
func dial(ctx context.Context, e *engine.Engine, url string, h engine.Handler, opened <-chan struct{}, opts ...engine.RouteOption) error {
	if _, err := e.Dial(ctx, url, nil, h, opts...); err != nil {
		return err
	}
	timer := time.NewTimer(openTime)
	defer timer.Stop()
	select {
	case <-opened:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return errors.New("lost right after the handshake")
	}
}

// explainDial says what to do about the usual failures.
func explainDial(err error, rawURL string) error {
	host := rawURL
	if u, parseErr := url.Parse(rawURL); parseErr == nil && u.Host != "" {
		host = u.Host
	} else if parseErr == nil {
		socket, _, _ := strings.Cut(u.Path+u.Opaque, ":")
		host = "unix:" + socket
	}
	var handshake *engine.HandshakeError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &certificate):
		return fmt.Errorf("%w; --insecure takes any certificate", err)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ENOENT):
		return fmt.Errorf("nobody listens at %s (start a server with: zeroframe serve --listen %s): %w", host, host, err)
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return fmt.Errorf("out of file descriptors (raise the limit: ulimit -n): %w", err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("out of local ports to %s: %w", host, err)
	case errors.As(err, &handshake) && handshake.Status != 101:
		return fmt.Errorf("%s answers, but opens no WebSocket: %w", rawURL, err)
	}
	return err
}
