package pool

import (
	"bytes"
	"errors"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"unsafe"
)

// A source is one of the two sides of the byte buffers.
type source struct {
	name string
	get  func(int) *Buffer
	put  func(*Buffer)
}

func sources() []source {
	p := NewBuffers(8 << 20)
	return []source{{"shared", Get, Put}, {"loop", p.Get, p.Put}}
}

// wantCap is the capacity for n bytes, naively.
func wantCap(n int) int {
	if n > MaxKept {
		return n
	}
	for size := 64; size <= 512<<10; size *= 2 {
		if n <= size {
			return size
		}
	}
	return MaxKept
}

func TestGetReturnsExactClass(t *testing.T) {
	sizes := []int{-1, 0, 1, 100, MaxKept - 1, MaxKept, MaxKept + 1, 5 << 20}
	for shift := 5; shift <= 20; shift++ {
		sizes = append(sizes, 1<<shift-1, 1<<shift, 1<<shift+1)
	}
	for _, s := range sources() {
		for range 3 { // new, then reused
			for _, n := range sizes {
				b := s.get(n)
				if len(b.B) != 0 || cap(b.B) != wantCap(n) {
					t.Fatalf("%s: Get(%d) has length %d, capacity %d, want 0 and %d", s.name, n, len(b.B), cap(b.B), wantCap(n))
				}
				b.B = append(b.B, "used"...)
				s.put(b)
			}
		}
	}
}

func TestPutKeepsOnlyExactClasses(t *testing.T) {
	p := NewBuffers(64 << 20)
	for _, c := range []int{0, 1, 63, 65, 100, 1000, 512<<10 + 1, 1 << 20, MaxKept - 1, MaxKept + 1, 2 << 20} {
		p.Put(&Buffer{B: make([]byte, 0, c)})
		if p.Idle() != 0 {
			t.Fatalf("kept a buffer of capacity %d", c)
		}
	}
	want := 0
	for _, c := range []int{64, 128, 256, 512, 1 << 10, 512 << 10, MaxKept} {
		p.Put(&Buffer{B: make([]byte, c)})
		if want += c; p.Idle() != want {
			t.Fatalf("did not keep a buffer of capacity %d", c)
		}
	}
}

func TestBuffersAreLastInFirstOut(t *testing.T) {
	p := NewBuffers(1 << 20)
	a, b, other := p.Get(100), p.Get(100), p.Get(1000)
	p.Put(a)
	p.Put(b)
	p.Put(other)
	if x, y := p.Get(128), p.Get(65); x != b || y != a {
		t.Fatal("not the buffer put last")
	}
	if p.Idle() != 1024 {
		t.Fatalf("%d bytes idle, want 1024", p.Idle())
	}
}

func TestBuffersAreBoundedInBytes(t *testing.T) {
	for _, limit := range []int{-1, 0, 63, 64, 1000, 1 << 20, MaxKept, 3 << 20} {
		p := NewBuffers(limit)
		for _, n := range []int{MaxKept, 64, 100, 1000, 4096, 60_000, 512 << 10} {
			var out []*Buffer
			for range 4 {
				out = append(out, p.Get(n))
			}
			for _, b := range out {
				room := max(limit, 0) - p.Idle()
				before := p.Idle()
				p.Put(b)
				want := before
				if cap(b.B) <= room {
					want += wantCap(n)
				}
				if p.Idle() != want {
					t.Fatalf("limit %d: %d bytes idle after a put of %d into %d", limit, p.Idle(), wantCap(n), before)
				}
			}
		}
	}
}

func TestReleaseEmptiesAndPoolStaysUsable(t *testing.T) {
	p := NewBuffers(1 << 20)
	b := p.Get(10)
	p.Put(b)
	p.Release()
	if p.Idle() != 0 {
		t.Fatalf("%d bytes idle after Release", p.Idle())
	}
	for class := range p.free {
		if p.free[class].bufs != nil {
			t.Fatal("Release kept a buffer")
		}
	}
	p.Put(p.Get(10))
	if p.Idle() != 64 {
		t.Fatalf("%d bytes idle, want 64", p.Idle())
	}
}

func TestBuffersSpillToTheSharedPoolAndDrawFromIt(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops puts in race builds")
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	p := NewBuffers(0)
	b := p.Get(3000)
	p.Put(b)
	if Get(3000) != b {
		t.Fatal("what exceeds the limit is not in the shared pool")
	}
	Put(b)
	if p.Get(3000) != b {
		t.Fatal("an empty pool does not draw from the shared one")
	}
}

// bytebufferpool decides after 42,000 puts what it keeps and allocates.
func TestCalibrationNeitherDiscardsNorMisallocates(t *testing.T) {
	if raceEnabled {
		t.Skip("sync.Pool drops puts in race builds")
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	s := newSpill()
	for class := range classes {
		size := sizeOf(class)
		first := s.get(class)
		for i := range 200_000 {
			s.put(class, first)
			if b := s.get(class); b != first {
				t.Fatalf("class of %d bytes: discarded at put %d", size, i)
			}
		}
		// The pool is empty now, so this one is new.
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		b := s.get(class)
		runtime.ReadMemStats(&after)
		if cap(b.B) != size || b == first {
			t.Fatalf("class of %d bytes: a new buffer has capacity %d", size, cap(b.B))
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > uint64(size+size/8+8<<10) {
			t.Fatalf("class of %d bytes: a new buffer took %d bytes", size, took)
		}
		s.put(class, b)
	}
}

func TestPoolsAreAlignedOn32Bit(t *testing.T) {
	for i, p := range newSpill().pools {
		if uintptr(unsafe.Pointer(p))%8 != 0 {
			t.Errorf("pool %d is not aligned for 64-bit atomics", i)
		}
	}
}

func TestSharedBuffersAreSafeForConcurrentUse(t *testing.T) {
	for _, verify := range []bool{false, true} {
		Verify(verify)
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				p := NewBuffers(4096)
				for i := range 300 {
					n := 1 << (i % 17)
					a, b := Get(n), p.Get(n)
					a.B = append(a.B, byte(g)) // a race if two hold it
					b.B = append(b.B, byte(g))
					p.Put(a)
					Put(b)
				}
			})
		}
		wg.Wait()
		if out := Outstanding(); len(out) != 0 {
			t.Errorf("out %v", out)
		}
	}
	Verify(false)
}

