package nats

import (
	"encoding/binary"
	"errors"

	"zeroframe/engine"
	"zeroframe/frame"
)

// engineID names an engine from its start to its end.
type engineID [8]byte

// version is the first byte of every message. Engines of different versions do not understand each other.
const version = 1

// kind is what a message is: the second byte.
type kind byte

// What is said about topics, on their subjects: their messages, with the frame's opcode. What is said about members, on
// the others, comes with a number of the speaker's, seq, which each kindChange raises by one.
const (
	kindText     = kind(frame.Text)
	kindBinary   = kind(frame.Binary)
	kindChange   = kind(0x10) // to all: seq, then topics and their new numbers
	kindAlive    = kind(0x11) // to all: seq
	kindHello    = kind(0x12) // to all: seq; answer with a kindAlive
	kindBye      = kind(0x13) // to all: seq; forget me
	kindAsk      = kind(0x14) // to one: seq; send all you have
	kindSnapshot = kind(0x15) // to one: seq, which part, then topics and their numbers
)

// lastPart is added to twice the number of a snapshot's part, from 0, when it is the last.
const lastPart = 1

// headerSize is what stands before a payload: version, kind, engine.
const headerSize = 2 + len(engineID{})

var errMalformed = errors.New("nats: a message on our subjects is not ours, or of another version")

func appendHeader(b []byte, k kind, from engineID) []byte {
	return append(append(b, version, byte(k)), from[:]...)
}

func parseHeader(b []byte) (k kind, from engineID, body []byte, err error) {
	if len(b) < headerSize || b[0] != version {
		return 0, from, nil, errMalformed
	}
	return kind(b[1]), engineID(b[2:headerSize]), b[headerSize:], nil
}

// appendCount appends a topic and how many members it has.
func appendCount(b []byte, topic string, n int) []byte {
	b = binary.AppendUvarint(b, uint64(len(topic)))
	b = append(b, topic...)
	return binary.AppendUvarint(b, uint64(n))
}

// countSize is the most that appendCount appends for a topic.
func countSize(topic string) int { return 2 + len(topic) + binary.MaxVarintLen32 }

// maxCount bounds what another engine may say.
const maxCount = 1<<31 - 1

// nextCount takes a topic off the start of b.
func nextCount(b []byte) (topic []byte, n int, rest []byte, err error) {
	size, b, err := nextUvarint(b)
	if err != nil || size == 0 || size > engine.MaxTopicName || size > uint64(len(b)) {
		return nil, 0, nil, errMalformed
	}
	topic, b = b[:size], b[size:]
	count, b, err := nextUvarint(b)
	if err != nil || count > maxCount {
		return nil, 0, nil, errMalformed
	}
	return topic, int(count), b, nil
}

func nextUvarint(b []byte) (v uint64, rest []byte, err error) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, errMalformed
	}
	return v, b[n:], nil
}
