// Package bridge lets other packages of this module reach what the engine does not export: connections whose bytes do
// not come from a descriptor, for fault injection, fuzzing and runs with more connections than a process may have
// files. Package engine sets the variables when it is initialized.
package bridge

import (
	"crypto/tls"

	"zeroframe/internal/loop"
)

// ServeStream gives an *engine.Engine a connection whose peer is behind s, as if it had been accepted.
var ServeStream func(engine any, s loop.Stream) error

// ServeTLS is ServeStream for a peer that speaks TLS.
var ServeTLS func(engine any, config *tls.Config, s loop.Stream) error

// PoisonOption returns an engine.Option that overwrites read buffers and payloads when their callback has returned.
var PoisonOption func() any
