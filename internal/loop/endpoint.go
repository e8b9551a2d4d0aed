package loop

import "errors"

// Endpoint is the protocol on top of a connection. The loop calls it on the loop's goroutine, never concurrently.
type Endpoint interface {
	// Opened is the first call: the connection is in its loop's table and may be read from now on.
	Opened()
	// Data hands over bytes the peer sent. b is valid, and may be changed in place, until Data returns.
	Data(b []byte)
	// Target returns where the next read shall go instead of the loop's buffer; asked only after ReadDirect(true).
	// What is read is handed to Data as a prefix of that slice.
	Target() []byte
	// EOF reports that the peer will send nothing more. It may come more than once when the endpoint stays open.
	EOF()
	// Written reports that queued output moved, with the bytes still queued. It is called after every flush that wrote
	// bytes of the queue or left some in it, and after every flush once LastOutput was called.
	Written(queued int)
	// Mail hands over the bits given to Notify since the last call.
	Mail(bits Mail)
	// Timeout reports that the time given to SetTimer has passed.
	Timeout()
	// Closed is the last call: the descriptor is closed and the queue recycled. err is nil when the endpoint itself
	// called Close(nil).
	Closed(err error)
}

// Errors a connection ends with, beside those of the operating system.
var (
	// ErrClosed is returned for work on a connection or loop that has ended.
	ErrClosed = errors.New("loop: closed")
	// ErrUnsupported is returned by NewGroup where no poller exists for the operating system.
	ErrUnsupported = errors.New("loop: this operating system is not supported (Linux, macOS and the BSDs are)")
	// ErrAgain is what a Stream returns when it would block.
	ErrAgain = errors.New("loop: would block")
)

// Stream stands in for a file descriptor, as in-memory connections do, or on one, as TLS does: then the loop watches the
// descriptor for it, and it reads and writes that by ReadFD and WriteFD. Its methods are called on the connection's loop
// only and must not block. One without a descriptor announces readiness with Conn.StreamReadable and Conn.StreamWritable,
// from any goroutine, after having returned ErrAgain.
type Stream interface {
	// Attach is called once, before anything else, with the connection to announce readiness to.
	Attach(c *Conn)
	// Read reads into p. It returns ErrAgain when nothing is there yet and io.EOF at the end.
	Read(p []byte) (n int, err error)
	// Write writes a prefix of p and returns its length, with ErrAgain when that is short.
	Write(p []byte) (n int, err error)
	// CloseWrite ends the outgoing direction.
	CloseWrite() error
	// Close ends both directions. It is called once.
	Close() error
}
