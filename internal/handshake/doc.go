// Package handshake reads, judges and answers the HTTP/1.1 head that opens a
// WebSocket connection (RFC 6455 section 4), on the server's side and on the
// client's. It does no I/O: bytes in, verdicts and bytes out.
//
// The server's side is Head: Parse takes the bytes received so far and says
// incomplete, complete or refused; CheckUpgrade judges the request as a
// WebSocket handshake; AppendSwitching and AppendRefusal write the answer. A
// verdict does not depend on how the bytes were cut into reads.
//
// The parser accepts less than net/http does. Whatever two HTTP parsers are
// known to disagree on (bare LF, folded lines, repeated lengths) is refused,
// so that a proxy in front and the http.Server behind cannot be played off
// against each other: a head accepted here is accepted by http.ReadRequest,
// with the same method, target and host.
package handshake
