//go:build !linux || 386

package peers

// floors stand on epoll, and on socket calls that 386 has in another form.
var floors []*Server
