// Command masking prints how fast WebSocket libraries mask payloads, in GB/s
// beside copy, and how long it takes to unmask and validate text. Each cell is the median of several rounds, and every round goes
// through all cells, so that a drift of the machine meets all rows alike.
//
//	go run . [-rounds 9] [-cell 10ms]
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/gobwas/ws"

	"zeroframe/mask"
)

// largest is the largest payload of the table, in bytes.
const largest = 1 << 20

var sizes = []struct {
	name string
	n    int
}{{"16 B", 16}, {"64 B", 64}, {"125 B", 125}, {"1 KiB", 1 << 10}, {"4 KiB", 4 << 10}, {"16 KiB", 16 << 10}, {"1 MiB", largest}}

// row is one line of a table. run works on count payloads of column n, which is
// their size in bytes or the number of a text; the loop is inside it, so that no row pays for a call that another does not. A
// row without run is printed with note in its cells.
type row struct {
	name string
	run  func(n, count int) error
	note string
}

// walk is how far the payloads of a row reach over memory before they start
// again, as frames do in a read buffer. Masking one payload over and over would
// measure how the processor forwards the last stores into the next loads.
const walk = 16 << 10

// next is where the payload after the one at at begins.
func next(at, n int) int {
	if at += (n + 63) &^ 63; at >= walk {
		return 0
	}
	return at
}

// inPlace are the rows that mask and do nothing else.
func inPlace() []row {
	src, dst := make([]byte, walk+largest), make([]byte, walk+largest)
	return []row{
		{name: "copy (reference)", run: func(n, count int) error {
			for i, at := 0, 0; i < count; i, at = i+1, next(at, n) {
				copy(dst[at:at+n], src[at:at+n])
			}
			return nil
		}},
		{name: "zeroframe mask.XOR", run: func(n, count int) error {
			for i, at := 0, 0; i < count; i, at = i+1, next(at, n) {
				mask.XOR(dst[at:at+n], 0xC3F15A27, 0)
			}
			return nil
		}},
		{name: "gobwas ws.Cipher", run: func(n, count int) error {
			for i, at := 0, 0; i < count; i, at = i+1, next(at, n) {
				ws.Cipher(dst[at:at+n], [4]byte{0x27, 0x5A, 0xF1, 0xC3}, 0)
			}
			return nil
		}},
		{name: "gorilla", note: "not exported"},
		{name: "gws", note: "not exported"},
		{name: "coder", note: "not exported"},
	}
}

// clientWrites are the rows of the libraries that do not export their masking:
// the nearest exported entry is a client's write.
func clientWrites() ([]row, error) {
	payload := make([]byte, largest)
	var rows []row
	for _, peer := range []struct {
		name string
		dial func() (writer, error)
	}{{"gorilla Conn.WriteMessage", gorillaWriter}, {"gws Conn.WriteMessage", gwsWriter}, {"coder Conn.Write", coderWriter}} {
		write, err := peer.dial()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", peer.name, err)
		}
		rows = append(rows, row{name: peer.name, run: func(n, count int) error {
			for range count {
				if err := write(payload[:n]); err != nil {
					return err
				}
			}
			return nil
		}})
	}
	return rows, nil
}

// measure returns the median time for a payload in every cell, in ns, by row and
// column.
func measure(rows []row, columns []int, rounds int, cell time.Duration) ([][]float64, error) {
	counts := make([][]int, len(rows))
	times := make([][][]float64, len(rows))
	for i, r := range rows {
		counts[i], times[i] = make([]int, len(columns)), make([][]float64, len(columns))
		for j, n := range columns {
			if r.run == nil {
				continue
			}
			count, took := 1, time.Duration(0)
			for took < cell/2 { // finds the count, and warms up
				count *= 2
				start := time.Now()
				if err := r.run(n, count); err != nil {
					return nil, fmt.Errorf("%s: %w", r.name, err)
				}
				took = time.Since(start)
			}
			counts[i][j] = max(1, int(float64(count)*float64(cell)/float64(took)))
		}
	}
	for range rounds {
		for j, n := range columns {
			for i, r := range rows {
				if r.run == nil {
					continue
				}
				start := time.Now()
				if err := r.run(n, counts[i][j]); err != nil {
					return nil, fmt.Errorf("%s: %w", r.name, err)
				}
				times[i][j] = append(times[i][j], float64(time.Since(start))/float64(counts[i][j]))
			}
		}
	}
	medians := make([][]float64, len(rows))
	for i := range rows {
		medians[i] = make([]float64, len(columns))
		for j := range columns {
			if t := times[i][j]; len(t) > 0 {
				slices.Sort(t)
				medians[i][j] = t[len(t)/2]
			}
		}
	}
	return medians, nil
}

func run(rounds int, cell time.Duration) error {
	if rounds < 1 || cell <= 0 {
		return fmt.Errorf("rounds and cell must be positive")
	}
	masking := inPlace()
	writes, err := clientWrites()
	if err != nil {
		return err
	}
	rows := slices.Concat(masking, writes)
	lengths := make([]int, len(sizes))
	for j, size := range sizes {
		lengths[j] = size.n
	}
	medians, err := measure(rows, lengths, rounds, cell)
	if err != nil {
		return err
	}

	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	heading := func(title string) {
		fmt.Fprintf(w, "%s\t", title)
		for _, size := range sizes {
			fmt.Fprintf(w, "%s\t", size.name)
		}
		fmt.Fprintln(w)
	}
	for i, r := range rows {
		switch i {
		case 0:
			heading("masking in place, GB/s")
		case len(masking):
			fmt.Fprintln(w)
			heading("client write to memory, GB/s *")
		}
		fmt.Fprintf(w, "%s\t", r.name)
		for j := range sizes {
			if r.run == nil {
				fmt.Fprintf(w, "%s\t", r.note)
				break
			}
			fmt.Fprintf(w, "%.1f\t", float64(sizes[j].n)/medians[i][j])
		}
		fmt.Fprintln(w)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Println()
	if err := runUTF8(rounds, cell); err != nil {
		return err
	}
	fmt.Printf("\nMedians of %d interleaved rounds.\n", rounds)
	fmt.Println("* One message as a client: a fresh key, the header, a copy and the masking. Not comparable with masking in place.")
	return nil
}

func main() {
	rounds := flag.Int("rounds", 9, "how often to measure every cell; the median is printed")
	cell := flag.Duration("cell", 10*time.Millisecond, "how long to measure a cell in one round")
	flag.Parse()
	if err := run(*rounds, *cell); err != nil {
		fmt.Fprintln(os.Stderr, "masking:", err)
		os.Exit(1)
	}
}
