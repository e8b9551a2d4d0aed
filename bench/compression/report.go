//go:build linux

package main

import (
	"fmt"
	"time"

	"zeroframe/bench"
	"zeroframe/bench/peers"
)

func (p *plan) printHead(servers []*peers.Server) {
	peers.PrintHead(p.ServerCore)
	fmt.Printf("load     %d connections, one message in flight on each, %d different messages of JSON as text, compressed by the client at\n"+
		"         level 6 without takeover; %d x %v after %v each, interleaved, medians; all replies on one connection are verified\n",
		p.conns, variety, p.Repeat, p.Duration, p.Warmup)
	for _, s := range servers {
		fmt.Printf("server   %s: %s; %s\n", s.Name, s.How, s.Compressing)
	}
	fmt.Println()
}

func (c *cell) perSecond() float64 {
	return peers.Median(c.windows, func(w window) float64 { return float64(w.messages) / w.elapsed.Seconds() })
}

// cost is the server's CPU in microseconds per message.
func (c *cell) cost() float64 {
	return peers.Median(c.windows, func(w window) float64 { return float64(w.server) / 1e3 / float64(w.messages) })
}

// replySize is that of a reply on the wire, its frame's header included.
func (c *cell) replySize() float64 {
	return peers.Median(c.windows, func(w window) float64 { return float64(w.wire) / float64(w.messages) })
}

func (c *cell) busy() (client, server float64) {
	return peers.Median(c.windows, func(w window) float64 { return w.client.Seconds() / w.elapsed.Seconds() }),
		peers.Median(c.windows, func(w window) float64 { return w.server.Seconds() / w.elapsed.Seconds() })
}

func (p *plan) printTables(cells []*cell) {
	saturated := false
	for i, c := range cells {
		if i == 0 || cells[i-1].messages != c.messages {
			columns := []string{bench.FormatSize(int64(c.messages.size)) + " of JSON", "mode", "messages/s", "server us/message",
				"server CPU", "load CPU", "reply bytes", "ratio"}
			if p.idle > 0 {
				columns = append(columns, "kB/connection", "after "+bench.FormatSize(fill), "collected")
			}
			peers.PrintTableHead(columns...)
		}
		client, server := c.busy()
		mark := ""
		if bench.ClientBound(client, server) {
			mark, saturated = " *", true
		}
		fmt.Printf("| %s | %s | %.0f%s | %.2f | %.0f %% | %.0f %% | %.0f | %.2f |", c.server.Name, c.mode, c.perSecond(), mark, c.cost(),
			server*100, client*100, c.replySize(), float64(c.messages.size)/c.replySize())
		if p.idle > 0 {
			fmt.Printf(" %.1f | %.1f | %.1f |", c.memory.one/1e3, c.memory.full/1e3, c.memory.collected/1e3)
		}
		fmt.Println()
	}
	fmt.Println()
	if saturated {
		fmt.Println(peers.ClientBoundNote)
	}
	fmt.Println("reply bytes: on the wire, with the frame's header; ratio: the message's bytes over those.")
	if p.idle > 0 {
		fmt.Printf("kB/connection: growth of RSS over %d connections, in a process of its own, after one message on each and no forced\n"+
			"collection; then after %s of messages on each; collected: the same in another process, with a forced collection before and after.\n",
			p.idle, bench.FormatSize(fill))
	}
	printLibrary(cells)
}

// printLibrary sets what an echo costs beside what the library and an echo without compression cost.
func printLibrary(cells []*cell) {
	plain := make(map[*messages]float64)
	for _, c := range cells {
		if c.server.Name == peers.Zeroframe && c.mode == peers.Off {
			plain[c.messages] = c.cost()
		}
	}
	if len(plain) == 0 {
		return
	}
	peers.PrintTableHead("zeroframe, us/message", "flate alone", "deflate alone", "echo without compression", "sum", "measured", "measured / sum")
	us := func(d time.Duration) float64 { return float64(d) / 1e3 }
	for _, c := range cells {
		if len(c.own) == 0 {
			continue
		}
		flate, own := peers.Median(c.flate, us), peers.Median(c.own, us)
		sum := own + plain[c.messages]
		fmt.Printf("| %s, %s | %.2f | %.2f | %.2f | %.2f | %.2f | %.2f |\n", bench.FormatSize(int64(c.messages.size)), c.mode,
			flate, own, plain[c.messages], sum, c.cost(), c.cost()/sum)
	}
	fmt.Println("\nalone: inflating a message of the client's and compressing it again, in one loop on the load's core: with klauspost/compress/flate\n" +
		"at level 1, and with package deflate. sum: of deflate alone and the echo without compression.")
}
