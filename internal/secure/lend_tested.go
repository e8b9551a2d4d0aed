//go:build !go1.27

package secure

// Tested reports whether lending was tested with the release of Go that this is built with. To say so of another, run the
// tests of package engine with it, with both settings of WithTLSBufferRelease, and move the constraint.
const Tested = true
