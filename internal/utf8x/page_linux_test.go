package utf8x

import (
	"os"
	"syscall"
	"testing"
)

// A read past the slice goes unnoticed unless the memory there is gone. Here
// the pages before and after the text are inaccessible.
func TestKernelsStayInsideThePage(t *testing.T) {
	page := os.Getpagesize()
	m, err := syscall.Mmap(-1, 0, 3*page, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		t.Skip("mmap:", err)
	}
	defer syscall.Munmap(m)
	for _, outside := range [][]byte{m[:page], m[2*page:]} {
		if err := syscall.Mprotect(outside, syscall.PROT_NONE); err != nil {
			t.Skip("mprotect:", err)
		}
	}
	inside := m[page : 2*page]
	for _, text := range [][]byte{words('a', 26, page), words('а', 32, page)} {
		wire := masked(text, 0)
		for _, k := range kernels() {
			for n := k.min; n <= page; n++ {
				if n > 600 && n < page {
					continue
				}
				for _, b := range [][]byte{inside[:n], inside[page-n:]} {
					copy(b, wire)
					if !k.unmask(b, testKey) {
						t.Fatalf("%s, %d bytes: refused", k.name, n)
					}
				}
			}
		}
	}
}
