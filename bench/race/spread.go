package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"zeroframe/bench"
)

// spread is a figure over the repetitions; nil: it is not known.
type spread = *bench.Spread

// show writes the median, and "-" where it is not known.
func show(s spread, format func(float64) string) string {
	if s == nil {
		return "-"
	}
	return format(s.Median)
}

// within is half of what lies between the least and the most, relative to the median: "±3%".
func within(s spread) string {
	if s == nil || s.N < 2 || s.Median == 0 {
		return ""
	}
	return fmt.Sprintf("±%.0f%%", 50*(s.Max-s.Min)/s.Median)
}

// between names the least and the most.
func between(s spread, format func(float64) string) string {
	if s == nil || s.N < 2 {
		return ""
	}
	return format(s.Min) + " – " + format(s.Max)
}

// triple is s as the page's plots take it: nil where it is not known.
func triple(s spread) []float64 {
	if s == nil {
		return nil
	}
	return []float64{s.Median, s.Min, s.Max}
}

// The formats of figures. Three digits say all that such measurements know.

// count writes a number with three digits or more, those before the point in groups.
func count(f float64) string {
	digits := strconv.FormatFloat(f, 'f', decimals(f), 64)
	whole, rest, fraction := strings.Cut(digits, ".")
	for i := len(whole) - 3; i > 0 && whole[i-1] != '-'; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction {
		whole += "." + rest
	}
	return whole
}

// decimals is how many digits behind the point make three in all.
func decimals(f float64) int {
	switch f = max(f, -f); {
	case f == 0 || f >= 99.95:
		return 0
	case f >= 9.995:
		return 1
	case f >= 0.0995:
		return 2
	default:
		return 4
	}
}

func whole(f float64) string   { return count(float64(int64(f))) }
func ratio(f float64) string   { return strconv.FormatFloat(f, 'f', 2, 64) }
func percent(f float64) string { return fmt.Sprintf("%.0f%%", 100*f) }
func mebi(f float64) string    { return count(f / (1 << 20)) }

// perMicro writes seconds per million messages, which are microseconds per message.
func perMicro(f float64) string { return count(f) }

// small writes figures per message: what does not show in two digits is none.
func small(f float64) string {
	if f < 0.005 {
		return "0"
	}
	return count(f)
}

// duration writes a time given in nanoseconds.
func duration(ns float64) string {
	switch d := time.Duration(ns); {
	case d >= time.Second:
		return count(ns/1e9) + " s"
	case d >= time.Millisecond:
		return count(ns/1e6) + " ms"
	default:
		return count(ns/1e3) + " µs"
	}
}
