// Package interop holds no code, only tests: the engine served to the clients of other WebSocket libraries, and its Dial
// against their servers. It is a module of its own so that those libraries are no dependencies of the engine.
//
//	cd bench/interop && go test ./...
package interop
