package pool

import (
	"fmt"
	"testing"
)

var payload [64 << 10]byte

func BenchmarkBuffers(b *testing.B) {
	for _, s := range sources() {
		for _, n := range []int{0, 100, 1024, 64 << 10} {
			b.Run(fmt.Sprintf("%s/%d", s.name, n), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(n))
				for b.Loop() {
					buf := s.get(n)
					buf.B = append(buf.B, payload[:n]...)
					s.put(buf)
				}
			})
		}
	}
}

// The case of the loop: static calls, 100 bytes.
func BenchmarkBuffersGetPut100(b *testing.B) {
	p := NewBuffers(1 << 20)
	b.ReportAllocs()
	b.SetBytes(100)
	for b.Loop() {
		buf := p.Get(100)
		buf.B = append(buf.B, payload[:100]...)
		p.Put(buf)
	}
}

func BenchmarkSharedLargest(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Put(Get(MaxKept))
	}
}

func BenchmarkSharedParallel(b *testing.B) {
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			Put(Get(100))
		}
	})
}

func BenchmarkPool(b *testing.B) {
	for _, verify := range []bool{false, true} {
		b.Run(fmt.Sprintf("verify=%v", verify), func(b *testing.B) {
			p, _ := made(b, Config[*object]{Capacity: 8, Verify: verify})
			b.ReportAllocs()
			for b.Loop() {
				_ = p.Recycle(p.Borrow())
			}
		})
	}
}
