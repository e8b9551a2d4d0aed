package engine

import (
	"testing"
	"unsafe"
)

// A connection is one object. Growing it past 224 B puts it into the allocator's next size class and, with its slot in
// the table, past the 240 B that an idle connection may cost.
func TestConnFitsItsSizeClass(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) == 8 {
		if n := unsafe.Sizeof(Conn{}); n > 224 {
			t.Errorf("a Conn takes %d bytes, at most 224 are meant", n)
		}
	}
}
