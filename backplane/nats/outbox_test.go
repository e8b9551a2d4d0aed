package nats

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"zeroframe/frame"
)

func testBox(limit int) *outbox {
	o := new(outbox)
	o.limit = limit
	return o
}

func TestWhatWaitsComesOutInOrderAndExactly(t *testing.T) {
	o, from := testBox(1<<20), engineID{1, 2, 3}
	sizes := []int{0, 1, 100, chunkSize - 100, chunkSize, 200_000, 5}
	for i := range 100 {
		first, err := o.put(fmt.Appendf(nil, "s.%d", i), kindBinary, from, bytes.Repeat([]byte{byte(i)}, sizes[i%len(sizes)]%40_000))
		if err != nil || first != (i == 0) {
			t.Fatalf("message %d: %v, first %v", i, err, first)
		}
	}
	i := 0
	for chunk := o.take(); chunk != nil; chunk = o.take() {
		for rest := chunk; len(rest) > 0; i++ {
			var subject, data []byte
			subject, data, rest = next(rest)
			k, id, payload, err := parseHeader(data)
			want := bytes.Repeat([]byte{byte(i)}, sizes[i%len(sizes)]%40_000)
			if err != nil || string(subject) != fmt.Sprintf("s.%d", i) || k != kindBinary || id != from || !bytes.Equal(payload, want) {
				t.Fatalf("message %d is %q, %v, %v, %d bytes, %v", i, subject, k, id, len(payload), err)
			}
		}
		o.done(chunk)
	}
	if i != 100 || o.size != 0 {
		t.Errorf("%d messages came out, %d bytes are left", i, o.size)
	}
}

func TestWhatWaitsIsBoundedButAnEmptyBoxTakesAnything(t *testing.T) {
	o := testBox(100_000)
	put := func(n int) error {
		_, err := o.put([]byte("s"), kindText, engineID{}, make([]byte, n))
		return err
	}
	if err := put(500_000); err != nil {
		t.Fatal(err)
	}
	if err := put(0); !errors.Is(err, ErrFull) {
		t.Fatalf("a full box: %v", err)
	}
	big := o.take()
	if err := put(0); !errors.Is(err, ErrFull) {
		t.Fatalf("what is taken and not done counts: %v", err)
	}
	o.done(big)
	n := 0
	for put(1000) == nil {
		n++
	}
	if n < 96 || n > 99 {
		t.Errorf("%d messages of 1000 bytes fit into 100,000", n)
	}
	if err := put(0); err != nil && !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	got := 0
	for chunk := o.take(); chunk != nil; chunk = o.take() {
		got += messages(chunk)
		o.done(chunk)
	}
	if got < n || o.size != 0 {
		t.Errorf("%d of %d messages came out, %d bytes are left", got, n, o.size)
	}
	o.close()
	if err := put(1); !errors.Is(err, ErrClosed) {
		t.Errorf("a closed box: %v", err)
	}
}

func TestPublishingAllocatesNothingOnceItRuns(t *testing.T) {
	b, err := New("nats://127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	payload := make([]byte, 100)
	drain := func() {
		for chunk := b.out.take(); chunk != nil; chunk = b.out.take() {
			b.out.done(chunk)
		}
	}
	batch := func() {
		for range 1000 { // some chunks
			if err := b.Publish("room/42 with a space", frame.Text, payload); err != nil {
				t.Fatal(err)
			}
		}
		drain()
	}
	batch()
	if n := testing.AllocsPerRun(20, batch); n != 0 {
		t.Errorf("%.1f allocations per 1000 messages", n)
	}
}

func BenchmarkPublishIntoTheBuffer(b *testing.B) {
	p, err := New("nats://127.0.0.1")
	if err != nil {
		b.Fatal(err)
	}
	payload := make([]byte, 100)
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if err := p.Publish("room/42", frame.Text, payload); err != nil {
			b.Fatal(err)
		}
		if n%1000 == 0 {
			for chunk := p.out.take(); chunk != nil; chunk = p.out.take() {
				p.out.done(chunk)
			}
		}
	}
}
