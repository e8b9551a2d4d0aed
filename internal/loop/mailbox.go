package loop

// Mail is a set of reasons for a loop to look at a connection. The low bits are the loop's own; an endpoint uses those
// from MailUser up.
type Mail uint32

const (
	mailCork     Mail = 1 << iota // the loop is serving the connection and will flush it
	mailFlush                     // output was queued
	mailReadable                  // read without waiting for an event
	mailWritable                  // a stream takes output again
	mailRegister                  // new: put it into the table

	// MailUser is the first bit of an endpoint's own.
	MailUser Mail = 1 << 8

	mailOwn = MailUser - 1
)

// Notify makes the loop call Endpoint.Mail with bits, soon, once for any number of calls before that. It allocates
// nothing. Any goroutine may call it, at any time; on a connection that has ended it has no effect.
func (c *Conn) Notify(bits Mail) { c.post(bits &^ mailOwn) }

// StreamReadable tells the loop that the connection's Stream may be read again. Any goroutine may call it.
func (c *Conn) StreamReadable() { c.post(mailReadable) }

// StreamWritable tells the loop that the connection's Stream takes output again. Any goroutine may call it.
func (c *Conn) StreamWritable() { c.post(mailWritable) }

// post sets mail bits. Whoever sets the first puts the connection into its loop's mailbox; while the loop serves the
// connection it holds mailCork, so that nobody else does, and collects the bits itself afterwards.
func (c *Conn) post(bits Mail) {
	if c.mail.Or(uint32(bits)) != 0 {
		return
	}
	l := c.loop
	for {
		head := l.mail.Load()
		c.next = head
		if l.mail.CompareAndSwap(head, c) {
			break
		}
	}
	l.poll.wake()
}

// maxMail is how many connections have their mail in one turn: as many writes take a millisecond or two, and asking for
// events in between nothing beside that.
const maxMail = 512

// drainMail handles the mail that is there now, oldest first, and of much the first part: reads and timers go on before
// the next turn comes to the rest. What is posted meanwhile waits behind it, so that a connection that posts to itself
// starves nobody.
func (l *Loop) drainMail() {
	if l.opened == nil {
		for c := l.mail.Swap(nil); c != nil; {
			next := c.next
			c.next = l.opened
			l.opened, c = c, next
		}
	}
	for n := 0; n < maxMail && l.opened != nil; n++ {
		c := l.opened
		l.opened, c.next = c.next, nil
		c.deliver(Mail(c.mail.Swap(0)))
	}
}

// deliver acts on mail bits that were taken off the connection.
func (c *Conn) deliver(bits Mail) {
	if bits&mailRegister != 0 {
		c.register()
	}
	if !c.IsOpen() {
		return // it ended after the post: Closed was the last call
	}
	if user := bits &^ mailOwn; user != 0 {
		mine := c.beginCork()
		c.ep.Mail(user)
		c.endCork(mine)
	} else if bits&(mailFlush|mailWritable) != 0 {
		c.flush()
	}
	if bits&mailReadable != 0 && c.IsOpen() {
		c.flags |= flagHungry
		c.readable()
	}
}
