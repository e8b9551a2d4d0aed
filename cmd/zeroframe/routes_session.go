package main

import (
	"context"
	"errors"
	"io"
	"time"

	"zeroframe/engine"
)

// echoSession sends back every message.
func echoSession(ctx context.Context, s *engine.Session) error {
	for m, err := range s.Messages(ctx) {
		if err != nil {
			return err
		}
		if err := s.Send(ctx, m.OpCode, m.Payload); err != nil {
			return err
		}
	}
	return nil
}

// maxSlow bounds the milliseconds of /slow.
const maxSlow = 60_000

// readSlowness refuses what is no number of milliseconds, or one out of bounds.
func readSlowness(u *engine.Upgrade) error {
	ms, err := pathNumber(u, "/slow/{ms}", "ms", 0, maxSlow)
	if err != nil {
		return err
	}
	u.UserData = time.Duration(ms) * time.Millisecond
	return nil
}

// slowSession is echoSession with a sleep before each echo. It sleeps no longer than its connection lives.
func slowSession(ctx context.Context, s *engine.Session) error {
	sleep := s.Conn().UserData().(time.Duration)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for m, err := range s.Messages(ctx) {
		if err != nil {
			return err
		}
		timer.Reset(sleep)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
		if err := s.Send(ctx, m.OpCode, m.Payload); err != nil {
			return err
		}
	}
	return nil
}

// maxStream is the size of messages and frames that /stream takes unless flags say otherwise: the most there is.
const maxStream = 1 << 40

// streamSession is echoSession for messages that need not fit into memory.
func streamSession(ctx context.Context, s *engine.Session) error {
	for {
		op, r, err := s.NextReader(ctx)
		if errors.Is(err, engine.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		w, err := s.NextWriter(ctx, op)
		if err != nil {
			return err
		}
		if _, err := io.Copy(w, r); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
	}
}
