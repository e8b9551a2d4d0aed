// Package frame is the wire format of RFC 6455: it encodes frames into byte
// slices and decodes them from a stream that arrives in pieces of any size.
//
// There is no input or output here and nothing allocates, except that the
// Append functions grow a slice that is too small. [Parser] hands out
// sub-slices of the bytes it was given; it keeps none of them between calls.
//
// Nothing in this package locks. Values of [Header], [Rules] and [Error] may be
// shared between goroutines while nobody writes them; a [Parser] and a [Chunk]
// belong to one goroutine at a time.
package frame
