package engine

// WithBackplane connects the engine's topics with those of other engines. b is for one engine, which closes it at its
// end; New returns what its Attach says. Default: none, and topics are the engine's own.
func WithBackplane(b Backplane) Option {
	return engineOption(func(c *config) error {
		if b == nil {
			return &OptionError{"WithBackplane", "nil"}
		}
		c.backplane = b
		return nil
	})
}

// WithOnSubscribe calls f after a connection has become a member of a topic, with the number of members it has then: for
// presence. f runs on the goroutine that called Subscribe, a loop perhaps, and must not block. Calls for members that come
// and go at once may overtake each other; Engine.Subscribers has the number as of now. Default: none.
func WithOnSubscribe(f func(c *Conn, topic string, subscribers int)) Option {
	return engineOption(func(c *config) error { c.onSubscribe = f; return nil })
}

// WithOnUnsubscribe is WithOnSubscribe for the end of a membership, that of the connection included: then f runs on its
// loop, before OnClose.
func WithOnUnsubscribe(f func(c *Conn, topic string, subscribers int)) Option {
	return engineOption(func(c *config) error { c.onUnsubscribe = f; return nil })
}
