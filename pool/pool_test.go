package pool

import (
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

type object struct {
	id    int
	data  []byte
	clean bool
}

// made returns a pool of objects numbered from 1, and a list of the numbers that
// were disposed of.
func made(t testing.TB, cfg Config[*object]) (*Pool[*object], *[]int) {
	t.Helper()
	produced, disposed := 0, []int{}
	cfg.Produce = func() *object { produced++; return &object{id: produced} }
	if cfg.Dispose == nil {
		cfg.Dispose = func(o *object) { disposed = append(disposed, o.id) }
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p, &disposed
}

// here returns the place where it is called, offset lines further.
func here(offset int) string {
	_, file, line, _ := runtime.Caller(1)
	return fmt.Sprintf("%s:%d", file, line+offset)
}

func recycle(t testing.TB, p *Pool[*object], o *object) {
	t.Helper()
	if err := p.Recycle(o); err != nil {
		t.Fatal(err)
	}
}

func TestNewRefusesBadConfig(t *testing.T) {
	produce := func() *object { return new(object) }
	for _, capacity := range []int{0, -1} {
		if _, err := New(Config[*object]{Capacity: capacity, Produce: produce}); err == nil {
			t.Errorf("no error for capacity %d", capacity)
		}
	}
	if _, err := New(Config[*object]{Capacity: 1}); err == nil {
		t.Error("no error without Produce")
	}
	if _, err := New(Config[[]byte]{Capacity: 1, Produce: func() []byte { return nil }, Verify: true}); err == nil {
		t.Error("no error for verifying slices, which have no identity")
	}
	if _, err := New(Config[int]{Capacity: 1, Produce: func() int { return 1 }, Verify: true}); err == nil {
		t.Error("no error for verifying integers, which have no identity")
	}
	p, err := New(Config[[]byte]{Capacity: 7, Produce: func() []byte { return nil }})
	if err != nil || p.Capacity() != 7 {
		t.Errorf("capacity %d, %v; want 7 and no error", p.Capacity(), err)
	}
}

func TestBorrowIsLastInFirstOut(t *testing.T) {
	p, _ := made(t, Config[*object]{Capacity: 3})
	a, b, c := p.Borrow(), p.Borrow(), p.Borrow()
	recycle(t, p, a)
	recycle(t, p, c)
	recycle(t, p, b)
	if x, y, z := p.Borrow(), p.Borrow(), p.Borrow(); x != b || y != c || z != a {
		t.Fatalf("borrowed %d %d %d after recycling 1 3 2", x.id, y.id, z.id)
	}
}

func TestBorrowClearsWhatIsReusedOnly(t *testing.T) {
	p, _ := made(t, Config[*object]{Capacity: 1, Clear: func(o *object) *object {
		o.data, o.clean = o.data[:0], true
		return o
	}})
	o := p.Borrow()
	if o.clean {
		t.Error("a new instance was cleared")
	}
	o.data = []byte("left over")
	recycle(t, p, o)
	if o.clean {
		t.Error("cleared by Recycle")
	}
	if o = p.Borrow(); !o.clean || len(o.data) != 0 {
		t.Errorf("borrowed with %q", o.data)
	}
}

func TestBorrowReturnsWhatClearReturns(t *testing.T) {
	p, err := New(Config[[]byte]{
		Capacity: 1,
		Produce:  func() []byte { return make([]byte, 0, 8) },
		Clear:    func(b []byte) []byte { return b[:0] },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Recycle(append(p.Borrow(), "abc"...)); err != nil {
		t.Fatal(err)
	}
	if b := p.Borrow(); len(b) != 0 || cap(b) != 8 {
		t.Fatalf("length %d, capacity %d, want 0 and 8", len(b), cap(b))
	}
}

func TestCapacityBoundsExactly(t *testing.T) {
	for _, capacity := range []int{1, 2, 5} {
		p, disposed := made(t, Config[*object]{Capacity: capacity})
		var out []*object
		for range capacity + 3 {
			out = append(out, p.Borrow())
		}
		for _, o := range out {
			recycle(t, p, o)
		}
		var want []int
		for i := range 3 {
			want = append(want, capacity+1+i)
		}
		if p.Idle() != capacity || !slices.Equal(*disposed, want) {
			t.Fatalf("capacity %d: %d idle, disposed of %v, want %v", capacity, p.Idle(), *disposed, want)
		}
	}
}

func TestRecycleValidates(t *testing.T) {
	bad := errors.New("bad")
	for _, verify := range []bool{false, true} {
		p, disposed := made(t, Config[*object]{Capacity: 1, Verify: verify, Validate: func(o *object) error {
			if o.data != nil {
				return bad
			}
			return nil
		}})
		o := p.Borrow()
		o.data = []byte("x")
		if err := p.Recycle(o); err != bad {
			t.Fatalf("error %v, want Validate's", err)
		}
		if p.Idle() != 0 || len(*disposed) != 0 {
			t.Fatal("a refused instance was kept or disposed of")
		}
		if out := p.Outstanding(); len(out) != 0 {
			t.Fatalf("a refused instance counts as leaked: %v", out)
		}
		recycle(t, p, p.Borrow())
	}
}

func TestDisposeEmptiesIdleOnesAndPoolStaysUsable(t *testing.T) {
	for _, verify := range []bool{false, true} {
		p, disposed := made(t, Config[*object]{Capacity: 4, Verify: verify})
		a, b, c := p.Borrow(), p.Borrow(), p.Borrow()
		recycle(t, p, a)
		recycle(t, p, b)
		p.Dispose()
		if !slices.Equal(*disposed, []int{1, 2}) || p.Idle() != 0 {
			t.Fatalf("disposed of %v, %d idle", *disposed, p.Idle())
		}
		recycle(t, p, c)
		if d := p.Borrow(); d != c {
			t.Fatalf("borrowed %d after Dispose, want what was out then", d.id)
		}
		if d := p.Borrow(); d.id != 4 {
			t.Fatalf("borrowed %d after Dispose, want a new one", d.id)
		}
	}
}

func TestUseRecycles(t *testing.T) {
	failed, bad := errors.New("failed"), errors.New("bad")
	use := func(p *Pool[*object], f func(*object) error) (panicked any, err error) {
		done := make(chan struct{})
		go func() { // its own goroutine, for Goexit
			defer close(done)
			defer func() { panicked = recover() }()
			err = p.Use(f)
		}()
		<-done
		return panicked, err
	}
	var refuse error
	p, _ := made(t, Config[*object]{Capacity: 1, Verify: true, Validate: func(*object) error { return refuse }})

	for _, c := range []struct {
		name string
		f    func(*object) error
		want error
		paid any
	}{
		{"on return", func(*object) error { return nil }, nil, nil},
		{"on error", func(*object) error { return failed }, failed, nil},
		{"on panic", func(*object) error { panic("ouch") }, nil, "ouch"},
		{"on Goexit", func(*object) error { runtime.Goexit(); return nil }, nil, nil},
	} {
		panicked, err := use(p, c.f)
		if err != c.want || panicked != c.paid {
			t.Errorf("%s: error %v, panic %v", c.name, err, panicked)
		}
		if p.Idle() != 1 || len(p.Outstanding()) != 0 {
			t.Errorf("%s: %d idle, out %v", c.name, p.Idle(), p.Outstanding())
		}
	}

	refuse = bad
	if _, err := use(p, func(*object) error { return nil }); err != bad {
		t.Errorf("error %v, want Recycle's", err)
	}
	if _, err := use(p, func(*object) error { return failed }); !errors.Is(err, bad) || !errors.Is(err, failed) {
		t.Errorf("error %v, want both", err)
	}
}

func TestVerifyingReportsDoubleRecycle(t *testing.T) {
	p, disposed := made(t, Config[*object]{Capacity: 2, Verify: true})
	o, borrowed := p.Borrow(), here(0)
	recycleHere := func() error { return p.Recycle(o) }
	place := here(-1)
	if err := recycleHere(); err != nil {
		t.Fatal(err)
	}
	err, again := p.Recycle(o), here(0)
	if !errors.Is(err, ErrTwice) {
		t.Fatalf("error %v, want ErrTwice", err)
	}
	for _, place := range []string{borrowed, place, again} {
		if !strings.Contains(err.Error(), place) {
			t.Errorf("%q does not name %s", err, place)
		}
	}
	if p.Idle() != 1 || len(*disposed) != 0 {
		t.Errorf("%d idle, disposed of %v", p.Idle(), *disposed)
	}
}

func TestVerifyingReportsForeignRecycle(t *testing.T) {
	p, disposed := made(t, Config[*object]{Capacity: 2, Verify: true})
	q, _ := made(t, Config[*object]{Capacity: 2, Verify: true})
	for _, o := range []*object{new(object), q.Borrow(), nil} {
		err, place := p.Recycle(o), here(0)
		if !errors.Is(err, ErrForeign) || !strings.Contains(err.Error(), place) {
			t.Errorf("error %v, want ErrForeign at %s", err, place)
		}
	}
	a, b, c := p.Borrow(), p.Borrow(), p.Borrow()
	for _, o := range []*object{a, b, c} {
		recycle(t, p, o)
	}
	if err := p.Recycle(c); !errors.Is(err, ErrForeign) {
		t.Errorf("error %v for what was disposed of, want ErrForeign", err)
	}
	if p.Idle() != 2 || !slices.Equal(*disposed, []int{3}) {
		t.Errorf("%d idle, disposed of %v", p.Idle(), *disposed)
	}
}

func TestVerifyingReportsLeaks(t *testing.T) {
	p, _ := made(t, Config[*object]{Capacity: 2, Verify: true})
	a, first := p.Borrow(), here(0)
	_, second := p.Borrow(), here(0)
	if got := p.Outstanding(); !slices.Equal(got, []string{first, second}) {
		t.Fatalf("out %v, want %s and %s", got, first, second)
	}
	recycle(t, p, a)
	if got := p.Outstanding(); !slices.Equal(got, []string{second}) {
		t.Fatalf("out %v, want %s", got, second)
	}
	place := here(1)
	_ = p.Use(func(*object) error {
		if got := p.Outstanding(); !slices.Contains(got, place) {
			t.Errorf("out %v inside Use, want %s", got, place)
		}
		return nil
	})
}

func TestVerifyingReportsInstanceProducedTwice(t *testing.T) {
	one := new(object)
	p, err := New(Config[*object]{Capacity: 1, Verify: true, Produce: func() *object { return one }})
	if err != nil {
		t.Fatal(err)
	}
	first := p.Borrow()
	if caught(func() { p.Borrow() }) == nil {
		t.Error("no panic for an instance that is out already")
	}
	recycle(t, p, first)
}

// caught returns what f panics with.
func caught(f func()) (v any) {
	defer func() { v = recover() }()
	f()
	return nil
}

func TestPoolIsSafeForConcurrentUse(t *testing.T) {
	for _, verify := range []bool{false, true} {
		const goroutines, capacity = 8, 4
		var live atomic.Int64
		p, err := New(Config[*object]{
			Capacity: capacity,
			Produce:  func() *object { live.Add(1); return new(object) },
			Dispose:  func(*object) { live.Add(-1) },
			Verify:   verify,
		})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for g := range goroutines {
			wg.Go(func() {
				for i := range 500 {
					o := p.Borrow()
					o.id++ // a race if two hold it
					if err := p.Recycle(o); err != nil {
						t.Error(err)
					}
					if g == 0 && i%100 == 0 {
						p.Dispose()
					}
				}
			})
		}
		wg.Wait()
		if idle := p.Idle(); idle > capacity || int64(idle) != live.Load() || len(p.Outstanding()) != 0 {
			t.Fatalf("%d idle of %d, %d live, out %v", idle, capacity, live.Load(), p.Outstanding())
		}
	}
}

func TestPoolAllocatesNothing(t *testing.T) {
	p, _ := made(t, Config[*object]{Capacity: 2, Clear: func(o *object) *object { return o }})
	use := func(o *object) error { o.id++; return nil }
	if n := testing.AllocsPerRun(1000, func() { _ = p.Recycle(p.Borrow()) }); n != 0 {
		t.Errorf("Borrow and Recycle: %v allocations", n)
	}
	if n := testing.AllocsPerRun(1000, func() { _ = p.Use(use) }); n != 0 {
		t.Errorf("Use: %v allocations", n)
	}
}

func TestPoolKeepsNoReferenceToWhatIsOut(t *testing.T) {
	p, _ := made(t, Config[*object]{Capacity: 2})
	recycle(t, p, p.Borrow())
	p.Borrow()
	if left := p.idle[:1][0]; !reflect.ValueOf(left).IsNil() {
		t.Error("the free list still refers to a borrowed instance")
	}
}
