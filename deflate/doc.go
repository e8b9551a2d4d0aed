// Package deflate is permessage-deflate (RFC 7692) without any networking:
// negotiation, and the compression and inflation of messages over
// github.com/klauspost/compress/flate.
//
// # Who owns what
//
// What compresses and inflates belongs to an event loop, or any one goroutine,
// and never to a connection: a Compressor holds writers of 0.3 to 1.4 MB by
// level and window, a Decompressor one reader of 40 KB. A connection owns at
// most a History for each direction, and that only where context takeover was
// negotiated (section 7.1.1): nothing otherwise. The streaming Writer and Reader
// borrow what they need while one message lasts.
//
//	memory per connection       sending                 receiving
//	no context takeover         0                       0
//	context takeover            History of 4 KiB by     History of the peer's
//	                            default, or as chosen   window: 256 B to 32 KiB
//
// What was written for one connection can never be referred to by another's
// stream: a writer or reader is given the history of the connection that it
// serves, or none, at the beginning of every message, and a reader's Huffman
// codes are cleared.
//
// # On the wire
//
// A compressed message has RSV1 on its first frame, and lacks the last four
// bytes of its DEFLATE stream, 00 00 ff ff (section 7.2.1). An empty message is
// the single byte 00. Messages that do not shrink are better sent as they are,
// without RSV1; they do not enter the history.
package deflate
