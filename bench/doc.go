// Package bench loads WebSocket servers and measures them: a load generator on the engine's own loops, scenarios as data
// and one function that measures any of them against any server, a server in a child process that is asked for its counters,
// and the report of a few rows of both.
//
// In a closed loop every connection keeps a fixed number of messages in flight and sends the next when an echo comes
// back. A server that stalls is therefore sent less while it does: the latencies are those of the messages that were
// sent, not of an arrival rate kept up from outside. In an open loop, at a fixed rate, they are the latter: a message's
// latency is counted from when it was due (see Pace).
//
// The files, by the beginnings of their names:
//
//	scenario, target       what is measured, as data
//	measure, measurement   one scenario, to one target, once
//	summary, trace         medians of measurements; system calls in one
//	load, fanout           loads of echoes and of deliveries: connections, clocks, payloads
//	server, snapshot       zeroframe serve in a child process, and what it tells
//	run, row, size, report what zeroframe bench does and prints
//	soak                   what zeroframe soak does
//	affinity, child, cpu,  processors, processes and time, as the system has them
//	nap, proc
package bench
