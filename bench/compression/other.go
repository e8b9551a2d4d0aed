//go:build !linux

package main

import "log"

func main() { log.Fatal("the load client stands on epoll, the figures on /proc: Linux only") }
