package frame

import "unicode/utf8"

// MaxCloseReason is the most bytes of UTF-8 a close reason may have: what a
// control frame leaves beside the two bytes of the code (RFC 6455, sections 5.5
// and 5.5.1).
const MaxCloseReason = MaxControlPayload - 2

// AppendClosePayload appends the payload of a close frame to dst and returns
// the extended slice. CloseNoStatus appends nothing, whatever the reason: a
// payload cannot carry it, an empty payload means it. Any other code is written
// as it is. That [CloseCode.OnWire] admits it, and that reason is UTF-8 of at
// most MaxCloseReason bytes, is the caller's job; see [TruncateReason].
func AppendClosePayload(dst []byte, code CloseCode, reason string) []byte {
	if code == CloseNoStatus {
		return dst
	}
	dst = append(dst, byte(code>>8), byte(code))
	return append(dst, reason...)
}

// ParseClosePayload reads the unmasked payload of a close frame (RFC 6455,
// section 5.5.1). An empty payload gives CloseNoStatus. reason is a sub-slice
// of p and lives as long as p's bytes do.
//
// The error is ErrClosePayload for a payload of one byte, ErrCloseCode for a
// code that [CloseCode.OnWire] refuses, or ErrCloseReason for a reason that is
// not UTF-8. With an error reason is nil, and code is the one received, or
// CloseNoStatus if there was none: for a log, not for an answer.
func ParseClosePayload(p []byte) (code CloseCode, reason []byte, err error) {
	switch len(p) {
	case 0:
		return CloseNoStatus, nil, nil
	case 1:
		return CloseNoStatus, nil, ErrClosePayload
	}
	code = CloseCode(p[0])<<8 | CloseCode(p[1])
	if !code.OnWire() {
		return code, nil, ErrCloseCode
	}
	if !utf8.Valid(p[2:]) {
		return code, nil, ErrCloseReason
	}
	return code, p[2:], nil
}

// TruncateReason returns the longest prefix of s that fits a close frame and
// does not split a rune: all of s when it has at most MaxCloseReason bytes. It
// does not allocate and does not mend text that is not UTF-8.
func TruncateReason(s string) string {
	if len(s) <= MaxCloseReason {
		return s
	}
	for cut := MaxCloseReason; cut > MaxCloseReason-utf8.UTFMax; cut-- {
		if utf8.RuneStart(s[cut]) {
			return s[:cut]
		}
	}
	return s[:MaxCloseReason] // not UTF-8: there is no rune to keep whole
}
