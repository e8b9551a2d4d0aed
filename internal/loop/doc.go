// Package loop is the event loop under the engine: a poller, a table of connections by file descriptor, an outbound
// queue per connection, a mailbox for work from other goroutines, a timer wheel, and an acceptor. It moves bytes; it
// does not know WebSocket.
//
// One goroutine runs a loop, and a connection belongs to one loop for life. Everything about a connection is touched by
// that goroutine alone, except its outbound queue, which any goroutine may append to under the connection's mutex, and
// its mail bits, which are atomic. Methods say "loop only" where they must be called on the connection's loop.
//
// Platform files carry the system calls: poller_epoll_linux.go and poller_netpoll.go are the two pollers behind one
// seam, io_raw_linux.go and io_unix.go the two ways to read and write.
package loop