func TestBuffersAllocateNothing(t *testing.T) {
	for _, s := range sources() {
		if raceEnabled && s.name == "shared" {
			continue
		}
		for _, n := range []int{0, 100, 4096, 100_000, 1 << 20, MaxKept} {
			allocs := testing.AllocsPerRun(200, func() {
				b := s.get(n)
				b.B = append(b.B, 1)
				s.put(b)
			})
			if allocs != 0 {
				t.Errorf("%s, %d bytes: %v allocations", s.name, n, allocs)
			}
		}
	}
}

// verify turns the verifying mode on for one test.
func verify(t *testing.T) {
	Verify(true)
	t.Cleanup(func() { Verify(false) })
}

// wantPanic calls f, which is to panic with an error that wraps target (if any)
// and names the places.
func wantPanic(t *testing.T, f func(), target error, places ...string) {
	t.Helper()
	v := caught(f)
	err, ok := v.(error)
	if !ok || target != nil && !errors.Is(err, target) {
		t.Fatalf("panic %v, want %v", v, target)
	}
	for _, place := range places {
		if !strings.Contains(err.Error(), place) {
			t.Errorf("%q does not name %s", err, place)
		}
	}
}

func TestVerifyingPanicsOnDoublePut(t *testing.T) {
	verify(t)
	for _, s := range sources() {
		for _, other := range sources() {
			for _, n := range []int{10, MaxKept, MaxKept + 1} {
				b, taken := s.get(n), here(0)
				put, first := func() { s.put(b) }, here(0)
				put()
				put, second := func() { other.put(b) }, here(0)
				wantPanic(t, put, ErrTwice, taken, first, second)
			}
		}
	}
}

func TestVerifyingPanicsOnForeignPut(t *testing.T) {
	verify(t)
	for _, s := range sources() {
		b := &Buffer{B: make([]byte, 0, 64)}
		put, place := func() { s.put(b) }, here(0)
		wantPanic(t, put, ErrForeign, place)
	}
}

func TestVerifyingListsWhatIsOut(t *testing.T) {
	verify(t)
	p := NewBuffers(1 << 20)
	a, first := Get(100), here(0)
	b, second := p.Get(MaxKept+1), here(0)
	want := []Loan{{first, 128}, {second, MaxKept + 1}}
	if got := Outstanding(); !slices.Equal(got, want) {
		t.Fatalf("out %v, want %v", got, want)
	}
	p.Put(a)
	Put(b)
	if got := Outstanding(); len(got) != 0 {
		t.Fatalf("out %v, want nothing", got)
	}
	Get(1) // forgotten by the switch
	Verify(false)
	Verify(true)
	if got := Outstanding(); len(got) != 0 {
		t.Fatalf("out %v after a switch, want nothing", got)
	}
}

func TestVerifyingOverwritesWhatIsPut(t *testing.T) {
	verify(t)
	for _, s := range sources() {
		for _, n := range []int{1, 64, 1000, MaxKept, MaxKept + 5} {
			b := s.get(n)
			late := append(b.B, make([]byte, n)...)
			s.put(b)
			if !bytes.Equal(late, bytes.Repeat([]byte{0xDB}, n)) {
				t.Fatalf("%s: %d bytes kept their contents", s.name, n)
			}
		}
	}
}

func TestVerifyingPanicsWhenWrittenAfterPut(t *testing.T) {
	verify(t)
	p := NewBuffers(1 << 20)
	for _, at := range []int{0, 1, 500, 1023} {
		b := p.Get(1024)
		late := b.B[:1024]
		put, place := func() { p.Put(b) }, here(0)
		put()
		late[at]++
		wantPanic(t, func() { p.Get(1024) }, nil, "written to after Put", place)
	}
}

func TestVerifyingKeepsNoBufferAlive(t *testing.T) {
	verify(t)
	for range 600 {
		Put(Get(MaxKept + 1<<10)) // dropped each time: 600 MB in all
	}
	runtime.GC()
	for range 300 {
		Put(Get(MaxKept + 1))
	}
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 200<<20 {
		t.Fatalf("%d MB of heap in use", m.HeapAlloc>>20)
	}
	if n := len(lent.back); n > 400 {
		t.Fatalf("%d returned buffers remembered", n)
	}
}

func TestNotVerifyingLeavesBuffersAlone(t *testing.T) {
	b := &Buffer{B: []byte(strings.Repeat("x", 64))}
	NewBuffers(64).Put(b)
	if b.B[:64][63] != 'x' || Outstanding() != nil {
		t.Fatal("verifying without Verify")
	}
}
