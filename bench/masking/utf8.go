package main

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"text/tabwriter"
	"time"
	stdutf8 "unicode/utf8"

	"github.com/segmentio/asm/utf8"

	"zeroframe/internal/utf8x"
	"zeroframe/mask"
)

// texts are the columns of the second table. Their words are random: branches
// cost nothing in a sentence that a processor has learnt by heart.
var texts = []struct {
	name string
	text []byte
}{
	{"ASCII 64 B", words('a', 26, 64)},
	{"Cyrillic 64 B", words('а', 32, 64)},
	{"ASCII 1 KiB", words('a', 26, 1<<10)},
	{"Cyrillic 1 KiB", words('а', 32, 1<<10)},
	{"CJK 1 KiB", words('一', 5000, 1<<10)},
	{"ASCII 64 KiB", words('a', 26, 64<<10)},
	{"CJK 64 KiB", words('一', 5000, 64<<10)},
}

// words returns n bytes of words of 1 to 12 letters out of count from first up.
func words(first rune, count, n int) []byte {
	r := rand.New(rand.NewPCG(9, 10))
	b := make([]byte, 0, n)
	for letters := r.IntN(12); ; letters-- {
		letter := ' '
		if letters >= 0 {
			letter = first + rune(r.IntN(count))
		} else {
			letters = 1 + r.IntN(12)
		}
		if len(b)+stdutf8.RuneLen(letter) > n {
			break
		}
		b = stdutf8.AppendRune(b, letter)
	}
	for len(b) < n {
		b = append(b, ' ')
	}
	return b
}

var errRefused = errors.New("valid text was refused")

// textRow makes a row of f, which handles one message and reports whether it is
// valid. The key is zero, so that the text stays as it is; no code takes another
// way for it. A call through f is part of every cell, 1 to 2 ns.
func textRow(name string, f func(b []byte) bool) row {
	bufs := make([][]byte, len(texts))
	for i, t := range texts {
		stride := (len(t.text) + 63) &^ 63
		bufs[i] = make([]byte, walk+stride)
		for at := 0; at+stride <= len(bufs[i]); at += stride {
			copy(bufs[i][at:], t.text)
		}
	}
	return row{name: name, run: func(column, count int) error {
		buf, n := bufs[column], len(texts[column].text)
		for i, at := 0, 0; i < count; i, at = i+1, next(at, n) {
			if !f(buf[at : at+n]) {
				return errRefused
			}
		}
		return nil
	}}
}

// runUTF8 prints what a text message costs: to unmask and validate it as a
// server does, and to validate it alone, as a client does.
func runUTF8(rounds int, cell time.Duration) error {
	groups := []struct {
		title string
		rows  []row
	}{
		{"unmask and validate, ns", []row{
			textRow("mask.XOR, then unicode/utf8", func(b []byte) bool { mask.XOR(b, 0, 0); return stdutf8.Valid(b) }),
			textRow("mask.XOR, then segmentio/asm", func(b []byte) bool { mask.XOR(b, 0, 0); return utf8.Valid(b) }),
			textRow("zeroframe, one pass", func(b []byte) bool { var s utf8x.State; return utf8x.Unmask(b, 0, 0, &s) }),
		}},
		{"validate, ns", []row{
			textRow("unicode/utf8", stdutf8.Valid),
			textRow("segmentio/asm", utf8.Valid),
			textRow("zeroframe", utf8x.Valid),
		}},
	}
	columns := make([]int, len(texts))
	for i := range columns {
		columns[i] = i
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, g := range groups {
		medians, err := measure(g.rows, columns, rounds, cell)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%s\t", g.title)
		for _, t := range texts {
			fmt.Fprintf(w, "%s\t", t.name)
		}
		fmt.Fprintln(w)
		for i, r := range g.rows {
			fmt.Fprintf(w, "%s\t", r.name)
			for _, ns := range medians[i] {
				digits := 0
				if ns < 100 {
					digits = 1
				}
				fmt.Fprintf(w, "%.*f\t", digits, ns)
			}
			fmt.Fprintln(w)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}
