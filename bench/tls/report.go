package main

import (
	"fmt"

	"zeroframe/bench/peers"
)

func (p *plan) printHead(servers []*peers.Server) {
	peers.PrintHead(p.ServerCore)
	fmt.Printf("load     TLS 1.3, one ECDSA P-256 certificate; echoes by the engine's own client, all of them verified; handshakes by\n"+
		"         crypto/tls, %d at once, each with an upgrade and then reset; %d x %v, echoes after %v each, interleaved, medians\n",
		dialers, p.Repeat, p.Duration, p.Warmup)
	for _, s := range servers {
		fmt.Printf("server   %s: %s\n", s.Name, s.How)
	}
}
