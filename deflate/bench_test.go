package deflate

import (
	"bytes"
	"fmt"
	"io"
	"testing"

	"github.com/klauspost/compress/flate"
)

// benchSizes are of the varied JSON that the figures in the documentation are
// of.
var benchSizes = []int{100, 128, 1024, 16384}

func benchMessages(n int) [][]byte {
	r := newRand(1)
	messages := make([][]byte, max(64, 8*maxWindow/n)) // to be forgotten before they return
	for i := range messages {
		messages[i] = varied(r, n)
	}
	return messages
}

// BenchmarkCompress has beside each way to compress the bare call of the library
// that it makes.
func BenchmarkCompress(b *testing.B) {
	for _, n := range benchSizes {
		messages := benchMessages(n)
		run := func(name string, f func(m []byte) int) {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(n))
				total := 0
				for i := 0; b.Loop(); i++ {
					total += f(messages[i%len(messages)])
				}
				b.ReportMetric(float64(total)/float64(b.N), "wire-B/op")
			})
		}
		out := sink{max: noLimit}
		for _, level := range []int{1, 6} {
			w, err := flate.NewWriter(&out, level)
			if err != nil {
				b.Fatal(err)
			}
			run(fmt.Sprintf("flate-%d", level), func(m []byte) int {
				out.b = out.b[:0]
				w.Reset(&out)
				w.Write(m)
				w.Flush()
				return len(out.b)
			})
		}
		run("flate-stateless", func(m []byte) int {
			out.b = out.b[:0]
			flate.StatelessDeflate(&out, m, false, nil)
			return len(out.b)
		})
		c := new(Compressor)
		for _, level := range []Level{Stateless, 1, 6} {
			for _, kept := range []int{0, DefaultHistory, maxWindow} {
				h := NewHistory(kept)
				var dst []byte
				run(fmt.Sprintf("level%d-history%d", level, kept), func(m []byte) int {
					dst = c.Compress(dst[:0], m, Setting{Level: level}, h)
					return len(dst)
				})
			}
		}
	}
}

func BenchmarkDecompress(b *testing.B) {
	for _, n := range benchSizes {
		messages := benchMessages(n)
		run := func(name string, messages [][]byte, f func(m []byte)) {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(n))
				for i := 0; b.Loop(); i++ {
					f(messages[i%len(messages)])
				}
			})
		}
		var alone, ready [][]byte
		c := new(Compressor)
		for _, m := range messages {
			m = c.Compress(nil, m, Setting{}, nil)
			alone = append(alone, m)
			ready = append(ready, append(bytes.Clone(m), closing...))
		}
		in := bytes.NewReader(nil)
		r := flate.NewReader(in).(flateReader)
		buf := make([]byte, 0, n+1)
		run("flate", ready, func(m []byte) {
			in.Reset(m)
			r.Reset(in, nil)
			for out := buf; ; {
				k, err := r.Read(out[len(out):cap(out)])
				out = out[:len(out)+k]
				if err != nil {
					if err != io.EOF || len(out) != n {
						b.Fatal(err)
					}
					return
				}
			}
		})
		d := new(Decompressor)
		for _, kept := range []int{0, DefaultHistory, maxWindow} {
			h := NewHistory(kept)
			run(fmt.Sprintf("history%d", kept), alone, func(m []byte) {
				if out, err := d.Decompress(buf[:0], m, n, h); err != nil || len(out) != n {
					b.Fatal(err)
				}
			})
		}
		run("reader", alone, func(m []byte) {
			r := NewReader(bytes.NewReader(m), n, nil)
			if out, err := io.ReadFull(r, buf[:n]); err != nil || out != n {
				b.Fatal(err)
			}
			if _, err := r.Read(buf[:1]); err != io.EOF {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkWorstMessages are the slowest to inflate for each compressed byte:
// final blocks, for which the reader begins anew, and codes that are made and
// not used.
func BenchmarkWorstMessages(b *testing.B) {
	d := new(Decompressor)
	h := NewHistory(maxWindow)
	h.Append(noise(newRand(2), maxWindow))
	for _, c := range []struct {
		name  string
		block []byte
	}{
		{"final", append(unhex("01 3b 00 c4 ff"), make([]byte, 59)...)},
		{"stored", unhex("00 00 00 ff ff")},
		{"codes", unhex("04 c0 81 00 00 00 00 00 90 ff 6b 00 00 00 ff ff")},
	} {
		message := append(bytes.Repeat(c.block, 32000/len(c.block)), 0)
		for _, h := range []*History{nil, h} {
			b.Run(fmt.Sprintf("%s/takeover=%v", c.name, h != nil), func(b *testing.B) {
				b.SetBytes(int64(len(message)))
				for b.Loop() {
					if _, err := d.Decompress(nil, message, 1<<20, h); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkLevels shows what a level costs beside its matching: those from 7 on
// clear 640 KiB of tables for each message.
func BenchmarkLevels(b *testing.B) {
	for _, n := range []int{128, 1024} {
		messages := benchMessages(n)
		for _, level := range levels {
			b.Run(fmt.Sprintf("level%d/%d", level, n), func(b *testing.B) {
				c := new(Compressor)
				var dst []byte
				total := 0
				for i := 0; b.Loop(); i++ {
					dst = c.Compress(dst[:0], messages[i%len(messages)], Setting{Level: level}, nil)
					total += len(dst)
				}
				b.ReportMetric(float64(total)/float64(b.N), "wire-B/op")
			})
		}
	}
}
