package handshake

import (
	"bytes"
	"iter"
)

// MaxFields is the number of header fields a head may have; one more is
// answered by 431. It bounds the cost of looking a field up.
const MaxFields = 100

// field is one header field as offsets into the head: no pointers, so that
// parsing runs without write barriers and a Head keeps nothing alive.
type field struct {
	name, nameEnd   uint32
	value, valueEnd uint32
}

// fields are the header fields of a request or response head, in the order
// of arrival.
type fields struct {
	buf  []byte // the head they point into
	list [MaxFields]field
	n    int
}

// line is what cutLine found.
type line uint8

const (
	linePartial line = iota // no LF yet
	lineWhole               // ended by CRLF
	lineBareLF              // ended by LF alone
)

// cutLine finds the line of b that starts at offset at, as b[at:end], and the
// offset of the next one.
func cutLine(b []byte, at int) (end, next int, kind line) {
	i := bytes.IndexByte(b[at:], '\n')
	switch {
	case i < 0:
		return len(b), len(b), linePartial
	case i == 0 || b[at+i-1] != '\r':
		return at + i, at + i + 1, lineBareLF
	}
	return at + i - 1, at + i + 1, lineWhole
}

// add judges the field line buf[at:end], which came without its CRLF, and
// records it. Every rule that can be checked on the line alone is checked
// here: RFC 9112 section 5 (no space before the colon, no folding) and RFC
// 9110 section 5.5 (no control characters).
func (f *fields) add(at, end int) (*field, *Refusal) {
	if f.n == MaxFields {
		return nil, errTooManyFields
	}
	b := f.buf[at:end]
	if b[0] == ' ' || b[0] == '\t' {
		return nil, errFolded
	}
	colon := bytes.IndexByte(b, ':')
	if colon <= 0 || !all(b[:colon], classToken) {
		return nil, errFieldName
	}
	if !validValue(b[colon+1:]) {
		return nil, errFieldValue
	}
	v, w := at+colon+1, end
	for v < w && (f.buf[v] == ' ' || f.buf[v] == '\t') {
		v++
	}
	for w > v && (f.buf[w-1] == ' ' || f.buf[w-1] == '\t') {
		w--
	}
	l := &f.list[f.n]
	*l = field{name: uint32(at), nameEnd: uint32(at + colon), value: uint32(v), valueEnd: uint32(w)}
	f.n++
	return l, nil
}

func (f *fields) value(i int) []byte {
	l := &f.list[i]
	return f.buf[l.value:l.valueEnd:l.valueEnd]
}

// find returns the index of the first field called name at or after from, or
// -1.
func (f *fields) find(name string, from int) int {
	for i := from; i < f.n; i++ {
		l := &f.list[i]
		if int(l.nameEnd-l.name) == len(name) && equalFold(f.buf[l.name:l.nameEnd], name) {
			return i
		}
	}
	return -1
}

// Get returns the first value of the field called name, in any case, without
// the whitespace around it. The slice is valid until the next Parse or until
// the parsed bytes change.
func (f *fields) Get(name string) ([]byte, bool) {
	if i := f.find(name, 0); i >= 0 {
		return f.value(i), true
	}
	return nil, false
}

// Count returns how many field lines are called name, in any case.
func (f *fields) Count(name string) (n int) {
	for i := f.find(name, 0); i >= 0; i = f.find(name, i+1) {
		n++
	}
	return n
}

// Values yields the values of the field lines called name, in any case and in
// the order of arrival. The slices live as long as those of Get.
func (f *fields) Values(name string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := f.find(name, 0); i >= 0; i = f.find(name, i+1) {
			if !yield(f.value(i)) {
				return
			}
		}
	}
}

// HasToken reports whether the comma-separated lists of all field lines
// called name have token as an element. Both are compared with ASCII case
// folded (RFC 6455 section 4.2.1).
func (f *fields) HasToken(name, token string) bool {
	for i := f.find(name, 0); i >= 0; i = f.find(name, i+1) {
		for rest := f.value(i); rest != nil; {
			var e []byte
			if e, rest = cutElement(rest); equalFold(e, token) {
				return true
			}
		}
	}
	return false
}

// cutElement splits the first element, trimmed, off a comma-separated list.
// rest is nil when it was the last.
func cutElement(list []byte) (element, rest []byte) {
	if i := bytes.IndexByte(list, ','); i >= 0 {
		return trimOWS(list[:i]), list[i+1:]
	}
	return trimOWS(list), nil
}
