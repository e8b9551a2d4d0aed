package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"slices"

	"zeroframe/engine"
	"zeroframe/frame"
)

// countSession answers a JSON object with the same object, its n one higher.
func countSession(ctx context.Context, s *engine.Session) error {
	for {
		o, err := engine.ReceiveValue[object](ctx, s)
		var decode *engine.DecodeError
		switch {
		case err == nil:
			err = engine.SendValue(ctx, s, o.increment())
		case errors.As(err, &decode):
			err = engine.SendValue(ctx, s, map[string]string{"error": decode.Err.Error()})
		}
		if errors.Is(err, engine.ErrClosed) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// object is the text of a JSON object with an integer named n. Kept as text, all else in it stays as it was: the order of
// the fields, numbers of any size and format, strings and their escapes.
type object struct {
	text       []byte
	begin, end int // of n's value; of the last one, if there are several
}

var (
	errNotObject  = errors.New("the message is not an object")
	errNotInteger = errors.New(`"n" is not an integer`)
)

// UnmarshalJSON finds n in b, which is valid JSON.
func (o *object) UnmarshalJSON(b []byte) error {
	*o = object{text: bytes.Clone(b)}
	d := json.NewDecoder(bytes.NewReader(o.text))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errNotObject
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		if name == "n" {
			o.end = int(d.InputOffset())
			o.begin = o.end - len(value)
		}
	}
	if !isInteger(o.text[o.begin:o.end]) {
		return errNotInteger
	}
	return nil
}

// verbatim is engine.JSON, except that it sends an object's text, less the space between tokens: encoding/json would escape
// characters of HTML in its strings.
type verbatim struct{ engine.Codec }

// Encode returns the message for an object, or what JSON makes of v.
func (c verbatim) Encode(v any) (frame.OpCode, []byte, error) {
	o, ok := v.(object)
	if !ok {
		return c.Codec.Encode(v)
	}
	var text bytes.Buffer
	err := json.Compact(&text, o.text)
	return frame.Text, text.Bytes(), err
}

// increment returns o with n one higher.
func (o object) increment() object {
	n := addOne(o.text[o.begin:o.end])
	o.text = slices.Replace(o.text, o.begin, o.end, n...)
	o.end = o.begin + len(n)
	return o
}

// isInteger reports whether a JSON value is a number without a fraction and an exponent.
func isInteger(value []byte) bool {
	digits := bytes.TrimPrefix(value, []byte("-"))
	return len(digits) > 0 && !bytes.ContainsFunc(digits, func(r rune) bool { return r < '0' || r > '9' })
}

// addOne adds 1 to an integer in decimal digits. math/big reads and writes decimals in more than linear time, and a
// message may be all digits.
func addOne(n []byte) []byte {
	if n[0] != '-' {
		sum := append([]byte{'0'}, n...)
		i := len(sum) - 1
		for ; sum[i] == '9'; i-- {
			sum[i] = '0'
		}
		sum[i]++
		return trimZero(sum)
	}
	if n[1] == '0' { // -0
		return []byte("1")
	}
	less := bytes.Clone(n[1:])
	i := len(less) - 1
	for ; less[i] == '0'; i-- {
		less[i] = '9'
	}
	less[i]--
	if less = trimZero(less); less[0] == '0' {
		return less
	}
	return append([]byte{'-'}, less...)
}

// trimZero drops the leading zero of a number of several digits: JSON has none.
func trimZero(digits []byte) []byte {
	if len(digits) > 1 && digits[0] == '0' {
		return digits[1:]
	}
	return digits
}
