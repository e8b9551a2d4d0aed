// Package natstest holds no code, only tests: engines with backplane/nats, in one process and in several, on a server of
// their own that is stopped, started and killed. It is a module of its own because the server, and what that stands on,
// would otherwise be in the module graph of everyone who imports zeroframe.
//
// The tests with processes run on the embedded server and, where a binary called nats-server is found (Debian's package
// nats-server), on that too.
//
//	cd backplane/nats/natstest && go test ./...
package natstest
