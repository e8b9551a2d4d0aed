package secure

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"reflect"
	"sync"
	"unsafe"

	"zeroframe/internal/loop"
)

// A tls.Conn has two buffers that stay as large as they have ever been: rawInput, for the record being read, up to 17 KiB,
// and hand, for the messages of the handshake. Lending makes it find records where the loop has read them, decrypt them
// there, and keep nothing: rawInput is a part of the loop's scratch during a read, and empty otherwise. What of a record is
// missing or too much waits in buffers of the loop's pool, as long as it has to.
//
// The fields are not exported. Their names and types are looked up once, and what rawInput does is tried; where crypto/tls
// is not as expected, Lendable is false, and connections keep their buffers.
var fields = func() (f struct {
	ok                    bool
	rawInput, hand, input uintptr // offsets
}) {
	t := reflect.TypeFor[tls.Conn]()
	buffer, reader := reflect.TypeFor[bytes.Buffer](), reflect.TypeFor[bytes.Reader]()
	find := func(name string, want reflect.Type) uintptr {
		field, found := t.FieldByName(name)
		f.ok = f.ok && found && field.Type == want
		return field.Offset
	}
	f.ok = true
	f.rawInput, f.hand, f.input = find("rawInput", buffer), find("hand", buffer), find("input", reader)
	return f
}()

// Lendable reports whether connections can do without buffers of their own.
var Lendable = sync.OnceValue(func() bool { return fields.ok && findsRecords() })

// findsRecords puts an alert into the rawInput of a connection without input: its handshake must fail with that.
func findsRecords() bool {
	c := tls.Server(silent{}, new(tls.Config))
	raw := rawInput(c)
	*raw = *bytes.NewBuffer([]byte{21, 3, 1, 0, 2, 2, 40}) // a fatal handshake_failure (RFC 8446, section 6)
	var remote *net.OpError
	return errors.As(c.Handshake(), &remote) && remote.Op == "remote error" && raw.Len() == 0
}

// silent has nothing to read and drops what is written.
type silent struct{ net.Conn }

func (silent) Read([]byte) (int, error)    { return 0, io.EOF }
func (silent) Write(p []byte) (int, error) { return len(p), nil }

// rawInput is what c has read and not decrypted yet, from a record's header on.
func rawInput(c *tls.Conn) *bytes.Buffer {
	return (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(c), fields.rawInput))
}

// hand is what c has decrypted of handshake messages and not handled yet.
func hand(c *tls.Conn) *bytes.Buffer {
	return (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(c), fields.hand))
}

// input is the plaintext of a record, in the memory of rawInput, as far as it has not been returned.
func input(c *tls.Conn) *bytes.Reader {
	return (*bytes.Reader)(unsafe.Add(unsafe.Pointer(c), fields.input))
}

// beginLending takes the buffers of a connection whose handshake is over.
func (w *Wire) beginLending() {
	w.lends, w.tls13 = true, w.tls.ConnectionState().Version >= tls.VersionTLS13
	w.left, w.got = 0, 0 // what is in w.in will begin with a record's header
	raw := rawInput(w.tls)
	if raw.Len() > 0 {
		w.in = append(raw.Bytes(), w.in...)
	}
	*raw = bytes.Buffer{}
	w.dropHand()
}

// maxRecord is the length of the longest record, its header included (RFC 5246, section 6.2.3), and maxRecord13 that of
// TLS 1.3 (RFC 8446, section 5.2).
const (
	maxRecord   = recordHeader + 16<<10 + 2<<10
	maxRecord13 = recordHeader + 16<<10 + 256
)

func (w *Wire) maxRecord() int {
	if w.tls13 {
		return maxRecord13
	}
	return maxRecord
}

// recordLength is that of the record whose header b begins with.
func recordLength(b []byte) int { return recordHeader + int(b[3])<<8 + int(b[4]) }

