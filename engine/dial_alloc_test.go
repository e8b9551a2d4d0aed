//go:build !race

package engine_test

import (
	"bytes"
	"testing"

	"zeroframe/engine"
	"zeroframe/frame"
)

// back tells that a message has come back.
type back chan struct{}

func (back) OnOpen(*engine.Conn)                            {}
func (b back) OnMessage(*engine.Conn, frame.OpCode, []byte) { b <- struct{}{} }
func (back) OnClose(*engine.Conn, engine.CloseReason)       {}

// What a client sends is masked, with a fresh key, in the queue's own memory.
func TestAClientsMessagesAllocateNothing(t *testing.T) {
	addr, e := socketServer(t, replier{})
	b := make(back)
	c, err := e.Dial(t.Context(), "ws://"+addr+"/", nil, b)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 32, 1000, 16 << 10} {
		payload := bytes.Repeat([]byte("x"), size)
		expectNoAllocs(t, 500, func() {
			if err := c.Send(frame.Binary, payload); err != nil {
				t.Fatal(err)
			}
			<-b
		})
	}
}
