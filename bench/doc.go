// Package bench loads WebSocket servers and measures them: a closed-loop load generator on the engine's own loops, a
// server in a child process that is asked for its counters, and the report of a few rows of both.
//
// In a closed loop every connection keeps a fixed number of messages in flight and sends the next when an echo comes
// back. A server that stalls is therefore sent less while it does: the latencies are those of the messages that were
// sent, not of an arrival rate kept up from outside.
package bench
