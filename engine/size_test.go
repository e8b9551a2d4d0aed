package engine

import (
	"testing"
	"unsafe"
)

// A connection is one object. Growing it past 208 B puts it into the allocator's next size class and, with its slot in
// the table, past the 240 B that an idle connection may cost.
func TestConnFitsItsSizeClass(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) == 8 {
		if n := unsafe.Sizeof(Conn{}); n > 208 {
			t.Errorf("a Conn takes %d bytes, at most 208 are meant", n)
		}
	}
}

// What docs and comments say that the rare features and a session cost.
func TestTheRareFeaturesAndSessionsFitTheirSizeClasses(t *testing.T) {
	if unsafe.Sizeof(uintptr(0)) == 8 {
		if n := unsafe.Sizeof(rare{}); n > 128 {
			t.Errorf("rare takes %d bytes, at most 128 are meant", n)
		}
		if n := unsafe.Sizeof(Session{}); n > 256 {
			t.Errorf("a Session takes %d bytes, at most 256 are meant", n)
		}
	}
}
