package frame_test

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"zeroframe/frame"
)

func TestClosePayloadsAreParsedAsInSection551(t *testing.T) {
	for _, test := range []struct {
		name    string
		payload string
		code    frame.CloseCode
		reason  string
		err     error
		answer  frame.CloseCode // code to close with on err
	}{
		{"empty", "", frame.CloseNoStatus, "", nil, 0},
		{"one byte", "\x03", frame.CloseNoStatus, "", frame.ErrClosePayload, frame.CloseProtocolError},
		{"code only", "\x03\xe8", 1000, "", nil, 0},
		{"code and reason", "\x03\xe9bye", 1001, "bye", nil, 0},
		{"application code", "\x13\x87\xe2\x82\xac", 4999, "€", nil, 0},
		{"code 0", "\x00\x00", 0, "", frame.ErrCloseCode, frame.CloseProtocolError},
		{"code 999", "\x03\xe7", 999, "", frame.ErrCloseCode, frame.CloseProtocolError},
		{"code 1005", "\x03\xed", 1005, "", frame.ErrCloseCode, frame.CloseProtocolError},
		{"code 5000", "\x13\x88", 5000, "", frame.ErrCloseCode, frame.CloseProtocolError},
		{"bad code before bad text", "\x03\xee\xff", 1006, "", frame.ErrCloseCode, frame.CloseProtocolError},
		{"bad text", "\x03\xe8ok\xff", 1000, "", frame.ErrCloseReason, frame.CloseInvalidPayload},
		{"cut rune", "\x03\xe8\xe2\x82", 1000, "", frame.ErrCloseReason, frame.CloseInvalidPayload},
	} {
		code, reason, err := frame.ParseClosePayload([]byte(test.payload))
		if code != test.code || string(reason) != test.reason || err != test.err {
			t.Errorf("%s: %d %q %v", test.name, code, reason, err)
		}
		if err != nil && err.(*frame.Error).Code != test.answer {
			t.Errorf("%s: closes with %v", test.name, err.(*frame.Error).Code)
		}
	}
}

func TestClosePayloadsRoundTrip(t *testing.T) {
	prefix := []byte("head")
	p := frame.AppendClosePayload(prefix, frame.CloseGoingAway, "Server is going down")
	if !bytes.HasPrefix(p, prefix) {
		t.Fatalf("prefix lost: %q", p)
	}
	code, reason, err := frame.ParseClosePayload(p[len(prefix):])
	if code != frame.CloseGoingAway || string(reason) != "Server is going down" || err != nil {
		t.Errorf("%v %q %v", code, reason, err)
	}
	if p := frame.AppendClosePayload(nil, frame.CloseNoStatus, "ignored"); len(p) != 0 {
		t.Errorf("CloseNoStatus wrote %q", p)
	}
}

func TestReasonsOfAllErrorsFitACloseFrame(t *testing.T) {
	for _, e := range allErrors {
		if len(e.Reason) == 0 || len(e.Reason) > frame.MaxCloseReason || !utf8.ValidString(e.Reason) {
			t.Errorf("reason %q", e.Reason)
		}
		if !e.Code.OnWire() {
			t.Errorf("%q closes with %v", e.Reason, e.Code)
		}
		if msg := e.Error(); !strings.Contains(msg, e.Reason) || !strings.Contains(msg, e.Code.String()) {
			t.Errorf("message %q", msg)
		}
	}
}

var allErrors = []*frame.Error{
	frame.ErrReservedBits, frame.ErrReservedOpCode, frame.ErrFragmentedControl, frame.ErrControlTooLong,
	frame.ErrStrayContinuation, frame.ErrInterleavedData, frame.ErrUnmasked, frame.ErrMasked,
	frame.ErrLengthTopBit, frame.ErrLengthNotMinimal, frame.ErrFrameTooBig,
	frame.ErrClosePayload, frame.ErrCloseCode, frame.ErrCloseReason,
}

func TestReasonsAreCutBetweenRunes(t *testing.T) {
	for _, r := range []string{"a", "é", "€", "😀"} {
		for lead := range 5 { // shifts the runes against the limit
			for count := range 130 {
				s := strings.Repeat("x", lead) + strings.Repeat(r, count)
				want := s
				for len(want) > frame.MaxCloseReason {
					_, size := utf8.DecodeLastRuneInString(want)
					want = want[:len(want)-size]
				}
				if got := frame.TruncateReason(s); got != want {
					t.Fatalf("%d+%d of %q: %d bytes, want %d", lead, count, r, len(got), len(want))
				}
			}
		}
	}
}

func TestReasonsThatAreNotUTF8AreCutAtTheLimit(t *testing.T) {
	if got := frame.TruncateReason(strings.Repeat("\x80", 200)); len(got) != frame.MaxCloseReason {
		t.Errorf("%d bytes", len(got))
	}
}