// records returns how many bytes of whole records b begins with, and no more records when they are enough. Where one is
// longer than longest it is all of b, for tls to say so.
func records(b []byte, longest, enough int) (n int) {
	for n < enough && len(b)-n >= recordHeader {
		length := recordLength(b[n:])
		switch {
		case length > longest:
			return len(b)
		case length > len(b)-n:
			return n
		}
		n += length
	}
	return n
}

// readLent is Stream.Read for a connection that lends.
func (w *Wire) readLent(p []byte) (n int, err error) {
	raw, plain := rawInput(w.tls), input(w.tls)
	scratch := w.c.Loop().Scratch()
	lent := false // the records of w.in that p has room for, the last perhaps in part
	for n < len(p) && err == nil {
		if raw.Len() == 0 && plain.Len() == 0 && !w.more {
			whole := records(w.in, w.maxRecord(), len(p)-n)
			if whole == 0 {
				if n > 0 {
					break
				}
				err := w.fillBehind(scratch.In[:], len(p))
				if err == loop.ErrAgain {
					break
				}
				if err == nil {
					continue
				}
				whole, scratch.Err = len(w.in), err // tls judges what the end means here
			}
			*raw = *bytes.NewBuffer(w.in[:whole])
			w.in, lent = w.in[whole:], true
		}
		w.more, w.dry = false, false
		var m int
		m, err = w.decrypt(p[n:])
		n += m
		switch {
		case err != errStarved:
		case !w.dry:
			err = errRenegotiated
		case raw.Len() == 0:
			err = nil // there was nothing but what concerns tls alone
		}
	}
	scratch.Err = nil
	if lent { // which takes that what was left before is used up
		w.dropRest()
		if plain.Len() > 0 { // p had no room for it
			w.rest = w.c.Loop().Buffers().Get(plain.Len())
			w.rest.B = w.rest.B[:plain.Len()]
			w.moveInput(w.rest.B)
		}
	} else if plain.Len() == 0 {
		w.dropRest()
	}
	*raw = bytes.Buffer{}
	w.dropHand()
	w.keepInput()
	w.more = err != nil || plain.Len() > 0
	switch {
	case n > 0:
		return n, nil
	case err == nil:
		err = loop.ErrAgain
	}
	return 0, err
}

// fillBehind reads more ciphertext into buf behind the part of a record that is there, no more than has room in enough
// bytes when it is plaintext, unless that is less than a record. While that part still lacks something it stays where it
// is and grows: it is not copied for each byte that trickles in.
func (w *Wire) fillBehind(buf []byte, enough int) error {
	const spare = bytes.MinRead + recordHeader // which tls wants to have free behind the records, or it makes itself room
	have := len(w.in)
	if w.stash == nil {
		w.in = buf[:copy(buf, w.in)] // of which it may be a part
	}
	n, err := w.readBelow(buf[have:min(max(enough, maxRecord), len(buf)-spare)])
	if n == 0 {
		return err
	}
	if w.stash != nil && have >= recordHeader && have+n < recordLength(w.in) {
		w.extendStash(buf[have : have+n])
		return nil
	}
	copy(buf, w.in)
	w.dropStash()
	w.in = buf[:have+n]
	return nil
}

// extendStash appends to the part of a record in the stash, which is the end of it.
func (w *Wire) extendStash(b []byte) {
	if cap(w.in)-len(w.in) < len(b) {
		grown := w.c.Loop().Buffers().Get(min(2*len(w.in)+len(b), recordLength(w.in)))
		grown.B = append(grown.B, w.in...)
		w.dropStash()
		w.stash, w.in = grown, grown.B
	}
	w.in = append(w.in, b...)
}

// moveInput moves what is left of the plaintext to other memory.
func (w *Wire) moveInput(to []byte) {
	plain := input(w.tls)
	plain.Read(to)
	plain.Reset(to)
}

func (w *Wire) dropHand() {
	if h := hand(w.tls); h.Len() == 0 && h.Cap() > 0 {
		*h = bytes.Buffer{}
	}
}

func (w *Wire) dropRest() {
	if w.rest != nil {
		w.c.Loop().Buffers().Put(w.rest)
		w.rest = nil
	}
}
