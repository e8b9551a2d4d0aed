package netconn

import (
	"io"

	"zeroframe/internal/loop"
	"zeroframe/pool"
)

// piece is how many bytes are written with one call: a TLS record. The loop is told of room after each, so that a slow
// peer is seen to make progress.
const piece = 16 << 10

// Write takes what there is room for, up to 64 KiB in all, to be written by a goroutine. An error of that goroutine's is
// returned by the next call, of Read as well.
func (s *Stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.writeErr != nil:
		return 0, s.writeErr
	case s.ending || s.closing:
		return 0, io.ErrClosedPipe
	}
	n := min(len(p), maxPending-s.pending)
	if n > 0 {
		s.keep(p[:n])
		s.startWriter()
	}
	if n < len(p) {
		s.wantWrite = true
		return n, loop.ErrAgain
	}
	return n, nil
}

// keep copies b behind what is pending. The caller holds mu.
func (s *Stream) keep(b []byte) {
	switch {
	case s.out == nil:
		s.out = pool.Get(len(b))
	case cap(s.out.B)-len(s.out.B) < len(b):
		grown := pool.Get(len(s.out.B) + len(b))
		grown.B = append(grown.B, s.out.B...)
		pool.Put(s.out)
		s.out = grown
	}
	s.out.B = append(s.out.B, b...)
	s.pending += len(b)
}

// startWriter makes sure that there is a writer. The caller holds mu.
func (s *Stream) startWriter() {
	if !s.writing {
		s.writing = true
		go s.writer()
	}
}

// writer does what there is to do, and ends: writes what is pending, then closes one direction or both.
func (s *Stream) writer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.out != nil:
			buf := s.out
			s.out = nil
			if err := s.writeOut(buf.B); err != nil {
				s.failWriting(err)
			}
			pool.Put(buf)
		case s.closing:
			s.mu.Unlock()
			s.drop()
			s.mu.Lock()
			s.timer.Stop()
			return
		case s.ending && !s.ended:
			s.ended = true
			if err := s.closeWrite(); err != nil {
				s.failWriting(err)
			}
		default:
			s.writing = false
			return
		}
	}
}

// writeOut writes b. The caller holds mu, which is released meanwhile.
func (s *Stream) writeOut(b []byte) error {
	for len(b) > 0 {
		s.mu.Unlock()
		n, err := s.nc.Write(b[:min(len(b), piece)])
		s.mu.Lock()
		if n < min(len(b), piece) && err == nil {
			err = io.ErrShortWrite
		}
		if err != nil {
			return err
		}
		b = b[n:]
		s.pending -= n
		s.tellWritable()
	}
	return nil
}

// failWriting drops what is pending and lets the loop hear of it, whatever it waits for. The caller holds mu.
func (s *Stream) failWriting(err error) {
	if s.writeErr == nil {
		s.writeErr = err
	}
	if s.out != nil {
		pool.Put(s.out)
		s.out = nil
	}
	s.pending = 0
	s.tellReadable()
	s.tellWritable()
}

// closeWrite ends our direction, if the connection can. The caller holds mu, which is released meanwhile.
func (s *Stream) closeWrite() error {
	half, ok := s.nc.(interface{ CloseWrite() error })
	if !ok {
		if !s.closing {
			s.setTimer(lingering, s.endReading)
		}
		return nil
	}
	s.mu.Unlock()
	err := half.CloseWrite()
	s.mu.Lock()
	return err
}
