package main

import (
	"net/http"

	"zeroframe/engine"
	"zeroframe/frame"
)

// topicHandler makes each connection a member of the topic that its path names, and publishes there what it sends.
type topicHandler struct {
	engine.NopHandler
	engine *engine.Engine
}

// OnUpgrade keeps the name; one that is too long is answered 400.
func (topicHandler) OnUpgrade(u *engine.Upgrade) error {
	name := u.Request.PathValue("name")
	if len(name) > engine.MaxTopicName {
		return &engine.Rejection{Status: http.StatusBadRequest, Reason: "the name of the topic is too long"}
	}
	u.UserData = name
	return nil
}

func (topicHandler) OnOpen(c *engine.Conn) {
	if err := c.Subscribe(c.UserData().(string)); err != nil { // the backplane's
		c.Close(frame.CloseTryAgainLater, "the topic cannot be joined now")
	}
}

func (h topicHandler) OnMessage(c *engine.Conn, op frame.OpCode, payload []byte) {
	h.engine.Publish(c.UserData().(string), op, payload)
}
