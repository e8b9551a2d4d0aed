// Package secure runs crypto/tls on event loops: a tls.Conn that has finished its handshake is fed with what a loop
// reads, and what it writes leaves through the loop's descriptor.
package secure

import "net"

// Wire is the net.Conn under a tls.Conn, which cannot be given another one. To begin with it is the connection it was
// made of, with all that blocks; a loop that takes the tls.Conn over changes what is behind it.
type Wire struct{ net.Conn }

// NewWire returns a Wire over nc. Make the tls.Conn on it.
func NewWire(nc net.Conn) *Wire { return &Wire{Conn: nc} }
