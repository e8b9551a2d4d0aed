package deflate

import (
	"errors"
	"strings"
)

// ErrMalformed says that a Sec-WebSocket-Extensions field is not what RFC 6455,
// section 9.1, defines. The handshake is to be failed: 400 from a server.
var ErrMalformed = errors.New("deflate: malformed Sec-WebSocket-Extensions")

// Offer is one element of a Sec-WebSocket-Extensions field: an extension that a
// client offers or a server has accepted, of whatever name.
type Offer struct {
	Name   string
	Params []Param
}

// Param is a parameter of an extension. Value is empty when it has none, since
// an empty value is not allowed.
type Param struct {
	Name, Value string
}

// ParseOffers reads the values of all Sec-WebSocket-Extensions fields of a head,
// in their order, as one list (RFC 6455, section 9.1; RFC 9110, section 5.3).
// Quoted values are returned without quotes and must be tokens within. Names are
// kept as they are written: they are compared with regard to case. Empty
// elements are passed over. The strings share the memory of fields.
func ParseOffers(fields ...string) ([]Offer, error) {
	var offers []Offer
	for _, field := range fields {
		s := scanner{rest: field}
		for !s.end() {
			if s.next(',') {
				continue
			}
			offer, ok := s.offer()
			if !ok || !s.next(',') && !s.end() {
				return nil, ErrMalformed
			}
			offers = append(offers, offer)
		}
	}
	return offers, nil
}

// String writes o in the form of the field.
func (o Offer) String() string {
	var b strings.Builder
	b.WriteString(o.Name)
	for _, p := range o.Params {
		b.WriteString("; ")
		b.WriteString(p.Name)
		if p.Value != "" {
			b.WriteByte('=')
			b.WriteString(p.Value)
		}
	}
	return b.String()
}

// scanner takes a field apart from the left. White space is allowed between any
// two parts, as the grammar of RFC 2616, which RFC 6455 uses, implies.
type scanner struct{ rest string }

func (s *scanner) space() { s.rest = strings.TrimLeft(s.rest, " \t") }

// end reports whether nothing but white space is left.
func (s *scanner) end() bool {
	s.space()
	return s.rest == ""
}

// next takes c if it comes next.
func (s *scanner) next(c byte) bool {
	s.space()
	if s.rest == "" || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// extension = extension-token *( ";" extension-param )
func (s *scanner) offer() (o Offer, ok bool) {
	if o.Name, ok = s.token(); !ok {
		return o, false
	}
	for s.next(';') {
		p, ok := s.param()
		if !ok {
			return o, false
		}
		o.Params = append(o.Params, p)
	}
	return o, true
}

// extension-param = token [ "=" (token | quoted-string) ]
func (s *scanner) param() (p Param, ok bool) {
	if p.Name, ok = s.token(); !ok || !s.next('=') {
		return p, ok
	}
	if s.next('"') {
		p.Value, ok = s.quoted()
	} else {
		p.Value, ok = s.token()
	}
	return p, ok
}

func (s *scanner) token() (string, bool) {
	s.space()
	n := 0
	for n < len(s.rest) && isTokenByte(s.rest[n]) {
		n++
	}
	token := s.rest[:n]
	s.rest = s.rest[n:]
	return token, n > 0
}

// quoted takes what is left of a quoted-string behind its opening quote. After
// unescaping it must be a token.
func (s *scanner) quoted() (string, bool) {
	n := 0
	for n < len(s.rest) && isTokenByte(s.rest[n]) {
		n++
	}
	if n < len(s.rest) && s.rest[n] == '"' { // nothing escaped: no copy
		value := s.rest[:n]
		s.rest = s.rest[n+1:]
		return value, n > 0
	}
	var value []byte
	for i := 0; i < len(s.rest); i++ {
		c := s.rest[i]
		if c == '"' {
			s.rest = s.rest[i+1:]
			return string(value), len(value) > 0
		}
		if c == '\\' {
			if i++; i == len(s.rest) {
				break
			}
			c = s.rest[i]
		}
		if !isTokenByte(c) {
			break
		}
		value = append(value, c)
	}
	return "", false
}

// isTokenByte reports whether c is a tchar of RFC 9110, section 5.6.2.
func isTokenByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
