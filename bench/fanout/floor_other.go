//go:build !linux

package main

import "zeroframe/bench/peers"

// floors stand on epoll.
var floors []peers.Server
