package main

import (
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"zeroframe/engine"
)

const (
	shortest = 500 * time.Millisecond
	longest  = time.Minute
)

// backoff says how long to wait before the next try: twice as long after each failure, and at random, so that clients who
// have lost the same server do not come back all at once.
type backoff struct{ failures int }

// next returns a time between a half and the whole of what is due after one more failure.
func (b *backoff) next() time.Duration {
	d := min(shortest<<b.failures, longest)
	if d < longest {
		b.failures++
	}
	return d/2 + rand.N(d/2)
}

// isHopeless reports whether the next dial would end as this one did: the server has understood, and does not want us, or
// is not the one we want.
func isHopeless(err error) bool {
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return true
	}
	var answer *engine.HandshakeError
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.Status {
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		return false
	}
	return answer.Status >= 300 && answer.Status < 500
}

// retryAfter is how long a server that is busy asks to be left alone (RFC 9110, section 10.2.3).
func retryAfter(err error) time.Duration {
	var answer *engine.HandshakeError
	if !errors.As(err, &answer) {
		return 0
	}
	seconds, err := strconv.Atoi(answer.Header.Get("Retry-After"))
	if err != nil {
		return 0
	}
	return min(max(time.Duration(seconds)*time.Second, 0), time.Hour)
}
