package engine

import (
	"crypto/tls"

	"zeroframe/internal/bridge"
	"zeroframe/internal/loop"
)

func init() {
	bridge.ServeStream = func(e any, s loop.Stream) error {
		engine := e.(*Engine)
		return engine.started(engine.newConn(&engine.waiting), func(c *Conn) error {
			return engine.group.NewStreamConn(&c.lc, s)
		})
	}
	bridge.ServeTLS = func(e any, config *tls.Config, s loop.Stream) error {
		engine := e.(*Engine)
		return bridge.ServeStream(e, engine.newSecure(config).Stream(s))
	}
	bridge.PoisonOption = func() any {
		return engineOption(func(c *config) error { c.poison = true; return nil })
	}
}

// started gives a connection to the loops with f, and takes it off the books when that fails.
func (e *Engine) started(c *Conn, f func(*Conn) error) error {
	err := f(c)
	if err != nil {
		e.connEnded()
	}
	return err
}
