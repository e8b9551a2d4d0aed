package frame_test

import (
	"strings"
	"testing"

	"zeroframe/frame"
)

func TestOpCodesAreClassedAsInSection52(t *testing.T) {
	names := map[frame.OpCode]string{0: "continuation", 1: "text", 2: "binary", 8: "close", 9: "ping", 10: "pong"}
	for op := frame.OpCode(0); op < 16; op++ {
		name, known := names[op]
		if op.IsReserved() == known {
			t.Errorf("%d: IsReserved() = %v", op, op.IsReserved())
		}
		if got, want := op.IsControl(), op >= 8; got != want {
			t.Errorf("%d: IsControl() = %v", op, got)
		}
		if got, want := op.IsData(), op == 1 || op == 2; got != want {
			t.Errorf("%d: IsData() = %v", op, got)
		}
		if !known {
			name = "reserved opcode 0x" + string("0123456789abcdef"[op])
		}
		if got := op.String(); got != name {
			t.Errorf("%d: String() = %q, want %q", op, got, name)
		}
	}
}

func TestCloseCodesOnTheWire(t *testing.T) {
	allowed := func(code int) bool {
		switch code {
		case 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014:
			return true
		}
		return code >= 3000 && code < 5000
	}
	for code := 0; code <= 0xFFFF; code++ {
		if got := frame.CloseCode(code).OnWire(); got != allowed(code) {
			t.Errorf("%d: OnWire() = %v", code, got)
		}
	}
}

func TestCloseCodeStringsBeginWithTheNumber(t *testing.T) {
	for _, test := range []struct {
		code frame.CloseCode
		want string
	}{
		{frame.CloseNormal, "1000 (normal closure)"},
		{frame.CloseGoingAway, "1001 (going away)"},
		{frame.CloseTLSHandshake, "1015 (TLS handshake)"},
		{1004, "1004"},
		{4321, "4321"},
	} {
		if got := test.code.String(); got != test.want {
			t.Errorf("%d: %q, want %q", uint16(test.code), got, test.want)
		}
	}
	for code := frame.CloseNormal; code <= frame.CloseTLSHandshake; code++ {
		if named := strings.Contains(code.String(), "("); named != (code != 1004) {
			t.Errorf("%d: String() = %q", uint16(code), code)
		}
	}
}
