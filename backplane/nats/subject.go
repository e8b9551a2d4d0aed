package nats

import (
	"encoding/base64"
	"encoding/hex"
)

// subjects are those that an engine uses, below the prefix.
type subjects struct {
	topics   string // and a token
	presence string // what all engines hear
	own      string // what this one hears: presence, and its id
}

func newSubjects(prefix string, id engineID) subjects {
	s := subjects{topics: prefix + ".t.", presence: prefix + ".presence"}
	s.own = s.of(id)
	return s
}

// of returns the subject that an engine hears alone.
func (s *subjects) of(id engineID) string { return s.presence + "." + hex.EncodeToString(id[:]) }

// appendTopic appends the subject of a topic.
func (s *subjects) appendTopic(b []byte, name string) []byte {
	return appendToken(append(b, s.topics...), name)
}

// plain are the bytes that stand for themselves in a token: printable ASCII but for what NATS reads in a subject, and the
// sign that announces what does not stand for itself.
var plain = func() (is [256]bool) {
	for c := '!'; c <= '~'; c++ {
		is[c] = true
	}
	for _, c := range ".*>=" {
		is[c] = false
	}
	return is
}()

// appendToken appends name, any bytes, as one token of a subject. Different names make different tokens: a plain one has
// no "=", an escaped one a hexadecimal digit behind each, and base64 begins with two. It is at most 2 bytes and a third
// longer than the name, so that the longest topic stays far below the 4096 bytes that a server allows for a control line.
func appendToken(b []byte, name string) []byte {
	special := 0
	for i := range len(name) {
		if !plain[name[i]] {
			special++
		}
	}
	if special == 0 {
		return append(b, name...)
	}
	if len(name)+2*special > 2+base64.RawURLEncoding.EncodedLen(len(name)) {
		return base64.RawURLEncoding.AppendEncode(append(b, "=="...), []byte(name))
	}
	const digits = "0123456789ABCDEF"
	for i := range len(name) {
		if c := name[i]; plain[c] {
			b = append(b, c)
		} else {
			b = append(b, '=', digits[c>>4], digits[c&15])
		}
	}
	return b
}
