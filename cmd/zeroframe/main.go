// Command zeroframe shows the engine: a server, a load generator, a benchmark made of both, a soak, and a client.
//
//	zeroframe serve --listen :9001
//	zeroframe load --url ws://127.0.0.1:9001/echo --conns 1000 --inflight 16
//	zeroframe bench
//	zeroframe soak --conns 300000
//	zeroframe cat ws://127.0.0.1:9001/echo
//
// It exits with 0 when all went well, 1 when something failed, and 2 when the command line is wrong.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// commands is the command line.
type commands struct {
	Serve serveCommand `cmd:"" help:"Serve WebSocket on a few routes that show the engine."`
	Load  loadCommand  `cmd:"" help:"Load a server that echoes, or sends each message to all, and measure."`
	Bench benchCommand `cmd:"" help:"Start a server, load it in a few ways, and report."`
	Soak  soakCommand  `cmd:"" help:"Hold many connections open, ping them, and report what was missed and what it took."`
	Cat   catCommand   `cmd:"" help:"Connect, send lines, and print messages."`

	SoakClients soakClientsCommand `cmd:"" hidden:""`
}

// output is where a command writes, and what it reads.
type output struct {
	in       io.Reader
	out, err io.Writer
}

// usageError is an error of the command line that shows only after it has been parsed.
type usageError struct{ error }

// Why a measurement that somebody ended fails: before there was anything to report, and with a report of what there was.
var (
	errInterrupted = errors.New("interrupted")
	errCutShort    = errors.New("interrupted: what had been measured is reported")
)

func run(args []string, out, errOut io.Writer) int {
	var c commands
	helped := false
	parser, err := kong.New(&c,
		kong.Name("zeroframe"),
		kong.Description("WebSocket on event loops: a server, a load generator, a benchmark, a soak and a client."),
		kong.UsageOnError(),
		kong.Writers(out, errOut),
		kong.Exit(func(int) { helped = true }),
		defaults())
	if err != nil {
		fmt.Fprintln(errOut, "zeroframe:", err)
		return exitFailed
	}
	context, err := parser.Parse(args)
	if helped {
		return exitOK
	}
	if err == nil {
		err = context.Run(output{os.Stdin, out, errOut})
	} else {
		err = usageError{err}
	}
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(errOut, "zeroframe: error:", err)
	var usage usageError
	if errors.As(err, &usage) {
		fmt.Fprintln(errOut, "zeroframe --help tells more")
		return exitUsage
	}
	return exitFailed
}
