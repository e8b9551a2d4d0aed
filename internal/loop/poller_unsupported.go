//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package loop

const shortReadEmpties = false

type poller struct{}

func openPoller() (*poller, error) { return nil, ErrUnsupported }
func (p *poller) close()           {}
func (p *poller) add(int) error    { return ErrUnsupported }
func (p *poller) remove(int) error { return ErrUnsupported }
func (p *poller) wake()            {}
func (p *poller) run(*Loop) error  { return ErrUnsupported }
