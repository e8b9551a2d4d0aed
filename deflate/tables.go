package deflate

import (
	"bytes"
	"reflect"
)

// table decodes one of the Huffman codes of a flate reader. Zeroes are no code.
type table = [512]uint16

// tables are those of a reader for the codes that messages define (RFC 1951,
// section 3.2.7): of lengths and literals, and of distances.
//
// A code may be empty, such as that of the distances of a block without any.
// flate (v1.20.3) then leaves its table as it is, so that what a peer sends
// would be decoded by the codes of the message before, of any connection. It has
// nothing to clear a table by, so they are cleared from here, at 15 ns. Where
// they are not found, in another version, they are overwritten by a message made
// for it, at 1 us.
type tables struct {
	of        flateReader
	literals  *table // nil if not found
	distances *table
	codes     bytes.Reader // of someCodes
}

// someCodes is a final block with codes of its own, and without any text.
var someCodes = []byte("\x05\xc0\x81\x00\x00\x00\x00\x00\x90\xff\x6b\x00")

// find finds the tables of a new reader.
func (t *tables) find(r flateReader) {
	t.of = r
	t.overwrite() // it makes them when it needs them
	t.literals, t.distances = tableIn(r, "h1"), tableIn(r, "h2")
}

// tableIn returns the table of a reader's decoder, or nil if there is none.
func tableIn(r flateReader, decoder string) *table {
	v := reflect.Indirect(reflect.ValueOf(r))
	for _, field := range []string{decoder, "chunks"} {
		if v.Kind() != reflect.Struct {
			return nil
		}
		v = v.FieldByName(field)
	}
	if !v.IsValid() || v.Type() != reflect.TypeFor[*table]() {
		return nil
	}
	return (*table)(v.UnsafePointer())
}

// forget makes the reader forget the codes of its messages. It must be reset
// before it reads on.
func (t *tables) forget() {
	if t.literals == nil || t.distances == nil {
		t.overwrite()
		return
	}
	clear(t.literals[:])
	clear(t.distances[:])
}

func (t *tables) overwrite() {
	t.codes.Reset(someCodes)
	t.of.Reset(&t.codes, nil)
	t.of.Read(nil)
}
