package peers

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"strconv"

	"zeroframe/bench"
	"zeroframe/engine"
)

// childArgument, the first one, makes a program the process of a server.
const childArgument = "serve-peer"

// ServeIfChild is the other side of Server.Start: when this process was started by it, ServeIfChild serves and does not
// return. It must be called before main, or TestMain, does anything else.
//
// Such a process prints the address it listens at, and lives until its standard input ends. For each line there it
// prints its figures as a line of JSON, a bench.Snapshot: for "counts" as they are, for "collect" after it collected
// garbage and gave what is free back to the system.
func ServeIfChild() {
	if len(os.Args) < 2 || os.Args[1] != childArgument {
		return
	}
	fmt.Fprintln(os.Stderr, serveChild(os.Args[2:]))
	os.Exit(1)
}

// arguments are those of a process that serveChild understands.
func (s *Server) arguments(o Options) []string {
	return []string{childArgument, "-server", s.Name, "-work", string(o.Work), "-mode", string(o.Mode), "-size", strconv.Itoa(o.Size), "-pair", o.Pair}
}

func serveChild(args []string) error {
	var o Options
	flags := flag.NewFlagSet(childArgument, flag.ContinueOnError)
	name := flags.String("server", "", "")
	flags.StringVar((*string)(&o.Work), "work", "", "")
	flags.StringVar((*string)(&o.Mode), "mode", "", "")
	flags.IntVar(&o.Size, "size", 0, "")
	flags.StringVar(&o.Pair, "pair", "", "")
	if err := flags.Parse(args); err != nil {
		return err
	}
	s, err := Find(All(), *name)
	if err != nil {
		return err
	}
	if err := s.Can(o); err != nil {
		return err
	}
	if o.Pair != "" {
		pair, err := tls.LoadX509KeyPair(o.Pair, o.Pair)
		if err != nil {
			return err
		}
		o.tls = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}
	}
	serve := s.echo
	if o.Work == Topic {
		serve = s.topic
	}
	err = serve(o, func(at net.Addr) {
		fmt.Println(at)
		go obey()
	})
	return errors.Join(err, errors.New("the server has ended"))
}

// The questions.
const (
	askCollect = "collect"
	askCounts  = "counts"
)

// ownEngine is that of this process, if its server is one of this project's.
var ownEngine *engine.Engine

// obey answers the process that started this one, until that has no more to ask.
func obey() {
	answers := json.NewEncoder(os.Stdout)
	for questions := bufio.NewScanner(os.Stdin); questions.Scan(); {
		collect := string(questions.Bytes()) == askCollect
		if ownEngine != nil {
			answers.Encode(bench.TakeSnapshot(ownEngine, 1, collect))
		} else {
			answers.Encode(bench.Snapshot{Process: bench.TakeProcess(collect)})
		}
	}
	os.Exit(0)
}
