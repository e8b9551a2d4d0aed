package bench

import (
	"strings"
	"testing"
)

func TestTheTailOfWhatAServerPrintsIsKept(t *testing.T) {
	var b Tail
	for range 1000 {
		b.Write([]byte("0123456789"))
	}
	b.Write([]byte("end"))
	if s := b.String(); len(s) > tailSize+100 || !strings.HasSuffix(s, "9end") {
		t.Errorf("%d bytes, ending %q", len(s), s[len(s)-10:])
	}
}
