// Package interop holds no code, only tests: the engine served to the clients of other WebSocket libraries, to python3's
// zlib and to Chromium, its Dial against the libraries' servers, and examples/chat driven in Chromium. It is a module of
// its own so that those libraries are no dependencies of the engine. Without python3 or Chromium the tests that need them
// are skipped.
//
//	cd bench/interop && go test ./...
package interop
