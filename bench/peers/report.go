package peers

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"zeroframe/bench"
)

// PinLoad keeps this process, the load, on one processor, and returns another one for the servers; -1 where there is none.
func PinLoad() (server int, err error) {
	runtime.GOMAXPROCS(1)
	cores := bench.Cores()
	if len(cores) < 2 {
		return -1, nil
	}
	_, err = bench.Pin(cores[1])
	return cores[0], err
}

// PrintHead says what ran where; serverCore is that of PinLoad.
func PrintHead(serverCore int) {
	fmt.Printf("command  %s\n", strings.Join(os.Args, " "))
	fmt.Printf("machine  %v\n", bench.ThisMachine())
	if serverCore >= 0 {
		fmt.Printf("         server pinned to core %d, load to core %d; ", serverCore, bench.Cores()[0])
	} else {
		fmt.Printf("         one core for both sides; ")
	}
	load := bench.ThisRuntime(1)
	fmt.Printf("%s, GOMAXPROCS=%d and GOGC=%s on both sides\n", load.GoVersion, load.GOMAXPROCS, load.GOGC)
}

// ClientBoundNote explains the mark of rows for which bench.ClientBound holds.
const ClientBoundNote = "* The load had no time left and the server had: the rate is the load's limit, the cost stands."

// Median returns the median of what f makes of each; 0 of none.
func Median[T any](list []T, f func(T) float64) float64 {
	values := make([]float64, len(list))
	for i, v := range list {
		values[i] = f(v)
	}
	if spread := bench.SpreadOf(values); spread != nil {
		return spread.Median
	}
	return 0
}

// PrintTableHead prints a head of a table in Markdown, and the line under it.
func PrintTableHead(columns ...string) {
	fmt.Printf("\n| %s |\n%s|\n", strings.Join(columns, " | "), strings.Repeat("|---", len(columns)))
}
