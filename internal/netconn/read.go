package netconn

import (
	"io"

	"zeroframe/internal/loop"
	"zeroframe/pool"
)

// Bytes of the reader's buffers; see Stream.
const (
	smallRead = 512
	idleRead  = 4 << 10
	largeRead = 64 << 10
)

// Read takes what the reader has read. It never blocks. Behind it comes the reader's error, io.EOF at the end; or the
// writer's, since a connection that cannot be written to any more is of no use.
func (s *Stream) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case len(s.in) != 0:
		n := copy(p, s.in)
		if s.in = s.in[n:]; len(s.in) == 0 {
			s.emptied()
		}
		return n, nil
	case s.readErr != nil:
		return 0, s.readErr
	case s.writeErr != nil:
		return 0, s.writeErr
	}
	s.wantRead = true
	if !s.reading {
		s.reading = true
		go s.reader()
	}
	return 0, loop.ErrAgain
}

// emptied lets the reader read on, or end. The caller holds mu.
func (s *Stream) emptied() {
	if s.inBuf != nil {
		pool.Put(s.inBuf)
	}
	s.in, s.inBuf = nil, nil
	s.taken.Signal()
}

// reader reads until the connection ends.
func (s *Stream) reader() {
	own := make([]byte, smallRead)
	size, burst := smallRead, 0 // burst: bytes since a read that found less than it asked for
	for {
		var buf *pool.Buffer
		b := own
		if size > smallRead {
			buf = pool.Get(size)
			b = buf.B[:cap(buf.B)]
		}
		n, err := s.readSome(b)
		burst += n
		if n == len(b) {
			size = min(8*size, largeRead)
		} else { // nothing more is there, so the next read may wait for long
			size, burst = min(max(burst+1, smallRead), idleRead), 0
		}
		if !s.handOver(b[:n], buf, err) {
			return
		}
	}
}

// readSome reads at least a byte, or fails.
func (s *Stream) readSome(p []byte) (n int, err error) {
	for range 100 {
		if n, err = s.nc.Read(p); n != 0 || err != nil {
			return n, err
		}
	}
	return 0, io.ErrNoProgress
}

// handOver gives the loop what was read, in buf unless that is nil, and waits until it is taken. It reports whether to
// read on.
func (s *Stream) handOver(b []byte, buf *pool.Buffer, err error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.in, s.inBuf = b, buf
	if s.closing || len(b) == 0 {
		s.emptied()
	}
	if err != nil && s.readErr == nil {
		s.readErr = err
	}
	if s.closing {
		return false
	}
	s.tellReadable()
	if err != nil {
		return false
	}
	for len(s.in) != 0 && !s.closing {
		s.taken.Wait()
	}
	return !s.closing
}

// endReading makes Read end though the peer has not ended its direction.
func (s *Stream) endReading() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readErr == nil && !s.closing {
		s.readErr = io.EOF
		s.tellReadable()
	}
}
