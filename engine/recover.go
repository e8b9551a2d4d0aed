package engine

import (
	"log/slog"
	"runtime/debug"

	"zeroframe/frame"
)

// callback runs f, a call of the user's handler that does not come out of receive.
func (c *Conn) callback(f func()) {
	defer c.recoverHandler()
	f()
}

// recoverHandler, deferred around handlers, turns a panic into the end of its connection. It is deferred once for all
// messages of a read, so that a message pays nothing for it.
func (c *Conn) recoverHandler() {
	v := recover()
	if v == nil {
		return
	}
	stack := debug.Stack()
	c.route.engine.config.logger.Error("panic in a handler", slog.Any("panic", v), slog.String("stack", string(stack)))
	if s := c.shard(); s.serving.conn == c {
		s.finishServing(c)
	}
	c.fault(frame.CloseInternalError, "", &PanicError{v, stack})
}
